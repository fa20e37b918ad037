"""The base of the attacks that match gradients in the L2 norm with L-BFGS."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from annotated_types import Ge, Gt, Le
from torch import Tensor

from fl_attack_bench.api import HorizontalView, PassiveAttack, Reconstruction, Streams
from fl_attack_bench.inversion import lbfgs
from fl_attack_bench.inversion.gauss_newton import polish
from fl_attack_bench.inversion.matching import L2Matching, Seen, Unknowns, updates, value_and_gradient
from fl_attack_bench.inversion.per_sample import cross_entropy
from fl_attack_bench.inversion.running import Minimum
from fl_attack_bench.inversion.weights import entry_weights, round_shares, stated

# A fresh network's gradient has a squared norm of several hundreds, so that a relative objective is smaller by so much.
_RELATIVE = 1e-3
# Polishing begins where the objective has fallen to so much of its power, and goes so far below the usual end: its last
# step costs as much as the others and brings the most.
_NEAR = 1e-3
_FURTHER = 1e-2


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
        adaptive: weigh every entry by what the view says of it; False takes what was not sent for zeros and trusts
            every entry, as published.
        stop_below: end a victim's restarts when one of them brings the objective below this.
        polish: at most so many damped Gauss-Newton steps, in double precision, for a victim that ends near a minimum
            but not below ``stop_below``: they find what a badly conditioned problem hides from L-BFGS, at a cost that
            grows with the square of the number of pixels (some eight CPU seconds a step for a CIFAR image).
        patience: end a restart whose objective did not fall by a thousandth in so many iterations; 0 never.
    """

    iterations: Annotated[int, Ge(1), Le(100_000)] = 300
    restarts: Annotated[int, Ge(1), Le(1_000)] = 1
    line_search: lbfgs.LineSearch = "strong_wolfe"
    learning_rate: Annotated[float, Gt(0)] = 1.0
    history: Annotated[int, Ge(1), Le(1_000)] = 100
    relative: bool = True
    adaptive: bool = True
    stop_below: Annotated[float, Ge(0)] = 1e-9
    polish: Annotated[int, Ge(0), Le(1_000)] = 0
    patience: Annotated[int, Ge(0)] = 0

    def match(self, view: HorizontalView, streams: Streams, labels: Tensor | None) -> Reconstruction:
        """Reconstruct every victim.

        Args:
            view: of V victims with B samples each.
            streams: the attack's own; restart r of a victim starts at the standard normal of ``(victim, r)``.
            labels: shape ``(V, B)`` where the attacker knows them; otherwise soft labels are reconstructed too.
        """
        objective, unknowns = self._problem(view, labels, self.restarts)
        start = self._start(view, streams, unknowns.size).to(view.observed.values)
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
        groups = objective.victim
        found = lbfgs.minimise(lambda p, rows: value_and_gradient(objective, unknowns, p, rows), start, options, groups)
        return self._best_of_restarts(found, view, labels)

    def _problem(self, view: HorizontalView, labels: Tensor | None, restarts: int) -> tuple[L2Matching, Unknowns]:
        like = view.observed.values
        victim = torch.arange(len(like), device=like.device).repeat_interleave(restarts)
        probabilities = None if labels is None else F.one_hot(labels, view.classes).to(like.dtype)[victim]
        rounds = self._rounds(view)
        unknowns = Unknowns((view.batch_size, *view.image_shape), view.classes, probabilities)
        return L2Matching(rounds, self._scale(rounds), victim), unknowns

    def _rounds(self, view: HorizontalView) -> list[Seen]:
        made = [updates(seen, view.layout, view.local, cross_entropy) for seen in view.rounds]
        if not self.adaptive:
            return [Seen(make, seen.observed.values) for make, seen in zip(made, view.rounds, strict=True)]
        observed = stated(view)
        weights = [entry_weights(one) for one in observed]
        if len(observed) > 1:
            shares = round_shares(observed).unsqueeze(2)
            weights = [share if some is None else share * some for share, some in zip(shares, weights, strict=True)]
        return [Seen(make, one.values, some) for make, one, some in zip(made, observed, weights, strict=True)]

    def _scale(self, rounds: Sequence[Seen]) -> Tensor:
        power = torch.stack([seen.power for seen in rounds]).sum(0)
        return torch.where(power > 0, 1 / power, 1.0) if self.relative else torch.ones_like(power)

    def _start(self, view: HorizontalView, streams: Streams, size: int) -> Tensor:
        drawn = [
            torch.randn(size, generator=streams.generator("start", name, restart))
            for name in view.victims
            for restart in range(self.restarts)
        ]
        return torch.stack(drawn)

    def _best_of_restarts(self, found: Minimum, view: HorizontalView, labels: Tensor | None) -> Reconstruction:
        numbers = torch.arange(len(found.value), device=found.value.device)
        chosen = numbers[:: self.restarts] + found.value.unflatten(0, (-1, self.restarts)).argmin(1)
        points, values = found.best[chosen], found.value[chosen]
        objective, unknowns = self._problem(view, labels, 1)
        images, targets = unknowns.unpack(points, objective.victim)
        if self.polish:
            # Soft labels would have to go to infinity; near a minimum the hard ones are no longer in doubt.
            self._polish(*self._problem(_precise(view), targets.argmax(-1), 1), images, values)
        curve = found.curve[chosen].nan_to_num(nan=torch.inf).median(0).values
        return Reconstruction(
            images=images,
            labels=targets.argmax(-1),
            objective=values,
            iterations=found.iterations[chosen],
            diverged=found.diverged[chosen],
            curve=tuple(curve[curve.isfinite()].tolist()),
        )

    def _polish(self, objective: L2Matching, unknowns: Unknowns, images: Tensor, values: Tensor) -> None:
        """Improve, in place, the images of victims that are near a minimum and not yet there; one at a time.

        A Jacobian is by far too large to keep one for each victim.
        """
        power = torch.stack([seen.power for seen in objective.rounds]).sum(0)
        near = (values > self.stop_below) & (values < _NEAR * power * objective.scale)
        for victim in near.nonzero().flatten().tolist():

            def residual(some: Tensor, victim: int = victim) -> Tensor:
                which = torch.full((len(some),), victim, device=some.device)
                return objective.residual(*unknowns.unpack(some, which), victim)

            with torch.no_grad():
                point, value = polish(
                    residual, images[victim].flatten().double(), self.polish, self.stop_below * _FURTHER
                )
            if value < float(values[victim]):
                images[victim], values[victim] = point.view(unknowns.shape), value


def _precise(view: HorizontalView) -> HorizontalView:
    """The same in double precision."""
    like = view.observed.values[:0].double()
    rounds = [replace(r, model=copy.deepcopy(r.model).double(), observed=r.observed.to(like)) for r in view.rounds]
    return replace(view, rounds=tuple(rounds))
