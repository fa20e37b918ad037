"""The objective of gradient matching: how far candidate images' gradients are from the observed ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench.api import LocalPlan, SeenRound
from fl_attack_bench.inversion.per_sample import Loss, VictimGradients
from fl_attack_bench.inversion.unrolled import UnrolledUpdates
from fl_attack_bench.update import Layout

# Problems that one evaluation takes at once: enough to fill the processor, few enough to stay in its cache.
CHUNK = 32

Updates = Callable[[Tensor, Tensor], Tensor]
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


def updates(seen: SeenRound, layout: Layout, local: LocalPlan, loss: Loss) -> Updates:
    """What candidate images would have sent in a round: ``(images (A, B, C, H, W), targets (A, B, K)) -> (A, n)``."""
    if local.steps == 1:
        return VictimGradients(seen.model, layout, loss)
    return UnrolledUpdates(seen.model, layout, loss, local)


@dataclass(frozen=True)
class Seen:
    """What was observed in one round, and what makes the same of candidate images.

    Args:
        updates: ``(images, targets) -> (A, n)``.
        observed: g, shape ``(V, n)``, one row a victim.
        weights: w, shape ``(V, n)``: how much each entry counts; None for all alike.
    """

    updates: Updates
    observed: Tensor
    weights: Tensor | None = None

    @property
    def power(self) -> Tensor:
        """``sum over the entries of w g^2``, shape ``(V,)``."""
        square = self.observed.square()
        return (square if self.weights is None else square * self.weights).sum(1)


@dataclass(frozen=True)
class L2Matching:
    """The objective of DLG, one value a problem: ``scale * sum over rounds and entries of w (G(x, y) - g)^2``.

    Args:
        rounds: what was seen.
        scale: shape ``(V,)``; 1 is the published objective, one over the summed power of ``g`` makes tolerances mean
            the same for the large gradients of a fresh network and the small ones of a trained one.
        victim: shape ``(N,)``: whose gradient each of the N problems is after.
    """

    rounds: Sequence[Seen]
    scale: Tensor
    victim: Tensor

    def __call__(self, images: Tensor, targets: Tensor, which: Tensor) -> Tensor:
        """Values of shape ``(A,)`` of the problems numbered ``which``."""
        rows = self.victim[which]
        # All problems of single starts: the rows are those of the observation, and copying them is a waste.
        whole = len(rows) == len(self.victim) == len(self.scale)
        distance = torch.zeros_like(self.scale[rows])
        for seen in self.rounds:
            observed = seen.observed if whole else seen.observed[rows]
            weights = seen.weights if whole or seen.weights is None else seen.weights[rows]
            distance = distance + squared_distance(seen.updates(images, targets), observed, weights)
        return distance * self.scale[rows]

    def residual(self, images: Tensor, targets: Tensor, victim: int) -> Tensor:
        """What the objective of one victim is the squared length of, shape ``(A, rounds * n)``."""
        parts = []
        for seen in self.rounds:
            part = seen.updates(images, targets) - seen.observed[victim]
            parts.append(part if seen.weights is None else part * seen.weights[victim].sqrt())
        return torch.cat(parts, dim=1) * self.scale[victim].sqrt()


class _SquaredDistance(torch.autograd.Function):
    """Written out because n is by far the largest number here: plain operations read a gradient twice as often."""

    @staticmethod
    def forward(ctx: Any, found: Tensor, observed: Tensor, weights: Tensor | None) -> Tensor:
        """See :func:`squared_distance`."""
        difference = found - observed
        weighted = difference if weights is None else difference * weights
        ctx.save_for_backward(weighted)
        distance: Tensor = torch.linalg.vecdot(difference, weighted)
        return distance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        """``2 w (f - g)``."""
        (weighted,) = ctx.saved_tensors
        return weighted * (2 * grads[0]).unsqueeze(1), None, None


def squared_distance(found: Tensor, observed: Tensor, weights: Tensor | None) -> Tensor:
    """``sum w (f - g)^2`` over the rows of ``(A, n)`` tensors, shape ``(A,)``."""
    distance: Tensor = _SquaredDistance.apply(found, observed, weights)
    return distance


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
    objective: Objective, unknowns: Unknowns, points: Tensor, which: Tensor
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
