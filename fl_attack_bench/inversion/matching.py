"""The objective of gradient matching: how far candidate images' gradients are from the observed ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.inversion.per_sample import VictimGradients

# Problems that one evaluation takes at once: enough to fill the processor, few enough to stay in its cache.
CHUNK = 32


@dataclass(frozen=True)
class L2Matching:
    """The objective of DLG: ``scale * sum over the entries sent of (dL/dw(x, y) - g)^2``, one value a problem.

    Args:
        gradients: computes what candidate images would have sent.
        observed: g, shape ``(V, n)``, one row a victim.
        sent: shape ``(V, n)``: the entries that count; None for all, as published.
        scale: shape ``(V,)``; 1 is the published objective, ``1 / ||g||^2`` makes tolerances mean the same for
            the large gradients of a fresh network and the small ones of a trained one.
        victim: shape ``(N,)``: whose gradient each of the N problems is after.
    """

    gradients: VictimGradients
    observed: Tensor
    sent: Tensor | None
    scale: Tensor
    victim: Tensor

    def __call__(self, images: Tensor, targets: Tensor, which: Tensor) -> Tensor:
        """Values of shape ``(A,)`` of the problems numbered ``which``."""
        rows = self.victim[which]
        difference = self.gradients(images, targets) - self.observed[rows]
        if self.sent is not None:
            difference = difference * self.sent[rows]
        distance: Tensor = torch.linalg.vecdot(difference, difference)
        return distance * self.scale[rows]


@dataclass(frozen=True)
class Unknowns:
    """How a problem's flat vector of unknowns is read: pixels, then label logits where labels are not known.

    Args:
        shape: ``(B, C, H, W)`` of one problem's images.
        classes: K.
        labels: class probabilities where they are known, shape ``(N, B, K)``.
    """

    shape: tuple[int, int, int, int]
    classes: int
    labels: Tensor | None

    @property
    def pixels(self) -> int:
        """Numbers that describe the images."""
        return int(torch.Size(self.shape).numel())

    @property
    def size(self) -> int:
        """Numbers that describe a problem."""
        return self.pixels + (0 if self.labels is not None else self.shape[0] * self.classes)

    def unpack(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(A, B, C, H, W)`` and class probabilities ``(A, B, K)`` of the problems numbered ``which``."""
        images = points[:, : self.pixels].unflatten(1, self.shape)
        if self.labels is not None:
            return images, self.labels[which]
        return images, points[:, self.pixels :].unflatten(1, (self.shape[0], self.classes)).softmax(-1)


def value_and_gradient(
    objective: L2Matching, unknowns: Unknowns, points: Tensor, which: Tensor
) -> tuple[Tensor, Tensor]:
    """The objective ``(A,)`` and its gradient ``(A, d)`` at flat unknowns, in chunks that stay in the cache."""
    values, gradients = [], []
    for some, problems in zip(points.split(CHUNK), which.split(CHUNK), strict=True):
        with torch.enable_grad():
            point = some.detach().requires_grad_()
            value = objective(*unknowns.unpack(point, problems), problems)
            (gradient,) = torch.autograd.grad(value.sum(), point)
        values.append(value.detach())
        gradients.append(gradient)
    return torch.cat(values), torch.cat(gradients)
