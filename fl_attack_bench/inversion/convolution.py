"""Convolutions in the sweeps of :mod:`fl_attack_bench.inversion.layers`."""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor

from fl_attack_bench.inversion.layers import Layer, Views, by_channel, by_victim

# From so many channels on, a grouped convolution runs at the speed of a large product; below, columns do better.
_WIDE = 32


class FirstConvolution(Layer):
    """A convolution of the images themselves: few channels, so that its columns are small and serve every product."""

    def forward(self, a: Tensor) -> Tensor:
        """``W U`` for the input's columns U, shape ``(M, C * kh * kw, positions)``."""
        layer, self._size = self.module, a.shape[-2:]
        (kh, kw), (sh, sw), (ph, pw) = layer.kernel_size, layer.stride, layer.padding
        windows = F.pad(a, (pw, pw, ph, ph)).unfold(2, kh, sh).unfold(3, kw, sw)
        self._shape = windows.shape[2:4]
        self._columns = windows.permute(0, 1, 4, 5, 2, 3).reshape(len(a), a.shape[1] * kh * kw, -1)
        self._flat = layer.weight.flatten(1).expand(len(a), -1, -1)
        if layer.bias is None:
            return cast(Tensor, torch.bmm(self._flat, self._columns).unflatten(2, self._shape))
        return cast(Tensor, torch.baddbmm(layer.bias.view(-1, 1), self._flat, self._columns).unflatten(2, self._shape))

    def backward(self, d: Tensor, gradients: Views) -> None:
        """``G = d U^T``; nothing before this layer asks for its input's gradient."""
        weight = gradients[self.weight]
        self._d, victims = d.flatten(2), len(weight)
        found = torch.bmm(self._d, self._columns.mT)
        weight.copy_(by_victim(found, victims).view(weight.shape))
        if self.module.bias is not None:
            gradients[self.bias].copy_(by_victim(self._d.sum(2), victims))

    def tangent(self, da: Tensor | None, along: Views) -> Tensor:
        """``R U``."""
        weight = along[self.weight].flatten(2).unsqueeze(1)
        columns = self._columns.unflatten(0, (len(weight), -1))
        moved = (weight @ columns).flatten(0, 1).unflatten(2, self._shape)
        return cast(
            Tensor, moved if self.module.bias is None else moved.add_(by_channel(along[self.bias], columns.shape[1]))
        )

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """``R^T d + W^T e``, each column added back into the image."""
        weight = along[self.weight].flatten(2).mT.unsqueeze(1)
        columns = (weight @ self._d.unflatten(0, (len(weight), -1))).flatten(0, 1)
        columns.baddbmm_(self._flat.mT, e.flatten(2))
        layer = self.module
        return F.fold(columns, self._size, layer.kernel_size, padding=layer.padding, stride=layer.stride)


