"""Images whose representation points where an inferred one does."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.api import HorizontalView, Reconstruction, Streams
from fl_attack_bench.inversion import lbfgs
from fl_attack_bench.inversion.last_layer import probes, readable
from fl_attack_bench.inversion.matching import CHUNK
from fl_attack_bench.inversion.priors import total_variation
from fl_attack_bench.representation import extractor

_GREY = 0.5
# Standard deviation of the starting points' pixels.
_SPREAD = 0.1
# Iterations without a thousandth of progress after which an image is taken for done.
_PATIENCE = 10


@dataclass(frozen=True)
class FeatureMatching:
    """``(1 - cos(f(X), r)) / (1 - cos(t, r)) + out + weight * TV(X)``, one value a problem.

    Cosines, because representations are inferred up to scale; with the typical representation t, the divisor makes the
    value about 1 for an image that says nothing, however much alike a network's features are. ``out`` is the mean
    squared distance of the pixels from [0, 1].

    Args:
        extract: f, images ``(A, C, H, W)`` to representations ``(A, L)``.
        wanted: r, shape ``(N, L)``; zeros for a problem that nothing is known of.
        known: shape ``(N, L)``, bool: the features that count.
        typical: t, shape ``(L,)``.
        weight: of the total variation, in pixel units.
        shape: ``(C, H, W)``.
    """

    extract: Callable[[Tensor], Tensor]
    wanted: Tensor
    known: Tensor
    typical: Tensor
    weight: float
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, view: HorizontalView, layer: str, wanted: Tensor, weight: float, restarts: int) -> "FeatureMatching":
        """The problems of a view: by victim, then sample, then restart.

        Args:
            view: of V victims with B samples.
            layer: the fully connected layer whose inputs are matched.
            wanted: shape ``(V, B, L)``.
            weight: of the total variation.
            restarts: of each sample.
        """
        extract = extractor(view.model, layer, view.image_shape)
        with torch.no_grad():
            typical = extract(probes(view.image_shape).to(next(view.model.parameters()))).mean(0)
        # What no entry of a column tells was filled in, and must not be matched.
        known = view.layout.views(readable(view.observed))[f"{layer}.weight"].any(1)
        rows = torch.arange(len(wanted), device=wanted.device).repeat_interleave(wanted.shape[1] * restarts)
        each = wanted.flatten(0, 1).repeat_interleave(restarts, 0).to(typical)
        return cls(extract, each, known[rows], typical, weight, view.image_shape)

    def __call__(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``(A,)`` and gradients ``(A, d)`` of the problems numbered ``which`` at flat images ``(A, d)``."""
        values, gradients = [], []
        for some, problems in zip(points.split(CHUNK), which.split(CHUNK), strict=True):
            with torch.enable_grad():
                point = some.detach().requires_grad_()
                value = self._value(point.unflatten(1, self.shape), problems)
                (gradient,) = torch.autograd.grad(value.sum(), point)
            values.append(value.detach())
            gradients.append(gradient)
        return torch.cat(values), torch.cat(gradients)

    def _value(self, images: Tensor, problems: Tensor) -> Tensor:
        wanted, known = self.wanted[problems], self.known[problems]
        wanted = wanted * known
        blank = _angle(self.typical * known, wanted).clamp(min=1e-9)
        value = _angle(self.extract(images) * known, wanted) / blank
        outside = (images - images.clamp(0, 1)).square().flatten(1).mean(1)
        return value + outside + self.weight * total_variation(images.unsqueeze(1))


def minimise(
    objective: FeatureMatching, view: HorizontalView, streams: Streams, iterations: int, restarts: int
) -> Reconstruction:
    """The best image of each sample over its restarts, by L-BFGS; a victim's objective is its samples' mean.

    Args:
        objective: of V * B * restarts problems, in this order.
        view: of V victims with B samples.
        streams: restart r of sample i of a victim starts at normal pixels from ``(victim, i, r)``, around grey.
        iterations: as the literature counts them, of up to 20 steps.
        restarts: of each sample.
    """
    size = torch.Size(view.image_shape).numel()
    drawn = [
        torch.randn(size, generator=streams.generator("start", name, sample, restart))
        for name in view.victims
        for sample in range(view.batch_size)
        for restart in range(restarts)
    ]
    start = (_GREY + _SPREAD * torch.stack(drawn)).to(objective.typical)
    options = lbfgs.Options(iterations=iterations, line_search="strong_wolfe", stop_below=1e-9, patience=_PATIENCE)
    groups = torch.arange(len(start), device=start.device) // restarts
    found = lbfgs.minimise(objective, start, options, groups)
    values = found.value.unflatten(0, (-1, restarts))
    chosen = torch.arange(0, len(start), restarts, device=start.device) + values.argmin(1)

    def by_victim(each: Tensor) -> Tensor:
        rows: Tensor = each[chosen]
        return rows.view(-1, view.batch_size, *rows.shape[1:])

    curve = found.curve[chosen].nan_to_num(nan=torch.inf).median(0).values
    return Reconstruction(
        images=by_victim(found.best).unflatten(2, view.image_shape),
        labels=None,
        objective=by_victim(found.value).mean(1),
        iterations=by_victim(found.iterations).amax(1),
        diverged=by_victim(found.diverged).any(1),
        curve=tuple(curve[curve.isfinite()].tolist()),
    )


def _angle(one: Tensor, other: Tensor) -> Tensor:
    """``1 - cos`` of the rows as half a squared distance, which keeps its digits where the angle is small."""
    difference = one / _length(one) - other / _length(other)
    return 0.5 * difference.square().sum(1)


def _length(rows: Tensor) -> Tensor:
    """Row norms, away from zero so that they can be derived."""
    return rows.square().sum(1, keepdim=True).clamp(min=1e-24).sqrt()
