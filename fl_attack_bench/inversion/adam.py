"""Adam on many independent problems at once.

For each problem it takes the steps of ``torch.optim.Adam`` (Kingma and Ba 2015, algorithm 1) under a
``MultiStepLR``, on the gradient or on its signs (Geiping et al. 2020, section 5), followed by a projection onto a box.
Problems share nothing but the batch they are evaluated in; one that has ended is taken out of it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.inversion.running import Ending, Evaluate, Minimum, Running

_DECAY = 0.1


@dataclass(frozen=True, kw_only=True)
class Options(Ending):
    """How long and how to minimise; an iteration is a step.

    Args:
        learning_rate: of the first steps; a tenth of it from 3/8 of the iterations on, a hundredth from 5/8, a
            thousandth from 7/8.
        signed: step along the gradient's signs, so that flat and steep problems move alike.
        betas: how much of the gradient's and of its square's running means is kept.
        epsilon: added to the root of the second.
        box: the least and the greatest value of an unknown; None lets them go anywhere.
    """

    iterations: int = 500
    learning_rate: float = 0.1
    signed: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    box: tuple[float, float] | None = None

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
        groups: shape ``(N,)``: see :class:`~fl_attack_bench.inversion.running.Running`.

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
        batch.end(torch.ones_like(batch.which, dtype=torch.bool))
    return batch.result()


class _Batch(Running):
    """The problems that are still running."""

    state = (*Running.state, "before", "gradient", "mean", "square")

    def __init__(self, evaluate: Evaluate, start: Tensor, options: Options, groups: Tensor | None) -> None:
        super().__init__(_projected(start.clone(), options), options, groups)
        self.options = options
        self._evaluate = evaluate
        self._taken = 0
        self.before = self.best.clone()
        self.gradient, self.mean, self.square = (torch.zeros_like(start) for _ in range(3))

    def look(self) -> None:
        """Evaluate where the problems stand, remember the best, and let go of those that are done."""
        value, self.gradient = self._evaluate(self.x, self.which)
        finite = torch.isfinite(value) & torch.isfinite(self.gradient).all(1) & torch.isfinite(self.x).all(1)
        self.remember(value, finite)
        if self._taken:
            self.left.curve[self.which, self._taken - 1] = torch.where(finite, value, self.best_value)
        # The last finite point of a problem that ran off is the one it stepped from.
        self.x = torch.where(finite.unsqueeze(1), self.x, self.before)
        self.end(~finite | self.over(self._begun()))

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
        self.x = _projected(self.x.addcdiv(self.mean, root, value=-rate), options)

    def end(self, ended: Tensor) -> None:
        """Take the ended problems out of the batch."""
        if ended.any():
            self.leave(ended, self._begun())

    def _begun(self) -> Tensor:
        return torch.full_like(self.which, self._taken)


def _projected(x: Tensor, options: Options) -> Tensor:
    return x if options.box is None else x.clamp_(*options.box)