class Convolution(Layer):
    """A convolution further on.

    Products with weights are oneDNN's convolutions, those with the victims' own directions in groups. The gradient is a
    product with the input's columns, which lie channel by channel in memory: a window's row is then one stretch of
    ``kw * C`` numbers to copy.
    """

    def forward(self, a: Tensor) -> Tensor:
        """The output."""
        self._a = a
        return cast(Tensor, self.module(a))

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """``G = d U^T``, ``d' = W^T d``."""
        weight = gradients[self.weight]
        victims, out, channels, kh, kw = weight.shape
        columns = self._window_rows().view(victims, -1, kh * kw * channels)
        # Wide layers need them no more, and theirs are what an evaluation's memory would go to.
        self._d, self._columns = d, columns if channels < _WIDE else None
        side_by_side = d.flatten(2).unflatten(0, (victims, -1)).transpose(1, 2).flatten(2)
        found = torch.bmm(side_by_side, columns).view(victims, out, kh, kw, channels)
        weight.copy_(found.permute(0, 1, 4, 2, 3))
        if self.module.bias is not None:
            gradients[self.bias].copy_(by_victim(d.sum((2, 3)), victims))
        return self._back(d)

    def tangent(self, da: Tensor | None, along: Views) -> Tensor:
        """``R a + W a.``."""
        weight = along[self.weight]
        moved = self._by_groups(weight) if self._columns is None else self._by_columns(weight, self._columns)
        if da is not None:
            moved = self._convolved(da, self.module.weight, 1).add_(moved)
        batch = len(moved) // len(weight)
        return moved if self.module.bias is None else moved.add_(by_channel(along[self.bias], batch))

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """``W^T e + R^T d``, in one product over twice the channels."""
        weight = along[self.weight]
        victims, own = len(weight), self.module.weight
        both = torch.cat((weight, own.expand(victims, *own.shape)), dim=1).flatten(0, 1)
        arrived = _grouped(torch.cat((self._d, e), dim=1), victims)
        return _ungrouped(self._transposed(arrived, _grouped(self._a, victims), both, victims), victims)

    def _by_groups(self, weight: Tensor) -> Tensor:
        victims = len(weight)
        moved = self._convolved(_grouped(self._a, victims), weight.flatten(0, 1), victims)
        return _ungrouped(moved, victims)

    def _by_columns(self, weight: Tensor, columns: Tensor) -> Tensor:
        victims, out = weight.shape[:2]
        rows = weight.permute(0, 1, 3, 4, 2).reshape(victims, out, -1)
        moved = torch.bmm(rows, columns.mT).unflatten(2, (-1, *self._d.shape[2:]))
        return cast(Tensor, moved.transpose(1, 2).flatten(0, 1))

    def _window_rows(self) -> Tensor:
        """Windows of the input, shape ``(M, positions, kh * kw * C)``."""
        layer = self.module
        (kh, kw), (sh, sw), (ph, pw) = layer.kernel_size, layer.stride, layer.padding
        padded = F.pad(self._a, (pw, pw, ph, ph)).permute(0, 2, 3, 1).contiguous()
        samples, tall, wide, channels = padded.shape
        shape = (samples, (tall - kh) // sh + 1, (wide - kw) // sw + 1, kh, kw * channels)
        step = wide * channels
        return padded.as_strided(shape, (tall * step, sh * step, sw * channels, step, 1)).reshape(
            samples, shape[1] * shape[2], -1
        )

    def _convolved(self, a: Tensor, weight: Tensor, groups: int) -> Tensor:
        return F.conv2d(a, weight, stride=self.module.stride, padding=self.module.padding, groups=groups)

    def _back(self, d: Tensor) -> Tensor:
        """``W^T d``; for stride 1 as a convolution with the kernel turned round, which oneDNN does faster."""
        layer, weight = self.module, self.module.weight
        room = [kernel - 1 - padding for kernel, padding in zip(layer.kernel_size, layer.padding, strict=True)]
        if layer.stride == (1, 1) and min(room) >= 0:
            return F.conv2d(d, weight.flip(2, 3).transpose(0, 1), padding=room)
        sides = zip(self._a.shape[2:], layer.kernel_size, layer.padding, layer.stride, strict=True)
        left = [(side + 2 * padding - kernel) % stride for side, kernel, padding, stride in sides]
        return F.conv_transpose2d(d, weight, None, layer.stride, layer.padding, left)

    def _transposed(self, d: Tensor, like: Tensor, weight: Tensor, groups: int) -> Tensor:
        """The same in groups, for which this form is the faster one."""
        geometry = self.module.stride, self.module.padding, (1, 1), False, (0, 0), groups
        found = torch.ops.aten.convolution_backward(d, like, weight, None, *geometry, (True, False, False))
        return cast(Tensor, found[0])


def _grouped(samples: Tensor, victims: int) -> Tensor:
    """``(V * B, C, H, W)`` to ``(B, V * C, H, W)``: a victim's channels side by side, as grouped convolutions want."""
    return cast(Tensor, samples.unflatten(0, (victims, -1)).transpose(0, 1).flatten(1, 2))


def _ungrouped(samples: Tensor, victims: int) -> Tensor:
    """The inverse of :func:`_grouped`."""
    return cast(Tensor, samples.unflatten(1, (victims, -1)).transpose(0, 1).flatten(0, 1))
