"""Gradient similarity: inverting gradients by their direction."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from fl_attack_bench.api import Card, HorizontalView, PassiveAttack, Reconstruction, Streams
from fl_attack_bench.inversion import adam, similarity
from fl_attack_bench.inversion.labels import labels_of

# Standard deviation of the pixels that a search starts from.
_SPREAD = 0.25


@dataclass(frozen=True)
class GradientSimilarity(PassiveAttack):
    """Find images whose gradient points the observed way and whose total variation is small (Geiping et al. 2020).

    Args:
        iterations: Adam steps.
        restarts: independent starts a victim; the one with the lowest objective is kept.
        signed: Adam on the gradient's signs, as published; False for plain Adam.
        learning_rate: of Adam, in pixels; it falls to a tenth after 3/8, 5/8 and 7/8 of the iterations. The published
            0.1 is in pixels divided by their standard deviation, about 1/4.
        tv: weight of the mean total variation of the pixels beside ``1 - cos``.
        box: keep the pixels in [0, 1].
        adaptive: leave out entries whose true value is not known, weigh the others by how exact they are, and lean on
            the prior where they are noisy; False takes what is read for the truth, as published.
        stop_below: end a victim's restarts when one of them brings the objective below this.
        patience: end a restart whose objective did not fall by a thousandth in so many iterations; 0 never.
    """

    card = Card(
        title="Gradient similarity",
        paper="https://arxiv.org/abs/2003.14053",
        threat="honest-but-curious server",
        assumes="architecture, weights, number of samples, the local plan, how far each entry can be trusted; a "
        "twice-differentiable network that ends in a linear layer",
        notes="Labels come from the last layer's gradient. Several local steps are unrolled; then the order of the "
        "samples is not known and the given order stands in. All rounds of a view are matched together. The defaults "
        "are the strong setting. The Soteria paper's: iterations=120, adaptive=false; the published one: "
        "iterations=4800, adaptive=false; tv there is between 1e-6 and 1e-1 in pixels divided by their standard "
        "deviation. Of a run the point where it settled is returned, as published, not the lowest that it passed.",
    )

    iterations: Annotated[int, Ge(1), Le(100_000)] = 500
    restarts: Annotated[int, Ge(1), Le(1_000)] = 1
    signed: bool = True
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.025
    tv: Annotated[float, Ge(0), Le(1_000)] = 1e-3
    box: bool = True
    adaptive: bool = True
    stop_below: Annotated[float, Ge(0)] = 0.0
    patience: Annotated[int, Ge(0)] = 0

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Match directions with the labels known."""
        labels = labels_of(view)
        problem = similarity.problem(view, labels, self.restarts, self.tv, adaptive=self.adaptive)
        options = adam.Options(
            iterations=self.iterations,
            learning_rate=self.learning_rate,
            signed=self.signed,
            box=(0.0, 1.0) if self.box else None,
            stop_below=self.stop_below,
            patience=self.patience,
        )
        found = adam.minimise(problem.evaluate, self._start(view, streams), options, problem.objective.victim)
        # Where a run settled, not the lowest point that it passed: behind rectifiers the objective jumps from one
        # linear piece to the next, and a lucky piece early on is no better image.
        settled = torch.where(found.diverged, found.value, found.curve[:, -1])
        ends = torch.where(found.diverged.unsqueeze(1), found.best, found.last)
        values = settled.unflatten(0, (-1, self.restarts))
        chosen = torch.arange(len(values), device=values.device) * self.restarts + values.argmin(1)
        curve = found.curve[chosen].nan_to_num(nan=torch.inf).median(0).values
        return Reconstruction(
            images=ends[chosen].unflatten(1, problem.shape),
            labels=labels,
            objective=settled[chosen],
            iterations=found.iterations[chosen],
            diverged=found.diverged[chosen],
            curve=tuple(curve[curve.isfinite()].tolist()),
        )

    def _start(self, view: HorizontalView, streams: Streams) -> Tensor:
        """Flat images of every victim and restart, normal around grey; shape ``(N, d)``."""
        size = view.batch_size * torch.Size(view.image_shape).numel()
        drawn = [
            torch.randn(size, generator=streams.generator("start", name, restart))
            for name in view.victims
            for restart in range(self.restarts)
        ]
        return torch.stack(drawn).mul_(_SPREAD).add_(0.5).to(view.observed.values)
