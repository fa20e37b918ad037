"""Many independent minimisations in one batch: what each has found so far, and which of them are over.

Problems share nothing but the batch they are evaluated in; one that has ended is taken out of it, so that the rest runs
on faster. The optimisers of this room differ in how they step and share how they end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

# A value has fallen when it is lower by this share of what it was.
_FALL = 1e-3


@dataclass(frozen=True, kw_only=True)
class Ending:
    """When a problem is over; the optimisers add how it steps.

    Args:
        iterations: at most so many.
        stop_below: it ends when its value is lower; 0 never ends one.
        patience: it ends when its best value did not fall by a thousandth in so many iterations; 0 never.
    """

    iterations: int
    stop_below: float = 0.0
    patience: int = 0


@dataclass(frozen=True)
class Minimum:
    """Where each of N problems ended.

    Args:
        best: shape ``(N, d)``: the lowest point that was visited; always finite.
        value: shape ``(N,)``: its value.
        last: shape ``(N, d)``: the last finite point.
        iterations: shape ``(N,)``: iterations begun.
        diverged: shape ``(N,)``: whether a value or gradient became infinite or NaN.
        curve: shape ``(N, iterations)``: value at the end of each iteration, the last one carried on.
    """

    best: Tensor
    value: Tensor
    last: Tensor
    iterations: Tensor
    diverged: Tensor
    curve: Tensor


class Running:
    """The problems that are still running, and what the ended ones left behind.

    Args:
        start: shape ``(N, d)``: where they begin; what is not finite there counts as 0 among the results.
        ending: see :class:`Ending`.
        groups: shape ``(N,)``: restarts of one victim share a number. When one of them falls below ``stop_below``, the
            others end too. By default every problem is its own group.
    """

    # Everything that belongs to one running problem; rows are dropped together. Optimisers add theirs.
    state: ClassVar[tuple[str, ...]] = ("which", "x", "best", "best_value", "_patient_value", "_patient_since")

    def __init__(self, start: Tensor, ending: Ending, groups: Tensor | None) -> None:
        count = len(start)
        self._ending = ending
        self.which = torch.arange(count, device=start.device)
        self._groups = self.which.clone() if groups is None else groups
        self.x = start.clone()
        finite = start.nan_to_num()
        self.left = Minimum(
            best=finite.clone(),
            value=start.new_full((count,), torch.inf),
            last=finite.clone(),
            iterations=torch.zeros_like(self.which),
            diverged=torch.zeros_like(self.which, dtype=torch.bool),
            curve=start.new_full((count, ending.iterations), torch.nan),
        )
        self.best, self.best_value = finite.clone(), self.left.value.clone()
        self._patient_value, self._patient_since = self.best_value.clone(), torch.zeros_like(self.which)

    def remember(self, value: Tensor, finite: Tensor) -> None:
        """Keep where the running problems stand if it is finite and the lowest so far; mark the others as diverged."""
        improved = finite & (value < self.best_value)
        self.best[improved], self.best_value[improved] = self.x[improved], value[improved]
        self.left.diverged[self.which[~finite]] = True

    def over(self, iteration: Tensor) -> Tensor:
        """Which of the running problems have waited long enough at this iteration, or have an answer in their group."""
        fell = self.best_value < self._patient_value * (1 - _FALL)
        self._patient_value = torch.where(fell, self.best_value, self._patient_value)
        self._patient_since = torch.where(fell, iteration, self._patient_since)
        patience = self._ending.patience
        waited = (iteration - self._patient_since >= patience) if patience else torch.zeros_like(fell)
        done = self.best_value < self._ending.stop_below
        return waited | torch.isin(self._groups[self.which], self._groups[self.which[done]])

    def leave(self, ended: Tensor, begun: Tensor) -> Tensor:
        """Write down what the ended problems found in the iterations that they began; returns the rows that run on."""
        rows = self.which[ended]
        self.left.best[rows], self.left.value[rows] = self.best[ended], self.best_value[ended]
        self.left.last[rows] = self.x[ended].nan_to_num()
        self.left.iterations[rows] = begun[ended]
        running = (~ended).nonzero().squeeze(1)
        for name in self.state:
            setattr(self, name, getattr(self, name)[running])
        return running

    def result(self) -> Minimum:
        """What all problems left behind, curves carried on to the end."""
        curve = self.left.curve
        curve[:, 0] = torch.where(curve[:, 0].isnan(), self.left.value, curve[:, 0])
        for column in range(1, curve.shape[1]):
            gone = curve[:, column].isnan()
            curve[gone, column] = curve[gone, column - 1]
        return self.left
