"""What images look like before anything is seen of one: a normal distribution, and what it becomes by linear values.

With a prior ``x ~ N(m, C)`` and values ``z = x A + b + e`` of which ``e ~ N(0, s I)``, the expectation of x is::

    E[x | z] = m + (z - m A - b) (A^T C A + s I)^-1 A^T C

It is the best linear estimate for any distribution with this mean and covariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

# Of images that nobody has seen: features are in [0, 1], and neighbours within so many places are alike.
_VARIANCE = 1 / 12
_REACH = 2.0
# Weight of the assumption that all places have the same mean, in images.
_EVEN = 1.0
# Values are never taken to be more exact than this, relative to their spread.
_EXACT = 1e-12


@dataclass(frozen=True)
class GaussianPrior:
    """A normal distribution of images of d features.

    Args:
        shape: of one image.
        mean: m, shape ``(d,)``, float64.
        covariance: C, shape ``(d, d)``, positive semidefinite.
    """

    shape: tuple[int, ...]
    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, images: Tensor, shape: Sequence[int]) -> "GaussianPrior":
        """The mean and covariance of some images, shape ``(N, *shape)``, N >= 0.

        The covariance is moved towards one of smooth images, ``v exp(-distance / 2)`` with v the mean variance, by
        the share that has the lowest expected squared error: ``lambda = sum_i |y_i y_i^T - S|^2 / N^2 / |S - T|^2``
        with the centred images y, their covariance S and the target T (Ledoit and Wolf 2004, "A well-conditioned
        estimator for large-dimensional covariance matrices"). The mean is moved likewise towards one even image, by a
        share of 1 / (N + 1).
        """
        flat = images.double().flatten(1) if len(images) else torch.zeros(0, prod(shape), dtype=torch.float64)
        count = len(flat)
        alike = _alike(tuple(shape))
        if count == 0:
            return cls(tuple(shape), torch.full((prod(shape),), 0.5, dtype=torch.float64), _VARIANCE * alike)
        if count == 1:  # one image says how bright images are and how much they vary, not where
            even = flat.mean()
            return cls(tuple(shape), even.expand(flat.shape[1]), flat.var(correction=0) * alike)
        mean = flat.mean(0)
        mean = (count * mean + _EVEN * mean.mean()) / (count + _EVEN)
        centred = flat - mean
        sample = centred.T @ centred / count
        target = float(sample.diagonal().mean()) * alike
        doubt = float(centred.square().sum(1).square().sum() / count**2 - sample.square().sum() / count)
        apart = float((sample - target).square().sum())
        share = min(1.0, max(doubt, 0.0) / apart) if apart > 0 else 1.0
        return cls(tuple(shape), mean, (1 - share) * sample + share * target)

    def given(self, operator: Tensor, offset: Tensor, values: Tensor, noise: float) -> Tensor:
        """The expectation of images by their linear values.

        Args:
            operator: A, shape ``(d, q)``.
            offset: b, shape ``(q,)``.
            values: shape ``(V, q)``.
            noise: s, the variance of the values' error.

        Returns:
            Shape ``(V, *shape)``, float64.
        """
        gain = self._gain(operator, noise)
        missed = values.double() - self.mean @ operator - offset
        return self._as_images(missed @ gain)

    def denoised(self, noisy: Tensor, noise: float) -> Tensor:
        """The expectation of images by ``x + e`` with ``e ~ N(0, noise I)``, shape ``(V, *shape)``."""
        flat = noisy.double().flatten(1)
        values, vectors = torch.linalg.eigh(self.covariance)
        values = values.clamp(min=0)
        kept = values / (values + max(noise, torch.finfo(torch.float64).tiny))
        return self._as_images((flat - self.mean) @ (vectors * kept) @ vectors.T)

    def _as_images(self, moved: Tensor) -> Tensor:
        return (self.mean + moved).reshape(-1, *self.shape)

    def _gain(self, operator: Tensor, noise: float) -> Tensor:
        """``(A^T C A + s I)^-1 A^T C``, shape ``(q, d)``."""
        shared = operator.T @ self.covariance
        spread = shared @ operator
        spread = (spread + spread.T) / 2
        values, vectors = torch.linalg.eigh(spread)
        least = max(noise, _EXACT * float(values[-1].clamp(min=0)), torch.finfo(torch.float64).tiny)
        gain: Tensor = vectors @ ((vectors.T @ shared) / (values.clamp(min=0) + least).unsqueeze(1))
        return gain


def _alike(shape: tuple[int, ...]) -> Tensor:
    """Correlations of smooth images of this shape ``(C, H, W)``; of rows without neighbours, ``(d,)``, none."""
    if len(shape) != 3:
        return torch.eye(prod(shape), dtype=torch.float64)
    axes = [torch.arange(side, dtype=torch.float64) for side in shape]
    places = torch.cartesian_prod(*axes)
    return (-torch.cdist(places, places) / _REACH).exp()
