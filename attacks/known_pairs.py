"""Inversion of the first layer by some samples whose features are known."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion import first_layer
from fl_attack_bench.inversion.first_outputs import first_outputs, public_images
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.inversion.ridge import KernelRidge


@dataclass(frozen=True)
class KnownPairs(OutsourcedAttack):
    """Solve for the first layer from known samples and what it made of them, then undo it (rtas-2021, section 3.3.1).

    The paper calls it safe to reveal ``z = x W + b``, because W is secret and whoever knows m of n samples has
    ``n! / (n - m)!`` assignments to guess among. But a convolution is the same small linear map at each place, so one
    known image gives W and b by least squares; and an assignment is not guessed but tested, row by row: what least
    squares leaves over is zero for the right row only.

    Args:
        party: whose view: ``labels`` or ``third``, whichever trains.
        structure: use that the layer is a convolution, or a dense layer with a bias, then invert it with the mean and
            covariance of the public and known samples. False: ridge regression from values to features, which knows
            nothing of the layer and nothing of images.
        linked: whether the adversary knows which rows are its samples'. False: it finds them; of convolutions only.
    """

    card = Card(
        title="Known samples",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious trainer",
        assumes="features of some predicted samples; with linked=true also which rows are theirs; public samples, if "
        "any, make the inversion better",
        notes="Section 3.3.1 argues that this attacker learns almost nothing. Float shares with large masks make the "
        "values noisy; the fit estimates the noise and the inversion allows for it.",
    )

    party: Literal["labels", "third"] = "labels"
    structure: bool = True
    linked: bool = True
    known: Annotated[int, Ge(1), Le(100_000)] = 1

    @property
    def adversary(self) -> str:
        """Who sees the first layer's outputs."""
        return self.party

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """Fit to the known samples, apply to the victims."""
        del streams
        seen, first = first_outputs(view), view.plan.layers[0]
        images = view.known_features.double().reshape(-1, *view.plan.inputs)
        if not len(images):
            raise SkipCell("no sample's features are known")
        if self.linked:
            values = seen.of(view.known)
        elif first.layer.kernel is None:
            raise SkipCell("one sample of a dense layer fits every row: links cannot be tested one at a time")
        else:
            values = seen.values[first_layer.link(first, images, seen.values)]
        victims = seen.of(view.victims)
        if not self.structure:
            return _regressed(images, values.flatten(1), victims.flatten(1))
        prior = GaussianPrior.of(public_images(view), view.plan.inputs)
        return first_layer.fit(first, images, values, prior).invert(victims, prior)


def _regressed(images: Tensor, values: Tensor, victims: Tensor) -> Tensor:
    """Linear ridge regression from values to features; from one sample, that sample."""
    if len(images) < 2:
        return images[:1].expand(len(victims), *images.shape[1:])
    centre = values.mean(0)
    values, victims = values - centre, victims - centre
    fit = KernelRidge(values @ values.T, victims @ values.T)
    penalty, _ = fit.best(images.flatten(1))
    return fit.predict(images.flatten(1), penalty).reshape(-1, *images.shape[1:])
