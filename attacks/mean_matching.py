"""Inversion of a first convolution by the distribution of its outputs: no sample is known."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion.first_outputs import first_outputs, public_images
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.inversion.moments import fit_moments


@dataclass(frozen=True)
class MeanMatching(OutsourcedAttack):
    """Fit the secret filters to the mean and covariance of what they make of unknown images, then undo them.

    The mean of ``z = x W + b`` over samples is the mean image's convolution: ``H' W'`` equations for each filter. The
    covariance of z, against that of public images, says the rest.

    Args:
        party: whose view: ``labels`` or ``third``, whichever trains.
    """

    card = Card(
        title="Mean and covariance matching",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious trainer",
        assumes="public samples of the same distribution; no sample that is predicted",
        notes="Ours: the paper's attackers know samples or nothing. Of convolutions only: a dense unit's mean is one "
        "equation. With a mean and covariance that differ from the predicted samples' it finds other filters.",
    )

    party: Literal["labels", "third"] = "labels"
    auxiliary: Annotated[int, Ge(2), Le(100_000)] = 1000
    observed: Annotated[int, Ge(0), Le(100_000)] = 1000

    @property
    def adversary(self) -> str:
        """Who sees the first layer's outputs."""
        return self.party

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """Fit to all predicted samples, invert the victims'."""
        del streams
        seen, first = first_outputs(view), view.plan.layers[0]
        images = public_images(view)
        if prod(first.outputs[1:]) == 1:  # dense, or filters as large as the image, which are dense units
            raise SkipCell("the mean of a dense unit's values is one equation for as many unknowns as there are inputs")
        if len(images) < 2 or len(seen.ids) < 2:
            raise SkipCell("a mean and a covariance take 2 public and 2 predicted samples or more")
        prior = GaussianPrior.of(images, view.plan.inputs)
        found = fit_moments(first, prior, len(images), seen.values)
        return found.invert(seen.of(view.victims), prior)
