"""Gradients of many victims at once, differentiable with respect to the images.

For a chain of known layers, a victim's weight gradient is a product of what entered a layer and what came back to its
output (Goodfellow 2015; Rochette 2019), and the derivative of all victims' gradients takes two more sweeps over the
same layers: see :mod:`fl_attack_bench.inversion.layers`. Any other network falls back to ``torch.func``, which is
slower and needs no knowledge of it.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.inversion import layers
from fl_attack_bench.inversion.convolution import Convolution, FirstConvolution
from fl_attack_bench.inversion.layers import Layer
from fl_attack_bench.models.network import Network, Normalise
from fl_attack_bench.update import Layout

Loss = Callable[[Tensor, Tensor], Tensor]


class VictimGradients:
    """The gradient of each victim's mean loss with respect to all parameters.

    Args:
        model: in evaluation mode; it is copied, never changed.
        layout: of its parameters.
        loss: ``(logits (M, K), targets (M, K)) -> (M,)``, one loss a sample.
    """

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss) -> None:
        self._layout = layout
        self._loss = loss
        self._model = copy.deepcopy(model).requires_grad_(False).eval()
        self._chain = _chain(self._model, layout)

    @property
    def layered(self) -> bool:
        """Whether the network is a chain of known layers."""
        return self._chain is not None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Gradients of V victims with B samples each.

        Args:
            images: shape ``(V, B, C, H, W)``.
            targets: class probabilities, shape ``(V, B, K)``.

        Returns:
            Shape ``(V, n)``, in layout order; autograd can differentiate it once with respect to both arguments.
        """
        if self._chain is None:
            return self._by_func(images, targets)
        sweeps = _Sweeps([make() for make in self._chain], self._layout, self._loss)
        found: Tensor = _Gradients.apply(images, targets, sweeps)
        return found

    def _by_func(self, images: Tensor, targets: Tensor) -> Tensor:
        fixed = dict(self._model.named_buffers())

        def loss(parameters: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
            logits = torch.func.functional_call(self._model, (parameters, fixed), (image,))
            return self._loss(logits, target).mean()

        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0), randomness="error")
        return self._layout.flatten(each(dict(self._model.named_parameters()), images, targets), batch_dims=1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy against class probabilities, one value a sample: ``-sum_k p_k log softmax(z)_k``."""
    return -(targets * F.log_softmax(logits, dim=-1)).sum(-1)


class _Sweeps:
    """One evaluation: the layers with what they remember of it."""

    def __init__(self, chain: list[Layer], layout: Layout, loss: Loss) -> None:
        self._chain, self._layout, self._loss = chain, layout, loss

    def gradients(self, images: Tensor, targets: Tensor) -> Tensor:
        """G, shape ``(V, n)``."""
        values = images.flatten(0, 1)
        for layer in self._chain:
            values = layer.forward(values)
        with torch.enable_grad():
            # The loss is on top of few numbers: autograd may have it.
            self._logits, self._targets = values.requires_grad_(), targets.detach().requires_grad_()
            loss = self._loss(self._logits, self._targets.flatten(0, 1)).sum() / images.shape[1]
            (self._arrived,) = torch.autograd.grad(loss, self._logits, create_graph=True)
        found = images.new_empty(len(images), self._layout.size)
        views = self._layout.views(found)
        back: Tensor | None = self._arrived.detach()
        for layer in reversed(self._chain):
            if back is None:
                break
            back = layer.backward(back, views)
        return found

    def pull(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """``J^T R`` for the images, shape ``(M, C, H, W)``, and the targets."""
        views = self._layout.views(along)
        moved: Tensor | None = None
        for layer in self._chain:
            moved = layer.tangent(moved, views)
        back, targets = torch.autograd.grad(self._arrived, (self._logits, self._targets), moved)
        for layer in reversed(self._chain):
            back = layer.adjoint(back, views)
        return back, targets


class _Gradients(torch.autograd.Function):
    """Puts the sweeps on the graph."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, targets: Tensor, sweeps: _Sweeps) -> Tensor:
        """Forward and backward sweep."""
        ctx.sweeps, ctx.shape = sweeps, images.shape
        return sweeps.gradients(images, targets)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        """Tangent and adjoint sweep."""
        images, targets = ctx.sweeps.pull(grads[0].contiguous())
        return images.view(ctx.shape), targets, None


def _chain(model: nn.Module, layout: Layout) -> list[Callable[[], Layer]] | None:
    """What makes the layers of one evaluation, in order; None for a network that is not a chain of known layers."""
    found: list[Callable[[], Layer]] = []
    seen: set[str] = set()
    for path, module in _in_order(model):
        kind = _kind(module, first=not seen)
        if kind is None:
            return None
        found.append(functools.partial(kind, module, path, not seen))
        seen |= {f"{path}.{name}" for name, _ in module.named_parameters()}
    return found if seen == set(layout.names) else None


def _in_order(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that a network calls one after the other, with their paths; itself where that is not known."""
    if isinstance(model, Network) and type(model).forward is Network.forward:
        yield "normalise", model.normalise
        yield from ((f"features.{path}", layer) for path, layer in _in_order(model.features) if path)
        yield "", nn.Flatten()
        yield "classifier", model.classifier
    elif type(model) is nn.Sequential:
        yield from model.named_children()
    else:
        yield "", model


_PLAIN: dict[type[nn.Module], type[Layer]] = {
    nn.Identity: layers.Reshaping,
    nn.Flatten: layers.Reshaping,
    Normalise: layers.Scaling,
    nn.Sigmoid: layers.Sigmoid,
    nn.Tanh: layers.Tanh,
    nn.ReLU: layers.Relu,
    nn.MaxPool2d: layers.MaxPool,
    nn.AvgPool2d: layers.AveragePool,
    nn.Linear: layers.Linear,
}


def _kind(module: nn.Module, first: bool) -> type[Layer] | None:
    if type(module) is nn.BatchNorm2d:
        return layers.Norm if module.affine and module.track_running_stats else None
    if type(module) is nn.Conv2d:
        plain = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
        known = plain and not isinstance(module.padding, str)
        return (FirstConvolution if first else Convolution) if known else None
    return _PLAIN.get(type(module))
