"""Averaging of what was opened under a new mask again and again."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import COMPUTE, Card, Moment, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion.sightings import estimated
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
        if share is None:
            raise SkipCell(f"{view.party} holds no share of the features")
        if not isinstance(held, Float):
            return estimated(view, [], 0.0)
        sightings = [(seen.rows, seen.values) for seen in observation.opened_features(view)]
        if view.party == COMPUTE[1]:
            sightings.append(share)
        return estimated(view, sightings, held.mask_std**2)
