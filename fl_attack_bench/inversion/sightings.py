"""Features estimated from noisy sightings of them by a party of an outsourced protocol."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import OutsourcedView
from fl_attack_bench.inversion.first_outputs import public_images
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior

Sighting = tuple[Tensor, Tensor]  # ids of samples, shape (N,), and each one's features plus noise, (N, *inputs)


def estimated(view: OutsourcedView, sightings: Sequence[Sighting], variance: float) -> Tensor:
    """The best linear estimate of the victims' features, shape ``(V, *inputs)``.

    T sightings with independent noise of variance v have a mean with noise of variance ``v / T``; with public images of
    mean m and covariance C the estimate is ``m + (s - m) (C + v / T I)^-1 C``. It is m for a victim that was not seen.

    Args:
        view: with the victims and the public images.
        sightings: what was seen; a sample may stand in several, or several times in one.
        variance: v.
    """
    images, inputs = public_images(view), view.plan.inputs
    prior = GaussianPrior.of(images, inputs)
    blind = images.mean(0) if len(images) else prior.mean.reshape(inputs)
    found = blind.expand(len(view.victims), *inputs).clone()
    total, times = summed(sightings, view.victims, inputs)
    for count in times.unique().tolist():
        if count:
            rows = times == count
            found[rows] = prior.denoised(total[rows] / count, variance / count).to(found.dtype)
    return found


def summed(sightings: Sequence[Sighting], victims: Tensor, inputs: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The sum of all that was seen of each victim, shape ``(V, *inputs)``, and how often, shape ``(V,)``."""
    total = torch.zeros(len(victims), *inputs, dtype=torch.float64)
    times = torch.zeros(len(victims), dtype=torch.int64)
    for rows, values in sightings:
        which, places = (victims.unsqueeze(1) == rows).nonzero(as_tuple=True)
        total.index_add_(0, which, values[places].reshape(-1, *inputs))
        times.index_add_(0, which, torch.ones_like(which))
    return total, times
