"""A network up to a fully connected layer as a plain chain of layers, with what each one needs to be run backwards.

Found by watching one forward pass: wherever a layer does not receive exactly what the one before it returned (an
addition, a functional call), the network is no chain, and :func:`trace` says so.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fl_attack_bench.representation import layers

# Each output entry is a function of one input entry.
ACTIVATIONS = (
    nn.ReLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Hardtanh,
)


@dataclass(frozen=True)
class Slope:
    """Multiplies entry by entry: activations and batch norm.

    Args:
        values: the derivative, shape ``(B, *shape)``.
    """

    values: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of what it receives from one sample."""
        return self.values.shape[1:]

    @property
    def output(self) -> torch.Size:
        """Of what it returns for one sample."""
        return self.values.shape[1:]


@dataclass(frozen=True)
class Convolution:
    """A convolution without groups, with the same stride along both axes and zeros around the image.

    Args:
        layer: the module.
        shape: ``(C, H, W)`` of what it receives.
        output: of what it returns.
    """

    layer: nn.Conv2d
    shape: torch.Size
    output: torch.Size


@dataclass(frozen=True)
class Pool:
    """Max pooling.

    Args:
        layer: the module.
        places: shape ``(B, C, h, w)``: which pixel of the received image each output pixel is.
        shape: ``(C, H, W)`` of what it receives.
    """

    layer: nn.MaxPool2d
    places: Tensor
    shape: torch.Size

    @property
    def output(self) -> torch.Size:
        """Of what it returns for one sample."""
        return self.places.shape[1:]


@dataclass(frozen=True)
class Dense:
    """A fully connected layer.

    Args:
        weight: shape ``(out, in)``.
        shape: ``(in,)``.
    """

    weight: Tensor
    shape: torch.Size

    @property
    def output(self) -> torch.Size:
        """Of what it returns for one sample."""
        return self.weight.shape[:1]


@dataclass(frozen=True)
class Opaque:
    """Any other layer; a sample's output must depend on that sample alone.

    Args:
        layer: the module.
        received: shape ``(B, *shape)``.
        output: shape of what it returns for one sample.
    """

    layer: nn.Module
    received: Tensor
    output: torch.Size

    @property
    def shape(self) -> torch.Size:
        """Of what it receives from one sample."""
        return self.received.shape[1:]


Stage = Slope | Convolution | Pool | Dense | Opaque


@dataclass(frozen=True)
class Chain:
    """The stages from the image to the representation.

    Args:
        stages: in the order of the forward pass.
        representation: shape ``(B, L)``.
    """

    stages: tuple[Stage, ...]
    representation: Tensor


@dataclass
class _Call:
    """One layer's turn: what it was handed, before it could change it in place, and what it gave back."""

    module: nn.Module
    handed: Any
    version: int
    received: Tensor
    returned: Any = None
    returned_version: int = 0


@torch.no_grad()
def trace(model: nn.Module, layer: str, images: Tensor) -> Chain | None:
    """The chain up to a layer; None where the network is not one.

    Args:
        model: in either mode; left as it is.
        layer: name of the fully connected layer that ends the chain.
        images: shape ``(B, C, H, W)``.
    """
    calls = _watch(model, layer, images)
    if not calls or calls[-1].module is not model.get_submodule(layer):
        return None
    before, version = images, images._version
    for call in calls:
        if not _same(before, version, call):
            return None
        before, version = call.returned, call.returned_version
    last = calls.pop()
    stages = [_stage(call) for call in calls if not isinstance(call.module, nn.Identity | nn.Flatten)]
    return Chain(tuple(_merged(stages)), last.received)


def _watch(model: nn.Module, layer: str, images: Tensor) -> list[_Call]:
    calls: list[_Call] = []
    target = model.get_submodule(layer)

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        handed = args[0] if args else None
        received = handed.clone() if getattr(module, "inplace", False) and handed is not None else handed
        calls.append(_Call(module, handed, getattr(handed, "_version", 0), cast(Tensor, received)))
        if module is target:
            raise layers.Reached

    def leave(_: nn.Module, __: tuple[Any, ...], returned: Any) -> None:
        calls[-1].returned, calls[-1].returned_version = returned, getattr(returned, "_version", 0)

    leaves = [m for m in model.modules() if not any(True for _ in m.children())]
    handles = [m.register_forward_pre_hook(enter) for m in leaves]
    handles += [m.register_forward_hook(leave) for m in leaves if m is not target]
    try:
        layers.run(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _same(before: Any, version: int, call: _Call) -> bool:
    """Whether a layer was handed what the one before returned: the same memory in the same order, not written since."""
    handed = call.handed
    if not isinstance(before, Tensor) or not isinstance(handed, Tensor):
        return False
    if version != call.version or before.numel() != handed.numel():
        return False
    in_order = handed is before or (handed.is_contiguous() and before.is_contiguous())
    return in_order and handed.data_ptr() == before.data_ptr()


def _stage(call: _Call) -> Stage:
    module, received = call.module, call.received
    if isinstance(module, ACTIVATIONS):
        return Slope(_derivative(module, received))
    if isinstance(module, _BatchNorm):
        return Slope(_scale(module, received))
    if isinstance(module, nn.Conv2d) and _plain(module) and received.dim() == 4:
        return Convolution(module, received.shape[1:], call.returned.shape[1:])
    if isinstance(module, nn.MaxPool2d) and received.dim() == 4 and not module.return_indices:
        _, places = F.max_pool2d(
            received,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.ceil_mode,
            return_indices=True,
        )
        return Pool(module, places, received.shape[1:])
    if isinstance(module, nn.Linear) and received.dim() == 2:
        return Dense(module.weight.detach(), received.shape[1:])
    return Opaque(module, received, call.returned.shape[1:])


def _plain(layer: nn.Conv2d) -> bool:
    square = layer.stride[0] == layer.stride[1]
    return square and layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _derivative(module: nn.Module, received: Tensor) -> Tensor:
    if isinstance(module, nn.Sigmoid):
        value = received.sigmoid()
        return value * (1 - value)
    # A copy, because an activation may work in place, which autograd forbids on a leaf.
    with torch.enable_grad():
        leaf = received.detach().requires_grad_()
        return torch.autograd.grad(module(leaf.clone()).sum(), leaf)[0]


def _scale(module: _BatchNorm, received: Tensor) -> Tensor:
    variance = layers.batch_statistics(received)[1] if layers.uses_batch(module) else cast(Tensor, module.running_var)
    scale = torch.rsqrt(variance + module.eps)
    if module.weight is not None:
        scale = scale * module.weight.detach()
    return scale.view(-1, *[1] * (received.dim() - 2)).expand(received.shape)


def _merged(stages: list[Stage]) -> list[Stage]:
    """Neighbouring slopes of the same shape as one."""
    merged: list[Stage] = []
    for stage in stages:
        last = merged[-1] if merged else None
        if isinstance(stage, Slope) and isinstance(last, Slope) and stage.shape == last.shape:
            merged[-1] = Slope(stage.values * last.values)
        else:
            merged.append(stage)
    return merged
