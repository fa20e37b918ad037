"""L-BFGS on many independent problems at once.

For each problem it takes the steps of ``torch.optim.LBFGS`` called ``iterations`` times with ``max_iter=inner``, which
is how the gradient-inversion literature counts.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fl_attack_bench.inversion.history import History
from fl_attack_bench.inversion.line_search import StrongWolfe
from fl_attack_bench.inversion.running import Ending, Evaluate, Minimum, Running

LineSearch = Literal["none", "strong_wolfe"]


@dataclass(frozen=True, kw_only=True)
class Options(Ending):
    """How long and how to minimise; the defaults are those of ``torch.optim.LBFGS`` as the DLG reference calls it.

    Args:
        inner: steps of an (outer) iteration.
        history: curvature pairs kept.
        learning_rate: length of a step without line search, first trial of one with.
        line_search: ``none``, or ``strong_wolfe``.
        tolerance_grad: a problem ends when no entry of its gradient is larger.
        tolerance_change: an outer iteration ends when neither step nor value change by more.
        curvature_floor: a pair is remembered when ``s^T y`` is larger.
    """

    iterations: int = 300
    inner: int = 20
    history: int = 100
    learning_rate: float = 1.0
    line_search: LineSearch = "none"
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    curvature_floor: float = 1e-10


def minimise(evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None = None) -> Minimum:
    """Minimise N problems from their starting points.

    Args:
        evaluate: ``(points, which) -> (values, gradients)``: points of shape ``(A, d)`` of the problems numbered
            ``which``, their values ``(A,)`` and gradients ``(A, d)``. A row must depend on its own problem only.
        start: shape ``(N, d)``.
        options: see :class:`Options`.
        groups: shape ``(N,)``: see :class:`~fl_attack_bench.inversion.running.Running`.
    """
    batch = _Batch(evaluate, start, options, groups)
    with torch.no_grad():
        while len(batch.which):
            batch.step()
    return batch.result()


class _Batch(Running):
    """The problems that are still running."""

    state = (*Running.state, "value", "gradient", "direction", "t", "before", "fresh", "steps", "trials", "outer")

    def __init__(self, evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None) -> None:
        super().__init__(start, options, groups)
        self.options = options
        self._evaluate = evaluate
        self.value, self.gradient = evaluate(self.x, self.which)
        self.direction = torch.zeros_like(start)
        self.t = torch.zeros_like(self.value)
        self.before = torch.zeros_like(start)
        self.fresh = torch.ones_like(self.which, dtype=torch.bool)
        self.steps = torch.zeros_like(self.which)
        self.trials = torch.ones_like(self.which)
        self.outer = torch.zeros_like(self.which)
        self.history = History(len(start), start.shape[1], options.history, start)
        finite = self._finite(self.value, self.gradient)
        self.remember(self.value, finite)
        self._drop(~finite | self._flat() | self.over(self.outer))

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
        self.remember(self.value, finite)
        still = (moved <= options.tolerance_change) | ((self.value - was).abs() < options.tolerance_change)
        ended = (self.steps >= options.inner) | (self.trials >= self._budget()) | still
        self._close_outer(ended & finite)
        self._drop(~finite | self._flat() | (self.outer >= options.iterations) | self.over(self.outer))

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
        self.left.curve[rows, self.outer[ended]] = self.value[ended]
        self.outer = self.outer + ended
        self.steps = torch.where(ended, 0, self.steps)
        self.trials = torch.where(ended, 1, self.trials)

    def _drop(self, ended: Tensor) -> None:
        """Take the ended problems out of the batch; an iteration that they left half done ends at their best."""
        if not ended.any():
            return
        rows = self.which[ended]
        place = self.outer[ended].clamp(max=self.options.iterations - 1)
        unwritten = self.left.curve[rows, place].isnan()
        self.left.curve[rows[unwritten], place[unwritten]] = self.best_value[ended][unwritten]
        self.history.keep(self.leave(ended, self.outer + (self.steps > 0)))

    def _flat(self) -> Tensor:
        return self.gradient.abs().amax(1) <= self.options.tolerance_grad

    @staticmethod
    def _finite(value: Tensor, gradient: Tensor) -> Tensor:
        return torch.isfinite(value) & torch.isfinite(gradient).all(1)
