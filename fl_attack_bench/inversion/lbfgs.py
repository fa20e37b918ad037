"""L-BFGS on many independent problems at once.

For each problem it takes the steps of ``torch.optim.LBFGS`` called ``iterations`` times with ``max_iter=inner``, which
is how the gradient-inversion literature counts; problems share nothing but the batch they are evaluated in. A problem
that has ended is taken out of the batch, so that the rest runs on faster.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fl_attack_bench.inversion.history import History
from fl_attack_bench.inversion.line_search import StrongWolfe

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
LineSearch = Literal["none", "strong_wolfe"]


@dataclass(frozen=True)
class Options:
    """How long and how to minimise; the defaults are those of ``torch.optim.LBFGS`` as the DLG reference calls it.

    Args:
        iterations: outer iterations, each of ``inner`` steps.
        inner: steps of one outer iteration.
        history: curvature pairs kept.
        learning_rate: length of a step without line search, first trial of one with.
        line_search: ``none``, or ``strong_wolfe``.
        tolerance_grad: a problem ends when no entry of its gradient is larger.
        tolerance_change: an outer iteration ends when neither step nor value change by more.
        curvature_floor: a pair is remembered when ``s^T y`` is larger.
        stop_below: a problem ends when its value is lower; 0 never ends one.
        patience: a problem ends when its best value did not fall by a thousandth in so many outer iterations; 0 never.
    """

    iterations: int = 300
    inner: int = 20
    history: int = 100
    learning_rate: float = 1.0
    line_search: LineSearch = "none"
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    curvature_floor: float = 1e-10
    stop_below: float = 0.0
    patience: int = 0


@dataclass(frozen=True)
class Minimum:
    """Where each of N problems ended.

    Args:
        best: shape ``(N, d)``: the lowest point that was visited; always finite.
        value: shape ``(N,)``: its value.
        last: shape ``(N, d)``: the last finite point.
        iterations: shape ``(N,)``: outer iterations begun.
        diverged: shape ``(N,)``: whether a value or gradient became infinite or NaN.
        curve: shape ``(N, iterations)``: value at the end of each outer iteration, the last one carried on.
    """

    best: Tensor
    value: Tensor
    last: Tensor
    iterations: Tensor
    diverged: Tensor
    curve: Tensor


def minimise(evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None = None) -> Minimum:
    """Minimise N problems from their starting points.

    Args:
        evaluate: ``(points, which) -> (values, gradients)``: points of shape ``(A, d)`` of the problems numbered
            ``which``, their values ``(A,)`` and gradients ``(A, d)``. A row must depend on its own problem only.
        start: shape ``(N, d)``.
        options: see :class:`Options`.
        groups: shape ``(N,)``: restarts of one victim share a number. When one of them falls below ``stop_below``, the
            others end too. By default every problem is its own group.
    """
    batch = _Batch(evaluate, start, options, groups)
    with torch.no_grad():
        while len(batch.which):
            batch.step()
    return batch.result()


class _Batch:
    """The problems that are still running, and what the ended ones left behind."""

    # Everything that belongs to one running problem; rows are dropped together.
    _STATE = (
        "which x value gradient direction t before fresh steps trials outer best best_value patient_value patient_since"
    )

    def __init__(self, evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None) -> None:
        count, dimension = start.shape
        self.options = options
        self._evaluate = evaluate
        self._groups = torch.arange(count, device=start.device) if groups is None else groups
        self._left = Minimum(
            best=start.clone(),
            value=start.new_full((count,), torch.inf),
            last=start.nan_to_num(),
            iterations=torch.zeros(count, dtype=torch.int64, device=start.device),
            diverged=torch.zeros(count, dtype=torch.bool, device=start.device),
            curve=start.new_full((count, options.iterations), torch.nan),
        )
        self.which = torch.arange(count, device=start.device)
        self.x = start.clone()
        self.value, self.gradient = evaluate(self.x, self.which)
        self.direction = torch.zeros_like(start)
        self.t = torch.zeros_like(self.value)
        self.before = torch.zeros_like(start)
        self.fresh = torch.ones_like(self.which, dtype=torch.bool)
        self.steps = torch.zeros_like(self.which)
        self.trials = torch.ones_like(self.which)
        self.outer = torch.zeros_like(self.which)
        self.best, self.best_value = self.x.nan_to_num(), self.value.nan_to_num(nan=torch.inf)
        self.patient_value, self.patient_since = self.value.clone(), torch.zeros_like(self.which)
        self.history = History(count, dimension, options.history, start)
        bad = ~self._finite(self.value, self.gradient)
        flat = self.gradient.abs().amax(1) <= options.tolerance_grad
        self._left.diverged[self.which[bad]] = True
        self._drop(bad | flat | self._group_done())

    def step(self) -> None:
        """One L-BFGS step of every running problem."""
        options = self.options
        self._turn()
        slope = (self.gradient * self.direction).sum(1)
        # torch breaks here and would break here again at every later call: nothing moves any more.
        stuck = slope > -options.tolerance_change
        self._drop(stuck)
        if not len(self.which):
            return
        was = self.value
        moved = self._move()
        finite = self._finite(self.value, self.gradient) & self.direction.isfinite().all(1)
        improved = finite & (self.value < self.best_value)
        self.best[improved], self.best_value[improved] = self.x[improved], self.value[improved]
        still = (moved <= options.tolerance_change) | ((self.value - was).abs() < options.tolerance_change)
        ended = (self.steps >= options.inner) | (self.trials >= self._budget()) | still
        self._close_outer(ended & finite)
        self._left.diverged[self.which[~finite]] = True
        flat = self.gradient.abs().amax(1) <= options.tolerance_grad
        self._drop(~finite | flat | (self.outer >= options.iterations) | self._out_of_patience() | self._group_done())

    def result(self) -> Minimum:
        """What all problems left behind, curves carried on to the end."""
        curve = self._left.curve
        for column in range(1, curve.shape[1]):
            gone = curve[:, column].isnan()
            curve[gone, column] = curve[gone, column - 1]
        return self._left

    def _turn(self) -> None:
        """Learn from the last step and choose the next direction and step length."""
        step = self.direction * self.t.unsqueeze(1)
        change = self.gradient - self.before
        curved = (change * step).sum(1) > self.options.curvature_floor
        self.direction = self.history.turn(step, change, curved & ~self.fresh, self.gradient).neg_()
        rate = self.options.learning_rate
        first = (1 / self.gradient.abs().sum(1)).clamp(max=1) * rate
        self.t = torch.where(self.fresh, first, torch.full_like(first, rate))
        self.before = self.gradient
        self.fresh = torch.zeros_like(self.fresh)

    def _move(self) -> Tensor:
        """Take the step; returns its largest coordinate. A problem that runs off keeps its last finite point."""
        start = self.x
        if self.options.line_search == "strong_wolfe":

            def trial(t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
                return self._evaluate(start[rows] + t.unsqueeze(1) * self.direction[rows], self.which[rows])

            limit = self._budget() - self.trials
            tolerance = self.options.tolerance_change
            found = StrongWolfe(trial, self.direction, self.value, self.gradient, limit, tolerance).search(self.t)
            self.t, self.value, self.gradient = found.t, found.value, found.gradient
            self.trials = self.trials + found.trials
            self.x = start + self.t.unsqueeze(1) * self.direction
        else:
            self.x = start + self.t.unsqueeze(1) * self.direction
            self.value, self.gradient = self._evaluate(self.x, self.which)
            self.trials = self.trials + 1
        self.steps = self.steps + 1
        off = ~(self._finite(self.value, self.gradient) & self.direction.isfinite().all(1))
        self.x = torch.where(off.unsqueeze(1), start, self.x)
        return self.direction.abs().amax(1) * self.t

    def _budget(self) -> int:
        """Evaluations that one outer iteration may take."""
        return self.options.inner * 5 // 4

    def _close_outer(self, ended: Tensor) -> None:
        rows = self.which[ended]
        self._left.curve[rows, self.outer[ended]] = self.value[ended]
        self.outer = self.outer + ended
        self.steps = torch.where(ended, 0, self.steps)
        self.trials = torch.where(ended, 1, self.trials)

    def _out_of_patience(self) -> Tensor:
        fell = self.best_value < self.patient_value * (1 - 1e-3)
        self.patient_value = torch.where(fell, self.best_value, self.patient_value)
        self.patient_since = torch.where(fell, self.outer, self.patient_since)
        waited = self.outer - self.patient_since
        return waited >= self.options.patience if self.options.patience else torch.zeros_like(fell)

    def _group_done(self) -> Tensor:
        done = self.best_value < self.options.stop_below
        return torch.isin(self._groups[self.which], self._groups[self.which[done]])

    def _drop(self, ended: Tensor) -> None:
        """Write down what the ended problems found and take them out of the batch."""
        if not ended.any():
            return
        rows = self.which[ended]
        self._left.best[rows], self._left.value[rows] = self.best[ended], self.best_value[ended]
        self._left.last[rows] = self.x[ended].nan_to_num()
        begun = self.outer[ended] + (self.steps[ended] > 0)
        self._left.iterations[rows] = begun
        place = self.outer[ended].clamp(max=self.options.iterations - 1)
        unwritten = self._left.curve[rows, place].isnan()
        self._left.curve[rows[unwritten], place[unwritten]] = self.best_value[ended][unwritten]
        running = (~ended).nonzero().squeeze(1)
        for name in self._STATE.split():
            setattr(self, name, getattr(self, name)[running])
        self.history.keep(running)

    @staticmethod
    def _finite(value: Tensor, gradient: Tensor) -> Tensor:
        return torch.isfinite(value) & torch.isfinite(gradient).all(1)
