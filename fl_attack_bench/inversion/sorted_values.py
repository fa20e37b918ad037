"""Images from values in a random order: sorted, they are the same whatever the order was."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from fl_attack_bench.inversion.ridge import PENALTIES, KernelRidge
from fl_attack_bench.models.stack import PlannedLayer, Weights, activate, linear

_MOST = 1024
_WIDTHS = (0.5, 1.0, 2.0)


def simulated(layers: Sequence[PlannedLayer], weights: Weights, images: Tensor) -> list[Tensor]:
    """Each layer's values ``z = x W + b`` of images, shape ``(N, n)``, n the layer's outputs; float64."""
    found, values = [], images.double()
    for number, planned in enumerate(layers):
        z = linear(planned, values, weights[2 * number].double(), weights[2 * number + 1].double())
        found.append(z.flatten(1))
        values = activate(planned.activation, z)
    return found


def noisy(layers: Sequence[PlannedLayer], values: Sequence[Tensor], error: float, generator: Generator) -> list[Tensor]:
    """Values as products of floating-point shares give them, with errors ``N(0, (error k)^2)`` for sums of k terms."""
    return [
        z + error * planned.matrix[0] * torch.randn(z.shape, generator=generator, dtype=z.dtype)
        for planned, z in zip(layers, values, strict=True)
    ]


def thinned(values: Tensor) -> Tensor:
    """Order statistics of each row: all of them, or 1024 at even ranks; ``(N, n)`` to ``(N, min(n, 1024))``."""
    count = values.shape[1]
    ranks = torch.linspace(0, count - 1, min(count, _MOST), dtype=torch.float64).round().long()
    return values.sort(1).values[:, ranks]


def signatures(layers: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Features of some rows of values and of others, layer by layer ``(S, n)`` and ``(V, n)``.

    Sorted and side by side, each layer centred and divided by the root of its total variance over the first rows, so
    that all layers count alike.
    """
    known, found = [], []
    for mine, theirs in ((thinned(one), thinned(other)) for one, other in zip(layers, others, strict=True)):
        centre = mine.mean(0)
        spread = float((mine - centre).square().sum(1).mean()) ** 0.5 or 1.0
        known.append((mine - centre) / spread)
        found.append((theirs - centre) / spread)
    return torch.cat(known, dim=1), torch.cat(found, dim=1)


def regressed(known: Tensor, targets: Tensor, others: Tensor) -> tuple[Tensor, float]:
    """Kernel ridge regression; kernel and penalty by the leave-one-out error.

    Args:
        known: features, shape ``(S, p)``, S >= 2.
        targets: shape ``(S, d)``.
        others: features, shape ``(V, p)``.

    Returns:
        The others' targets, shape ``(V, d)``, and the leave-one-out error.
    """
    best, lowest = targets.mean(0).expand(len(others), -1), float("inf")
    for kernel in _kernels(torch.cat([known, others]), len(known)):
        fit = KernelRidge(kernel[: len(known)], kernel[len(known) :])
        penalty, error = fit.best(targets, PENALTIES[4:])
        if error < lowest:
            best, lowest = fit.predict(targets, penalty), error
    return best, lowest


def _kernels(inputs: Tensor, count: int) -> Iterator[Tensor]:
    """Linear and Gaussian kernels of all rows with the first ``count``, shape ``(R, count)``."""
    inputs = inputs - inputs[:count].mean(0)
    inner = inputs @ inputs[:count].T
    yield inner
    squares = inputs.square().sum(1)
    distance = (squares.unsqueeze(1) + squares[:count] - 2 * inner).clamp(min=0)
    typical = float(distance[:count].mean())
    for width in _WIDTHS if typical > 0 else ():
        yield (-distance / (2 * width**2 * typical)).exp()


def without(values: Tensor, known: Tensor) -> Tensor:
    """A multiset less the values that are nearest to known ones, each taken once: ``(n,)`` to ``(n - k,)``, sorted.

    Both are walked in ascending order; a known value takes the nearest of those behind the last one taken.
    """
    ordered = values.sort().values
    taken = torch.zeros(len(ordered), dtype=torch.bool)
    numbers, wanted = ordered.tolist(), known.sort().values.tolist()
    free = 0  # everything before it is taken or passed
    for position, value in enumerate(wanted):
        last = len(numbers) - (len(wanted) - position)  # as many must be left for those that follow
        place = min(bisect_left(numbers, value, lo=free), last)
        if place > free and value - numbers[place - 1] < abs(numbers[place] - value):
            place = bisect_left(numbers, numbers[place - 1], lo=free)  # the first of equal ones
        taken[place] = True
        free = place + 1
    return ordered[~taken]


def by_rank(expected: Tensor, values: Tensor) -> Tensor:
    """Permuted values of batches of B, put where the values expected at each place have the same rank.

    Each place has B values of a batch, of adjoining ranks; which of them is which sample's nothing says, so that each
    gets their mean.

    Args:
        expected: shape ``(n,)``.
        values: shape ``(S, B n)``.

    Returns:
        Shape ``(S, n)``.
    """
    blocks = values.sort(1).values.unflatten(1, (len(expected), -1)).mean(2)
    return torch.empty_like(blocks).index_copy_(1, expected.argsort(), blocks)
