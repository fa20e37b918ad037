"""Gradients of many victims at once, differentiable with respect to the images.

For a network of convolutions, dense layers and batch norm in evaluation mode, a victim's weight gradient is a product
of what entered a layer and what came back to its output (Goodfellow 2015; Rochette 2019): with the columns ``U`` of a
convolution's input and the loss's gradient ``d`` at its output, ``dW = d U^T``. One batched forward and one backward
pass give both for all victims. Any other network falls back to ``torch.func``, which is slower and needs no knowledge
of it.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.errors import UserError
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
        self._tape: list[_Recorded] = []
        self.layered = _record(self._model, self._tape, layout)

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Gradients of V victims with B samples each.

        Args:
            images: shape ``(V, B, C, H, W)``.
            targets: class probabilities, shape ``(V, B, K)``.

        Returns:
            Shape ``(V, n)``, in layout order, on the graph of ``images`` and ``targets``.
        """
        return self._by_layers(images, targets) if self.layered else self._by_func(images, targets)

    def _by_layers(self, images: Tensor, targets: Tensor) -> Tensor:
        victims, batch = images.shape[:2]
        if not images.requires_grad:
            images = images.detach().requires_grad_()  # the graph has to begin somewhere
        self._tape.clear()
        logits = self._model(images.flatten(0, 1))
        loss = self._loss(logits, targets.flatten(0, 1)).sum() / batch
        if len({entry.names for entry in self._tape}) < len(self._tape):
            raise UserError("a layer that is called twice in one pass is not supported: give the network two layers")
        outputs = [entry.output for entry in self._tape]
        arrived = torch.autograd.grad(loss, outputs, create_graph=True)
        parts: dict[str, Tensor] = {}
        for entry, delta in zip(self._tape, arrived, strict=True):
            parts |= entry.gradients(delta, victims)
        self._tape.clear()
        return self._layout.flatten(parts, batch_dims=1)

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


class _Recorded:
    """A layer's output with what its gradients are made of."""

    def __init__(self, output: Tensor, names: Sequence[str], weigh: Callable[[Tensor], Tensor]) -> None:
        self.output, self.names, self._weigh = output, tuple(names), weigh

    def gradients(self, delta: Tensor, victims: int) -> dict[str, Tensor]:
        """Gradients of the layer's parameters, shape ``(V, ...)`` each, from the loss's gradient at its output."""
        weight, bias = self.names
        found = {weight: _by_victim(self._weigh(delta), victims)}
        if bias:
            found[bias] = _by_victim(delta.flatten(2).sum(2) if delta.ndim > 2 else delta, victims)
        return found


def _by_victim(each: Tensor, victims: int) -> Tensor:
    """Sums over a victim's samples; nothing to do where there is one."""
    return each if len(each) == victims else each.unflatten(0, (victims, -1)).sum(1)


class _Columns(torch.autograd.Function):
    """``im2col`` as one strided copy, which is twice as fast here as ``F.unfold``; its transpose is ``F.fold``."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, layer: nn.Conv2d) -> Tensor:
        """Columns of shape ``(M, C * kh * kw, positions)``."""
        ctx.size, ctx.layer = image.shape[-2:], layer
        (kh, kw), (sh, sw), (ph, pw) = _geometry(layer)
        windows = F.pad(image, (pw, pw, ph, ph)).unfold(2, kh, sh).unfold(3, kw, sw)
        return windows.permute(0, 1, 4, 5, 2, 3).reshape(len(image), image.shape[1] * kh * kw, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Add the columns back into an image."""
        return _fold(grads[0], ctx.size, ctx.layer), None


class _ProductWithColumns(torch.autograd.Function):
    """``d U^T`` for each sample; its backward keeps the columns' memory order, so that folding needs no copy."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, delta: Tensor) -> Tensor:
        """Columns ``(M, K, L)`` and deltas ``(M, O, L)`` to weight gradients ``(M, O, K)``."""
        ctx.save_for_backward(columns, delta)
        return torch.bmm(delta, columns.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The two transposed products."""
        columns, delta = ctx.saved_tensors
        grad = grads[0].contiguous()
        return torch.bmm(grad.transpose(1, 2), delta), torch.bmm(grad, columns)


class _ConvolutionWeightGradient(torch.autograd.Function):
    """The same from the image itself, with the columns channel by channel in memory.

    A window's row is then one stretch of ``kw * C`` numbers, which copies four times as fast where there are many
    channels.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, delta: Tensor, layer: nn.Conv2d) -> Tensor:
        """Images ``(M, C, H, W)`` and deltas ``(M, O, L)`` to weight gradients ``(M, O, C, kh, kw)``."""
        (kh, kw), (sh, sw), (ph, pw) = _geometry(layer)
        samples, channels, height, width = image.shape
        padded = F.pad(image, (pw, pw, ph, ph)).permute(0, 2, 3, 1).contiguous()
        wide, tall = width + 2 * pw, height + 2 * ph
        shape = (samples, (tall - kh) // sh + 1, (wide - kw) // sw + 1, kh, kw * channels)
        step = wide * channels
        rows = padded.as_strided(shape, (tall * step, sh * step, sw * channels, step, 1))
        columns = rows.reshape(samples, delta.shape[2], -1)
        ctx.save_for_backward(columns, delta)
        ctx.size, ctx.layer = image.shape[-2:], layer
        found = torch.bmm(delta, columns).view(samples, delta.shape[1], kh, kw, channels)
        return found.permute(0, 1, 4, 2, 3)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Back to the image by folding, and to the deltas by the product with the columns."""
        columns, delta = ctx.saved_tensors
        (grad,) = grads
        in_order = grad.permute(0, 1, 3, 4, 2).flatten(2)
        to_delta = torch.bmm(in_order, columns.transpose(1, 2))
        return _fold(torch.bmm(grad.flatten(2).transpose(1, 2), delta), ctx.size, ctx.layer), to_delta, None


