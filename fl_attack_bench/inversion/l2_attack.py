"""The base of the attacks that match gradients in the L2 norm with L-BFGS."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from annotated_types import Ge, Gt, Le
from torch import Tensor

from fl_attack_bench.api import HorizontalView, PassiveAttack, Reconstruction, Streams
from fl_attack_bench.inversion import lbfgs
from fl_attack_bench.inversion.matching import L2Matching, Unknowns, value_and_gradient
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy

# A fresh network's gradient has a squared norm of several hundreds, so that a relative objective is smaller by so much.
_RELATIVE = 1e-3


@dataclass(frozen=True)
class L2GradientMatching(PassiveAttack):
    """Find images whose gradient is closest to the observed one; all victims and restarts are one batch.

    Args:
        iterations: L-BFGS iterations of up to 20 steps each, as the literature counts them.
        restarts: independent starts a victim; the one with the lowest objective is kept.
        line_search: ``strong_wolfe`` converges from nearly every start; ``none`` is the authors' choice.
        learning_rate: of L-BFGS.
        history: curvature pairs that L-BFGS keeps.
        relative: divide a victim's objective by its observed squared norm, so that tolerances mean the same for the
            large gradients of a fresh network and the small ones of a trained one; False is the published form.
        sent_only: match only the entries that were really sent; False takes the others for zeros, as published.
        stop_below: end a victim's restarts when one of them brings the objective below this.
        patience: end a restart whose objective did not fall by a thousandth in so many iterations; 0 never.
    """

    iterations: Annotated[int, Ge(1), Le(100_000)] = 300
    restarts: Annotated[int, Ge(1), Le(1_000)] = 1
    line_search: lbfgs.LineSearch = "strong_wolfe"
    learning_rate: Annotated[float, Gt(0)] = 1.0
    history: Annotated[int, Ge(1), Le(1_000)] = 100
    relative: bool = True
    sent_only: bool = True
    stop_below: Annotated[float, Ge(0)] = 1e-9
    patience: Annotated[int, Ge(0)] = 0

    def match(self, view: HorizontalView, streams: Streams, labels: Tensor | None) -> Reconstruction:
        """Reconstruct every victim.

        Args:
            view: of V victims with B samples each.
            streams: the attack's own; restart r of a victim starts at the standard normal of ``(victim, r)``.
            labels: shape ``(V, B)`` where the attacker knows them; otherwise soft labels are reconstructed too.
        """
        observed = view.observed.values
        victim = torch.arange(len(observed), device=observed.device).repeat_interleave(self.restarts)
        probabilities = None if labels is None else F.one_hot(labels, view.classes).to(observed.dtype)[victim]
        unknowns = Unknowns((view.batch_size, *view.image_shape), view.classes, probabilities)
        gradients = VictimGradients(view.model, view.layout, cross_entropy)
        sent = view.observed.sent if self.sent_only and not view.observed.sent.all() else None
        objective = L2Matching(gradients, observed, sent, self._scale(observed), victim)
        start = self._start(view, streams, unknowns.size).to(observed)
        # torch's tolerances are made for the published sum of squares.
        unit = _RELATIVE if self.relative else 1.0
        options = lbfgs.Options(
            iterations=self.iterations,
            line_search=self.line_search,
            learning_rate=self.learning_rate,
            history=self.history,
            tolerance_grad=1e-7 * unit,
            tolerance_change=1e-9 * unit,
            curvature_floor=1e-10 * unit,
            stop_below=self.stop_below,
            patience=self.patience,
        )
        found = lbfgs.minimise(lambda p, rows: value_and_gradient(objective, unknowns, p, rows), start, options, victim)
        return self._best_of_restarts(found, unknowns)

    def _scale(self, observed: Tensor) -> Tensor:
        power = observed.square().sum(1)
        return torch.where(power > 0, 1 / power, 1.0) if self.relative else torch.ones_like(power)

    def _start(self, view: HorizontalView, streams: Streams, size: int) -> Tensor:
        drawn = [
            torch.randn(size, generator=streams.generator("start", name, restart))
            for name in view.victims
            for restart in range(self.restarts)
        ]
        return torch.stack(drawn)

    def _best_of_restarts(self, found: lbfgs.Minimum, unknowns: Unknowns) -> Reconstruction:
        values = found.value.unflatten(0, (-1, self.restarts))
        numbers = torch.arange(len(found.value), device=values.device)
        chosen = numbers[:: self.restarts] + values.argmin(1)
        images, targets = unknowns.unpack(found.best, numbers)
        curve = found.curve[chosen].nan_to_num(nan=torch.inf).median(0).values
        return Reconstruction(
            images=images[chosen],
            labels=targets[chosen].argmax(-1),
            objective=found.value[chosen],
            iterations=found.iterations[chosen],
            diverged=found.diverged[chosen],
            curve=tuple(curve[curve.isfinite()].tolist()),
        )
