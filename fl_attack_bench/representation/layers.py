"""A network cut at a fully connected layer: ``r = f(X)`` is what enters the layer, ``b = W r + c`` what leaves it.

Nothing here changes the network: parameters are taken off the graph, running statistics are copies.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from fl_attack_bench.errors import SkipCell, UserError

Shape = tuple[int, int, int]


class Reached(Exception):  # noqa: N818 - an early return out of a forward pass, no failure
    """Raised at the layer where a forward pass may stop."""


def linear_layers(model: nn.Module, image_shape: Shape) -> tuple[str, ...]:
    """Names of the fully connected layers in the order in which a forward pass calls them.

    Args:
        model: in either mode.
        image_shape: ``(C, H, W)``.

    Raises:
        SkipCell: there is none, or one is called more than once.
    """
    # Two images, because batch norm in training mode refuses the statistics of one.
    with torch.no_grad():
        return tuple(inputs(model, _like(model, (2, *image_shape))))


def inputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What entered each fully connected layer, by the layer's name, in the order as called.

    Args:
        model: in either mode; in training mode batch norm uses the batch's own statistics.
        images: shape ``(B, C, H, W)``.

    Returns:
        ``r``, shape ``(B, L)`` a layer, on the graph of ``images`` alone.

    Raises:
        SkipCell: there is none, or one is called more than once.
    """
    seen: dict[str, Tensor] = {}

    def note(name: str, received: Tensor) -> None:
        if received.dim() != 2:
            return
        if name in seen:
            raise SkipCell(f"{_title(model)} calls its layer {name!r} twice in one pass: what enters it is ambiguous")
        seen[name] = received

    with _watched(model, nn.Linear, note):
        run(model, images)
    if not seen:
        raise SkipCell(f"{_title(model)} has no fully connected layer, so it has no representation to look at")
    return seen


def extractor(model: nn.Module, layer: str | None, image_shape: Shape) -> Callable[[Tensor], Tensor]:
    """The network up to a fully connected layer: ``f``, images ``(B, C, H, W)`` to ``r``, shape ``(B, L)``.

    Args:
        model: in either mode; ``f`` calls it when it is called.
        layer: the layer's name; None for the first.
        image_shape: ``(C, H, W)``.

    Raises:
        SkipCell: no fully connected layer, or one that is called more than once.
        UserError: no layer of this name; the message lists the legal ones.
    """
    legal = linear_layers(model, image_shape)
    chosen = legal[0] if layer is None else layer
    if chosen not in legal:
        raise UserError(f"{_title(model)} has no fully connected layer {chosen!r}; legal: {', '.join(legal)}")
    return lambda images: entering(model, chosen, images)


def entering(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """What enters a layer, shape ``(B, L)``; the rest of the network is not run.

    Args:
        model: in either mode.
        layer: its name.
        images: shape ``(B, C, H, W)``.

    Raises:
        SkipCell: the layer is not called, or not with a batch of vectors; active dropout.
    """
    found: list[Tensor] = []

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        found.append(args[0])
        raise Reached

    handle = model.get_submodule(layer).register_forward_pre_hook(stop)
    try:
        run(model, images)
    finally:
        handle.remove()
    if not found or found[0].dim() != 2:
        raise SkipCell(f"{_title(model)} hands its layer {layer!r} no batch of vectors: it has no representation there")
    return found[0]


def arriving(model: nn.Module, layer: str, images: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a loss with respect to what a fully connected layer returns, shape ``(B, K)``.

    Args:
        model: in either mode.
        layer: its name.
        images: shape ``(B, C, H, W)``.
        loss: of the logits.

    Raises:
        SkipCell: the layer is called more than once.
    """
    outputs: list[Tensor] = []

    def cut(_: nn.Module, __: tuple[Any, ...], returned: Tensor) -> Tensor:
        outputs.append(returned.detach().requires_grad_())
        return outputs[-1]

    handle = model.get_submodule(layer).register_forward_hook(cut)
    try:
        with torch.enable_grad():
            value = loss(cast(Tensor, run(model, images)))
    finally:
        handle.remove()
    if len(outputs) != 1:
        raise SkipCell(
            f"{_title(model)} calls its layer {layer!r} {len(outputs)} times in one pass, which must be once"
        )
    return torch.autograd.grad(value, outputs[0])[0]


def steady(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy whose batch norm holds the statistics of these images fixed where the network would use the batch's own.

    One sample's features then depend on that sample alone, so that a Jacobian per sample exists.

    Args:
        model: in either mode.
        images: shape ``(B, C, H, W)``: the batch whose statistics are held.
    """
    fixed = copy.deepcopy(model).requires_grad_(False)
    moving = {name: module for name, module in fixed.named_modules() if uses_batch(module)}
    received: dict[str, Tensor] = {}
    if moving:
        with torch.no_grad(), _watched(model, _BatchNorm, received.__setitem__):
            run(model, images)
    for name in received.keys() & moving.keys():
        module = cast(_BatchNorm, moving[name])
        module.running_mean, module.running_var = batch_statistics(received[name])
        module.eval()
    return fixed


def uses_batch(module: nn.Module) -> bool:
    """Whether a layer is batch norm that normalises with its batch's own statistics."""
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def batch_statistics(received: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, shape ``(C,)``, as batch norm normalises with in training mode."""
    over = [axis for axis in range(received.dim()) if axis != 1]
    return received.mean(over), received.var(over, correction=0)


def run(model: nn.Module, images: Tensor) -> Tensor | None:
    """The logits, with parameters off the graph and running statistics left alone; None where a hook stopped the pass.

    Raises:
        SkipCell: dropout is active, so that a second pass would not repeat the first.
    """
    active = [n for n, m in model.named_modules() if isinstance(m, _DropoutNd) and m.training and m.p > 0]
    if active:
        raise SkipCell(f"{_title(model)} draws dropout in {active[0]!r}: its representation differs from pass to pass")
    tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
    tensors |= {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        return cast(Tensor, torch.func.functional_call(model, tensors, (images,)))
    except Reached:
        return None


@contextmanager
def _watched(model: nn.Module, kind: type[nn.Module], note: Callable[[str, Tensor], None]) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        if isinstance(module, kind):
            handles.append(module.register_forward_pre_hook(lambda _, args, name=name: note(name, args[0])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _like(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    parameter = next(model.parameters(), torch.empty(0))
    return torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)


def _title(model: nn.Module) -> str:
    return type(model).__name__
