"""A strong-Wolfe line search for many problems at once, each in its own phase.

Decisions and constants are those of ``torch.optim.LBFGS`` (bracketing, then zooming with cubic interpolation; Nocedal
and Wright 2006, algorithms 3.5 and 3.6), so that one problem takes the same steps as it would there. A trial whose
value is not finite counts as infinitely high: the search backs off from it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ARMIJO = 1e-4
CURVATURE = 0.9
Trial = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class _Point:
    """A trial of each problem: step length, value, slope along the direction, gradient."""

    t: Tensor
    f: Tensor
    slope: Tensor
    g: Tensor

    def put(self, rows: Tensor, other: "_Point", other_rows: Tensor) -> None:
        """Overwrite ``rows`` with ``other_rows`` of another point."""
        for name in ("t", "f", "slope", "g"):
            getattr(self, name)[rows] = getattr(other, name)[other_rows]

    def at(self, rows: Tensor) -> "_Point":
        return _Point(self.t[rows], self.f[rows], self.slope[rows], self.g[rows])


@dataclass(frozen=True)
class Found:
    """Where the search ended: step lengths, values and gradients, and how many trials each problem took."""

    t: Tensor
    value: Tensor
    gradient: Tensor
    trials: Tensor


class StrongWolfe:
    """One line search of A problems.

    Args:
        trial: ``(t, rows) -> (values, gradients)`` at ``x[rows] + t * direction[rows]``.
        direction: shape ``(A, d)``.
        value: at the start, shape ``(A,)``.
        gradient: at the start, shape ``(A, d)``.
        limit: how many trials each problem may take beyond the first, shape ``(A,)``.
        tolerance_change: a bracket narrower than this, in the largest coordinate, ends the search.
    """

    def __init__(
        self, trial: Trial, direction: Tensor, value: Tensor, gradient: Tensor, limit: Tensor, tolerance_change: float
    ) -> None:
        self._limit = limit
        self._trial = trial
        self._direction = direction
        self._reach = direction.abs().amax(1)
        self._tolerance = tolerance_change
        slope = (gradient * direction).sum(1)
        self._start = _Point(torch.zeros_like(value), value, slope, gradient)
        self._trials = torch.zeros_like(value, dtype=torch.int64)
        # Two ends of the bracket; `low` is the better one. Which of them came first matters to the interpolation's
        # bounds only through their step lengths, so they need no positions.
        self._low, self._high = self._copy(self._start), self._copy(self._start)

    def search(self, first: Tensor) -> Found:
        """Run every problem to its end, beginning with the step lengths ``first``."""
        accepted = self._bracket(first)
        self._zoom((~accepted).nonzero().squeeze(1))
        return Found(self._low.t, self._low.f, self._low.g, self._trials)

    def _evaluate(self, t: Tensor, rows: Tensor) -> _Point:
        value, gradient = self._trial(t, rows)
        self._trials[rows] += 1
        slope = (gradient * self._direction[rows]).sum(1)
        bad = ~(torch.isfinite(value) & torch.isfinite(slope))
        return _Point(t, value.masked_fill(bad, torch.inf), slope.masked_fill(bad, torch.inf), gradient)

    def _bracket(self, first: Tensor) -> Tensor:
        """Widen until each problem has a bracket or an accepted point; returns which ones accepted."""
        rows = torch.arange(len(first), device=first.device)
        accepted = torch.zeros_like(rows, dtype=torch.bool)
        before = self._copy(self._start)
        now = self._evaluate(first, rows)
        for count in range(int(self._limit.max()) + 1):
            spent = self._limit[rows] <= count
            self._set_bracket(rows[spent], self._start.at(rows[spent]), now.at(spent))
            rows, before, now = rows[~spent], before.at(~spent), now.at(~spent)
            start = self._start.at(rows)
            too_high = now.f > start.f + ARMIJO * now.t * start.slope
            if count > 1:
                too_high |= now.f >= before.f
            good = ~too_high & (now.slope.abs() <= -CURVATURE * start.slope)
            bracketed = too_high | (~good & (now.slope >= 0))
            accepted[rows[good]] = True
            self._low.put(rows[good], now, good)
            self._set_bracket(rows[bracketed], before.at(bracketed), now.at(bracketed))
            left = ~(good | bracketed)
            rows, before, now = rows[left], before.at(left), now.at(left)
            if not len(rows):
                break
            wider = interpolate(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10)
            before, now = now, self._evaluate(wider, rows)
        return accepted

    def _zoom(self, rows: Tensor) -> None:
        """Narrow the brackets at ``rows`` until each holds a strong-Wolfe point or is too narrow."""
        stalled = torch.zeros(len(self._trials), dtype=torch.bool, device=rows.device)
        while True:
            width = (self._high.t[rows] - self._low.t[rows]).abs() * self._reach[rows]
            rows = rows[(width >= self._tolerance) & (self._trials[rows] <= self._limit[rows])]
            if not len(rows):
                return
            low, high = self._low.at(rows), self._high.at(rows)
            t = self._inside(low, high, stalled, rows)
            now = self._evaluate(t, rows)
            start = self._start.at(rows)
            worse = (now.f > start.f + ARMIJO * now.t * start.slope) | (now.f >= low.f)
            good = ~worse & (now.slope.abs() <= -CURVATURE * start.slope)
            flip = ~worse & ~good & (now.slope * (high.t - low.t) >= 0)
            self._high.put(rows[worse], now, worse)
            self._high.put(rows[flip], low, flip)
            self._low.put(rows[~worse], now, ~worse)
            # A trial can be too high for Armijo and still lie below both ends.
            swap = worse & (now.f < low.f)
            self._low.put(rows[swap], now, swap)
            self._high.put(rows[swap], low, swap)
            rows = rows[~good]

    def _inside(self, low: _Point, high: _Point, stalled: Tensor, rows: Tensor) -> Tensor:
        """The next trial in the bracket, a tenth of its width away from an end that was come close to twice."""
        left, right = torch.minimum(low.t, high.t), torch.maximum(low.t, high.t)
        t = interpolate(low, high, left, right)
        margin = 0.1 * (right - left)
        close = torch.minimum(right - t, t - left) < margin
        move = close & (stalled[rows] | (t >= right) | (t <= left))
        stalled[rows] = close & ~move
        moved = torch.where((t - right).abs() < (t - left).abs(), right - margin, left + margin)
        return torch.where(move, moved, t)

    def _set_bracket(self, rows: Tensor, first: _Point, second: _Point) -> None:
        ordered = first.f <= second.f
        for point, end in ((first, self._low), (second, self._high)):
            end.put(rows[ordered], point, ordered)
        for point, end in ((second, self._low), (first, self._high)):
            end.put(rows[~ordered], point, ~ordered)

    @staticmethod
    def _copy(point: _Point) -> _Point:
        return _Point(point.t.clone(), point.f.clone(), point.slope.clone(), point.g.clone())


def interpolate(first: _Point, second: _Point, lowest: Tensor, highest: Tensor) -> Tensor:
    """The minimiser of the cubic through two points and their slopes, within bounds; the middle where it has none."""
    d1 = first.slope + second.slope - 3 * (first.f - second.f) / (first.t - second.t)
    square = d1.square() - first.slope * second.slope
    d2 = square.clamp(min=0).sqrt()
    rising = second.t - (second.t - first.t) * ((second.slope + d2 - d1) / (second.slope - first.slope + 2 * d2))
    falling = first.t - (first.t - second.t) * ((first.slope + d2 - d1) / (first.slope - second.slope + 2 * d2))
    t = torch.where(first.t <= second.t, rising, falling)
    middle = (lowest + highest) / 2
    found = torch.where((square >= 0) & torch.isfinite(t), t, middle)
    return torch.minimum(torch.maximum(found, lowest), highest)
