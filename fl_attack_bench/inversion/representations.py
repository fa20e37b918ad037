"""Class-wise representations from the gradients of fully connected layers (Sun et al. 2021, section 3.2).

A layer's weight gradient is a sum over the classes present, ``dL/dW = sum_c (n_c / B) delta_c r_c^T`` with the mean
input ``r_c`` of the class's samples and the gradient ``delta_c`` that they send to the layer's output. The last layer
gives its own ``r_c`` first; each layer before it is inferred with the help of the one after it.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.api import HorizontalView
from fl_attack_bench.inversion import last_layer

Approach = Literal["rows", "least_squares"]

# Activations with their derivative written in terms of their value.
_ACTIVATIONS: tuple[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], ...] = (
    (lambda z: z, torch.ones_like),
    (torch.relu, lambda r: (r > 0).to(r)),
    (torch.sigmoid, lambda r: (r * (1 - r)).clamp(min=0)),
    (torch.tanh, lambda r: (1 - r.square()).clamp(min=0)),
)


def infer(view: HorizontalView, labels: Tensor, approach: Approach, rows: int = 1) -> dict[str, Tensor]:
    """The mean input of each fully connected layer over the samples of each class.

    Args:
        view: what was seen.
        labels: shape ``(V, B)``, of the victims' samples as far as they are known.
        approach: ``rows`` takes one row of a layer's gradient for each class, as published: the class's own in the last
            layer, before that those of the units whose activation belongs most to this class. ``least_squares`` sends
            each class's error back through the known weights and solves for all classes at once.
        rows: how many rows the first approach averages in a layer before the last.

    Returns:
        By the layer's name, in the order of the forward pass, shape ``(V, K, L)``, up to scale; NaN for classes that
        are absent. Without a layer whose output does not become the next one's input by a known activation, and
        without those before it.

    Raises:
        SkipCell: the network has no fully connected layer, does not end in one, or hides the last one's gradient.
    """
    layer = last_layer.read(view)
    entered = last_layer.probed(view)
    counts = F.one_hot(labels, view.classes).sum(1).to(layer.weight)
    names = list(entered)
    descend = _Rows(view, counts, rows) if approach == "rows" else _LeastSquares(view, counts)
    found = {layer.name: descend.last(layer)}
    for upper, lower in zip(names[:0:-1], names[-2::-1], strict=True):
        derivative = _between(view.model, lower, upper, entered)
        inferred = None if derivative is None else descend.step(lower, upper, derivative, entered[lower].mean(0))
        if inferred is None:
            break
        found[lower] = inferred
    absent = (counts == 0).unsqueeze(2)
    return {name: found[name].masked_fill(absent, torch.nan) for name in names if name in found}


class _Rows:
    """The published way."""

    def __init__(self, view: HorizontalView, counts: Tensor, rows: int) -> None:
        self._gradients = view.layout.views(last_layer.step_average(view))
        self._present, self._rows = counts > 0, rows
        self._current = torch.empty(0)

    def last(self, layer: last_layer.LastLayer) -> Tensor:
        """A class's own samples weigh most in its row, with a negative sign."""
        self._current = -layer.weight_gradient
        return self._current

    def step(self, lower: str, upper: str, derivative: Callable[[Tensor], Tensor], typical: Tensor) -> Tensor | None:
        """The rows of the units that are active for this class more than for any other, by the share of all activity.

        A row times the sign of its bias gradient adds up its samples' inputs, most of them with a positive weight.
        """
        del upper, derivative, typical
        rows = self._gradients[f"{lower}.weight"]
        heard = rows.abs().amax(2) > 0
        if not bool(heard.any()):
            return None
        active = self._current.clamp(min=0) * self._present.unsqueeze(2)
        share = active / active.norm(dim=2, keepdim=True).clamp(min=1e-30)
        strongest, second = _two_largest(share)
        others = torch.where(share == strongest, second, strongest)
        best = (share - others).masked_fill(~heard.unsqueeze(1), -1.0).topk(min(self._rows, rows.shape[1]), dim=2)
        # A unit that is active for others too still counts a little, so that there is something to take.
        weight = best.values.clamp(min=1e-12)
        chosen = torch.zeros_like(share).scatter(2, best.indices, weight)
        self._current = chosen @ (rows * self._signs(lower, rows).unsqueeze(2))
        return self._current

    def _signs(self, lower: str, rows: Tensor) -> Tensor:
        """Shape ``(V, J)``: of the bias gradients; without them, inputs are taken for mostly positive."""
        sums = rows.sum(2).sign()
        bias = self._gradients.get(f"{lower}.bias")
        return sums if bias is None else torch.where(bias == 0, sums, bias.sign())


class _LeastSquares:
    """All classes at once, with what each sends back through the weights that the adversary knows."""

    def __init__(self, view: HorizontalView, counts: Tensor) -> None:
        self._gradients = view.layout.views(last_layer.step_average(view))
        self._readable = view.layout.views(last_layer.readable(view.observed))
        self._view, self._counts, self._samples = view, counts, view.batch_size
        self._current = self._errors = torch.empty(0)

    def last(self, layer: last_layer.LastLayer) -> Tensor:
        """As the last layer solves for it."""
        found = last_layer.solve(layer, self._samples, self._counts)
        self._current, self._errors = found.representations, last_layer.errors(found.probabilities)
        return self._current

    def step(self, lower: str, upper: str, derivative: Callable[[Tensor], Tensor], typical: Tensor) -> Tensor:
        """Where nothing of a layer was read, its input stays typical, and the errors still pass."""
        weight = last_layer.halfway(self._view, f"{upper}.weight")
        self._errors = (self._errors @ weight) * derivative(self._current)
        steps = self._errors * (self._counts / self._samples).unsqueeze(2)
        known = self._readable[f"{lower}.weight"].any(1, keepdim=True)
        self._current = last_layer.regress(self._gradients[f"{lower}.weight"], steps, typical.double(), known)
        return self._current


def _two_largest(share: Tensor) -> tuple[Tensor, Tensor]:
    """The largest and second largest along the classes, shape ``(V, 1, J)`` each."""
    top = share.topk(min(2, share.shape[1]), dim=1).values
    return top[:, :1], top[:, 1:] if top.shape[1] > 1 else torch.zeros_like(top)


def _between(model: nn.Module, lower: str, upper: str, entered: dict[str, Tensor]) -> Callable[[Tensor], Tensor] | None:
    """The derivative of the activation that makes one layer's output the next one's input; None where none fits."""
    layer = model.get_submodule(lower)
    assert isinstance(layer, nn.Linear)
    output = layer(entered[lower]).detach()
    wanted = entered[upper]
    if output.shape != wanted.shape:
        return None
    fits = (d for activate, d in _ACTIVATIONS if torch.allclose(activate(output), wanted, rtol=1e-4, atol=1e-6))
    return next(fits, None)