def _fold(columns: Tensor, size: tuple[int, int], layer: nn.Conv2d) -> Tensor:
    kernel, stride, padding = _geometry(layer)
    return F.fold(columns, size, kernel, padding=padding, stride=stride)


def _geometry(layer: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return (
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        cast(tuple[int, int], layer.padding),
    )


class _RecordingConv(nn.Module):
    def __init__(self, layer: nn.Conv2d, names: Sequence[str], tape: list[_Recorded]) -> None:
        super().__init__()
        self.layer, self._names, self._tape = layer, names, tape

    def forward(self, image: Tensor) -> Tensor:
        if not self._tape:
            return self._first(image)
        output: Tensor = self.layer(image)

        def weigh(delta: Tensor) -> Tensor:
            return cast(Tensor, _ConvolutionWeightGradient.apply(image, delta.flatten(2), self.layer))

        self._tape.append(_Recorded(output, self._names, weigh))
        return output

    def _first(self, image: Tensor) -> Tensor:
        """The first layer shares the columns between its output and its weight gradient.

        Their gradient then comes back in one fold instead of a fold and a transposed convolution, which is slow for few
        input channels.
        """
        columns: Tensor = _Columns.apply(image, self.layer)
        (kh, kw), (sh, sw), (ph, pw) = _geometry(self.layer)
        size = (image.shape[2] + 2 * ph - kh) // sh + 1, (image.shape[3] + 2 * pw - kw) // sw + 1
        output = (self.layer.weight.flatten(1) @ columns).view(len(image), -1, *size)
        if self.layer.bias is not None:
            output = output + self.layer.bias.view(-1, 1, 1)

        def weigh(delta: Tensor) -> Tensor:
            return cast(Tensor, _ProductWithColumns.apply(columns, delta.flatten(2)))

        self._tape.append(_Recorded(output, self._names, weigh))
        return output


class _RecordingLinear(nn.Module):
    def __init__(self, layer: nn.Linear, names: Sequence[str], tape: list[_Recorded]) -> None:
        super().__init__()
        self.layer, self._names, self._tape = layer, names, tape

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.layer(features)
        self._tape.append(_Recorded(output, self._names, lambda delta: delta.unsqueeze(2) * features.unsqueeze(1)))
        return output


class _RecordingNorm(nn.Module):
    def __init__(self, layer: nn.BatchNorm2d, names: Sequence[str], tape: list[_Recorded]) -> None:
        super().__init__()
        self.layer, self._names, self._tape = layer, names, tape

    def forward(self, image: Tensor) -> Tensor:
        layer = self.layer
        mean, variance = cast(Tensor, layer.running_mean), cast(Tensor, layer.running_var)
        scale = torch.rsqrt(variance + layer.eps).view(-1, 1, 1)
        normal = (image - mean.view(-1, 1, 1)) * scale
        output = normal * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)
        self._tape.append(_Recorded(output, self._names, lambda delta: (delta * normal).sum((2, 3))))
        return output


def _record(model: nn.Module, tape: list[_Recorded], layout: Layout) -> bool:
    """Put recording layers into ``model``; False, with the model left alone, where a parameter would be missed."""
    chosen: list[tuple[nn.Module, str, nn.Module]] = []
    covered: set[str] = set()
    for path, module in model.named_modules():
        recording = _recording_for(path, module, tape)
        if recording is not None:
            parent = model.get_submodule(path.rpartition(".")[0])
            chosen.append((parent, path.rpartition(".")[2], recording))
            covered |= {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
    if covered != set(layout.names) or any(parent is model and not name for parent, name, _ in chosen):
        return False
    for parent, name, recording in chosen:
        setattr(parent, name, recording)
    return True


def _recording_for(path: str, module: nn.Module, tape: list[_Recorded]) -> nn.Module | None:
    names = [f"{path}.weight", f"{path}.bias" if getattr(module, "bias", None) is not None else ""]
    if type(module) is nn.Linear:
        return _RecordingLinear(module, names, tape)
    if type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats:
        return _RecordingNorm(module, names, tape)
    if type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1):
        plain = not isinstance(module.padding, str) and module.padding_mode == "zeros"
        return _RecordingConv(module, names, tape) if plain else None
    return None
