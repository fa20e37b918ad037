"""Adam on many independent problems at once.

For each problem it takes the steps of ``torch.optim.Adam`` (Kingma and Ba 2015, algorithm 1) under a
``MultiStepLR``, on the gradient or on its signs (Geiping et al. 2020, section 5), followed by a projection onto a box.
Problems share nothing but the batch they are evaluated in; one that has ended is taken out of it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.inversion.lbfgs import Evaluate, Minimum

_DECAY = 0.1


@dataclass(frozen=True)
class Options:
    """How long and how to minimise.

    Args:
        iterations: steps.
        learning_rate: of the first steps; a tenth of it from 3/8 of the iterations on, a hundredth from 5/8, a
            thousandth from 7/8.
        signed: step along the gradient's signs, so that flat and steep problems move alike.
        betas: how much of the gradient's and of its square's running means is kept.
        epsilon: added to the root of the second.
        box: the least and the greatest value of an unknown; None lets them go anywhere.
        stop_below: a problem ends when its value is lower; 0 never ends one.
        patience: a problem ends when its best value did not fall by a thousandth in so many iterations; 0 never.
    """

    iterations: int = 500
    learning_rate: float = 0.1
    signed: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    box: tuple[float, float] | None = None
    stop_below: float = 0.0
    patience: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of the step with this number, from 0."""
        passed = sum(step >= self.iterations * eighths // 8 for eighths in (3, 5, 7))
        return self.learning_rate * _DECAY**passed


def minimise(evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None = None) -> Minimum:
    """Minimise N problems from their starting points.

    Args:
        evaluate: ``(points, which) -> (values, gradients)``: points of shape ``(A, d)`` of the problems numbered
            ``which``, their values ``(A,)`` and gradients ``(A, d)``. A row must depend on its own problem only.
        start: shape ``(N, d)``.
        options: see :class:`Options`.
        groups: shape ``(N,)``: restarts of one victim share a number. When one of them falls below ``stop_below``, the
            others end too. By default every problem is its own group.

    Returns:
        Where each ended. ``iterations`` counts steps; ``curve`` holds the value after each.
    """
    batch = _Batch(evaluate, start, options, groups)
    with torch.no_grad():
        batch.look()
        for step in range(options.iterations):
            if not len(batch.which):
                break
            batch.move(step)
            batch.look()
        batch.leave(torch.ones_like(batch.which, dtype=torch.bool))
    return batch.result()


class _Batch:
    """The problems that are still running, and what the ended ones left behind."""

    # Everything that belongs to one running problem; rows are dropped together.
    _STATE = "which x before gradient mean square best best_value patient_value patient_since"

    def __init__(self, evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None) -> None:
        count = len(start)
        self.options = options
        self._evaluate = evaluate
        self._groups = torch.arange(count, device=start.device) if groups is None else groups
        self._taken = 0
        self.which = torch.arange(count, device=start.device)
        self.x = self._projected(start.clone())
        finite = self.x.nan_to_num()
        self._left = Minimum(
            best=finite.clone(),
            value=start.new_full((count,), torch.inf),
            last=finite.clone(),
            iterations=torch.zeros(count, dtype=torch.int64, device=start.device),
            diverged=torch.zeros(count, dtype=torch.bool, device=start.device),
            curve=start.new_full((count, options.iterations), torch.nan),
        )
        self.before, self.best = finite.clone(), finite.clone()
        self.gradient, self.mean, self.square = (torch.zeros_like(start) for _ in range(3))
        self.best_value = self._left.value.clone()
        self.patient_value, self.patient_since = self._left.value.clone(), torch.zeros_like(self.which)

    def look(self) -> None:
        """Evaluate where the problems stand, remember the best, and let go of those that are done."""
        value, self.gradient = self._evaluate(self.x, self.which)
        finite = torch.isfinite(value) & torch.isfinite(self.gradient).all(1) & torch.isfinite(self.x).all(1)
        improved = finite & (value < self.best_value)
        self.best[improved], self.best_value[improved] = self.x[improved], value[improved]
        if self._taken:
            self._left.curve[self.which, self._taken - 1] = torch.where(finite, value, self.best_value)
        # The last finite point of a problem that ran off is the one it stepped from.
        self.x = torch.where(finite.unsqueeze(1), self.x, self.before)
        self._left.diverged[self.which[~finite]] = True
        self.leave(~finite | self._out_of_patience() | self._group_done())

    def move(self, step: int) -> None:
        """One step of every running problem."""
        options = self.options
        first, second = options.betas
        gradient = self.gradient.sign() if options.signed else self.gradient
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        taken = self._taken = step + 1
        root = self.square.sqrt().div_((1 - second**taken) ** 0.5).add_(options.epsilon)
        self.before = self.x
        rate = options.rate(step) / (1 - first**taken)
        self.x = self._projected(self.x.addcdiv(self.mean, root, value=-rate))

    def leave(self, ended: Tensor) -> None:
        """Write down what the ended problems found and take them out of the batch."""
        if not ended.any():
            return
        rows = self.which[ended]
        self._left.best[rows], self._left.value[rows] = self.best[ended], self.best_value[ended]
        self._left.last[rows] = self.x[ended]
        self._left.iterations[rows] = self._taken
        running = (~ended).nonzero().squeeze(1)
        for name in self._STATE.split():
            setattr(self, name, getattr(self, name)[running])

    def result(self) -> Minimum:
        """What all problems left behind, curves carried on to the end."""
        curve = self._left.curve
        curve[:, 0] = torch.where(curve[:, 0].isnan(), self._left.value, curve[:, 0])
        for column in range(1, curve.shape[1]):
            gone = curve[:, column].isnan()
            curve[gone, column] = curve[gone, column - 1]
        return self._left

    def _projected(self, x: Tensor) -> Tensor:
        return x if self.options.box is None else x.clamp_(*self.options.box)

    def _out_of_patience(self) -> Tensor:
        fell = self.best_value < self.patient_value * (1 - 1e-3)
        self.patient_value = torch.where(fell, self.best_value, self.patient_value)
        self.patient_since = torch.where(fell, self._taken, self.patient_since)
        waited = self._taken - self.patient_since
        return waited >= self.options.patience if self.options.patience else torch.zeros_like(fell)

    def _group_done(self) -> Tensor:
        done = self.best_value < self.options.stop_below
        return torch.isin(self._groups[self.which], self._groups[self.which[done]])
