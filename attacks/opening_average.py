"""Averaging of what was opened under a new mask again and again."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import COMPUTE, Card, Moment, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion.first_outputs import public_images
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.sharing import observation
from fl_attack_bench.sharing.arithmetic import Float


@dataclass(frozen=True)
class OpeningAverage(OutsourcedAttack):
    """The mean of all masked openings of the same features over the training, then the best linear estimate.

    To a compute party an opening is ``x - m`` with a Gaussian m that only the other one knows: T openings under new
    masks leave the variance ``v / T``. The second party's share ``x - r`` is one more of them. With one mask for the
    whole training there is one opening, in the ring masks are uniform and an average says nothing.

    Args:
        party: whose view: ``compute/0`` or ``compute/1``.
    """

    card = Card(
        title="Average of openings",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious compute party",
        assumes="public samples of the same distribution; the standard deviation of masks",
        notes="Ours. As a triple for each product takes a new mask each time, so does the paper.",
    )
    moment: ClassVar[Moment] = "training"

    party: Literal["compute/0", "compute/1"] = "compute/0"
    auxiliary: Annotated[int, Ge(0), Le(100_000)] = 1000

    @property
    def adversary(self) -> str:
        """Who sees the openings."""
        return self.party

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """The victims' features, given all openings."""
        del streams
        held, share = observation.numbers(view), observation.own_share(view)
        if held is None or share is None:
            raise SkipCell(f"{view.party} holds no share of the features")
        images = public_images(view)
        prior = GaussianPrior.of(images, view.plan.inputs)
        blind = images.mean(0) if len(images) else prior.mean.reshape(view.plan.inputs)
        found = blind.expand(len(view.victims), *view.plan.inputs).clone()
        if not isinstance(held, Float):
            return found
        sources = [(seen.rows, seen.values) for seen in observation.opened_features(view)]
        if view.party == COMPUTE[1]:
            sources.append(share)
        total, times = summed(sources, view.victims, view.plan.inputs)
        for count in times.unique():
            rows = (times == count) & (times > 0)
            if bool(rows.any()):
                found[rows] = prior.denoised(total[rows] / count, held.mask_std**2 / float(count))
        return found


def summed(sources: list[tuple[Tensor, Tensor]], victims: Tensor, inputs: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The sum of all that was seen of each victim, shape ``(V, *inputs)``, and how often, shape ``(V,)``."""
    total = torch.zeros(len(victims), *inputs, dtype=torch.float64)
    times = torch.zeros(len(victims), dtype=torch.int64)
    for rows, values in sources:
        which, places = (victims.unsqueeze(1) == rows).nonzero(as_tuple=True)
        total.index_add_(0, which, values[places].reshape(-1, *inputs))
        times.index_add_(0, which, torch.ones_like(which))
    return total, times
