"""The objective of gradient similarity: the angle between candidate images' updates and the observed ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.api import HorizontalView, Observation
from fl_attack_bench.inversion.matching import CHUNK, Updates, updates
from fl_attack_bench.inversion.per_sample import cross_entropy
from fl_attack_bench.inversion.priors import total_variation
from fl_attack_bench.inversion.weights import entry_weights, prior_weight, round_shares, stated

# What one evaluation may hold at once, roughly.
_CHUNK_BYTES = 1 << 28


class _Distance(torch.autograd.Function):
    """``1 - cos(f, g)`` for unit vectors g, as ``|f/|f| - g|^2 / 2``: exact to rounding near 0, where 1 - cos is not.

    Written out because n runs into millions: every pass over f counts.
    """

    @staticmethod
    def forward(ctx: Any, found: Tensor, wanted: Tensor) -> Tensor:
        """Shapes ``(A, n)`` and ``(A, n)``, the second of unit length or zero, to ``(A,)``."""
        length = torch.linalg.vector_norm(found, dim=1, keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)
        missing = torch.addcmul(wanted, found, 1 / length, value=-1)
        value: Tensor = torch.linalg.vecdot(missing, missing) / 2
        ctx.save_for_backward(missing, wanted, length, value)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """``(cos f/|f| - g) / |f|``, with ``f/|f| = g - missing`` and ``cos = 1 - value``."""
        missing, wanted, length, value = ctx.saved_tensors
        scale, value = grads[0].unsqueeze(1) / length, value.unsqueeze(1)
        return (wanted * (-value * scale)).addcmul_(missing, (value - 1) * scale), None


def cosine_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """``1 - cos`` of the angle between the rows of ``found`` and those of ``wanted``, which are of unit length.

    Shapes ``(A, n)`` and ``(A, n)`` to ``(A,)``.
    """
    distance: Tensor = _Distance.apply(found, wanted)
    return distance


@dataclass(frozen=True)
class Direction:
    """Where one round's updates point, as the objective needs it.

    Args:
        updates: ``(images (A, B, C, H, W), targets (A, B, K)) -> (A, n)``: what candidate images would have sent.
        wanted: what was observed, weighted and of unit length, shape ``(V, n)``.
        roots: square roots of the entries' weights, shape ``(V, n)``; None for 1.
        share: how much the round counts for each victim, shape ``(V,)``.
    """

    updates: Updates
    wanted: Tensor
    roots: Tensor | None
    share: Tensor

    @classmethod
    def of(cls, updates: Updates, observed: Tensor, weights: Tensor | None, share: Tensor) -> "Direction":
        """From observed updates ``(V, n)`` and their entries' weights in [0, 1]."""
        roots = None if weights is None else weights.sqrt()
        # An entry of weight 0 may hold anything.
        weighted = observed if roots is None else torch.where(roots > 0, observed * roots, 0.0)
        length = torch.linalg.vector_norm(weighted, dim=1, keepdim=True)
        return cls(updates, weighted / length.clamp(min=torch.finfo(observed.dtype).tiny), roots, share)


@dataclass(frozen=True)
class Objective:
    """The objective of Geiping et al. 2020, equation 4, one value a problem.

    ``sum over rounds of share * (1 - cos(update(x, y), g)) + tv * TV(x)``, the cosine over the whole flat update.

    Args:
        rounds: what was seen; shares sum to 1.
        tv: shape ``(V,)``: weight of the total variation.
        victim: shape ``(N,)``: whose update each of the N problems is after.
    """

    rounds: Sequence[Direction]
    tv: Tensor
    victim: Tensor

    def __call__(self, images: Tensor, targets: Tensor, which: Tensor) -> Tensor:
        """Values of shape ``(A,)`` of the problems numbered ``which``."""
        rows = self.victim[which]
        value = self.tv[rows] * total_variation(images)
        for seen in self.rounds:
            found = seen.updates(images, targets)
            if seen.roots is not None:
                found = found * _rows(seen.roots, rows)
            value = value + seen.share[rows] * cosine_distance(found, _rows(seen.wanted, rows))
        return value


@dataclass(frozen=True)
class Problem:
    """Images of N problems as flat vectors to be found.

    Args:
        objective: of images.
        targets: class probabilities, shape ``(V, B, K)``.
        shape: ``(B, C, H, W)`` of one problem's images.
        chunk: problems that one evaluation takes at once.
    """

    objective: Objective
    targets: Tensor
    shape: tuple[int, int, int, int]
    chunk: int

    def evaluate(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``(A,)`` and gradients ``(A, d)`` at points ``(A, d)`` of the problems numbered ``which``."""
        values, gradients = [], []
        for some, problems in zip(points.split(self.chunk), which.split(self.chunk), strict=True):
            with torch.enable_grad():
                point = some.detach().requires_grad_()
                targets = self.targets[self.objective.victim[problems]]
                value = self.objective(point.unflatten(1, self.shape), targets, problems)
                (gradient,) = torch.autograd.grad(value.sum(), point)
            values.append(value.detach())
            gradients.append(gradient)
        return torch.cat(values), torch.cat(gradients)


def problem(view: HorizontalView, labels: Tensor, restarts: int, tv: float, *, adaptive: bool) -> Problem:
    """What is to be minimised for a view.

    Args:
        view: of V victims with B samples each.
        labels: shape ``(V, B)``.
        restarts: problems a victim, one after the other.
        tv: weight of the total variation where nothing is noisy.
        adaptive: weigh entries, rounds and the prior by the view's noise; False takes all for exact.
    """
    shape = (view.batch_size, *view.image_shape)
    like = view.observed.values
    observed = stated(view) if adaptive else tuple(Observation.exact(seen.observed.values) for seen in view.rounds)
    shares = round_shares(observed)
    rounds = [
        Direction.of(updates(seen, view.layout, view.local, cross_entropy), one.values, entry_weights(one), share)
        for seen, one, share in zip(view.rounds, observed, shares, strict=True)
    ]
    weight = tv + prior_weight(observed, shares, torch.Size(shape).numel()) if tv else torch.zeros_like(like[:, 0])
    victim = torch.arange(len(like), device=like.device).repeat_interleave(restarts)
    targets = F.one_hot(labels, view.classes).to(like)
    size = _bytes(view.model, view.image_shape, view.batch_size, view.layout.size) * len(rounds) * view.local.steps
    return Problem(Objective(rounds, weight, victim), targets, shape, max(1, min(CHUNK, _CHUNK_BYTES // size)))


def _rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """``matrix[rows]``, without a copy where one problem is evaluated at a time, as those of large networks are."""
    return matrix.narrow(0, int(rows), 1) if len(rows) == 1 else matrix[rows]


def _bytes(model: nn.Module, image_shape: tuple[int, int, int], batch: int, parameters: int) -> int:
    """Roughly what one problem's forward pass and two backward passes hold at once."""
    outputs = columns = 0

    def count(module: nn.Module, arguments: Any, output: Tensor) -> None:
        nonlocal outputs, columns
        del arguments
        outputs += output.numel()
        if isinstance(module, nn.Conv2d):
            columns += output[:, 0].numel() * module.weight[0].numel()

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    parameter = next(model.parameters())
    with torch.no_grad():
        model(parameter.new_zeros(1, *image_shape))
    for hook in hooks:
        hook.remove()
    return parameter.element_size() * (batch * (6 * outputs + 2 * columns) + 5 * parameters)
