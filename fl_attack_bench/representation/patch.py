"""Stretches of many gradients on a feature map, and what carries them through a convolution.

Through a convolution of stride ``s`` a gradient spreads over ``s`` times as many pixels a side. It stays on the coarse
grid, each of whose cells then holds ``s x s`` pixels as channels (the polyphase form of a transposed convolution): a
plain convolution of stride 1, which multiplies no inserted zeros.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

# Output channels that a processor's convolution works on at a time: fewer cost as much.
LANES = 16
# What it costs to spread cells out into pixels, beside the convolution that follows.
SPREAD = 1.5


@dataclass(frozen=True)
class Patch:
    """A stretch of the gradients of P pairs on a map; outside of it they are zero.

    Args:
        values: shape ``(P, C * factor^2, h, w)``: cells of ``factor x factor`` pixels, in ``pixel_unshuffle``'s order.
        shape: ``(C, H, W)`` of the whole map.
        top: row of the first cell's first pixel. Pixels outside of the map hold numbers that mean nothing.
        left: column of the first cell's first pixel.
        factor: pixels along a cell's side.
    """

    values: Tensor
    shape: torch.Size
    top: int = 0
    left: int = 0
    factor: int = 1

    def fine(self) -> "Patch":
        """One pixel a cell, and none outside of the map."""
        if self.factor == 1:
            return self
        values = F.pixel_shuffle(self.values, self.factor)
        return replace(self, values=values, factor=1).clipped()

    def clipped(self) -> "Patch":
        """Without the cells that lie outside of the map; at least one cell stays."""
        rows = _inside(self.top, self.values.shape[2], self.factor, self.shape[1])
        columns = _inside(self.left, self.values.shape[3], self.factor, self.shape[2])
        if not rows or not columns:
            return Patch(self.values.new_zeros(len(self.values), self.shape[0], 1, 1), self.shape)
        values = self.values[:, :, rows.start : rows.stop, columns.start : columns.stop]
        top, left = self.top + self.factor * rows.start, self.left + self.factor * columns.start
        return replace(self, values=values, top=top, left=left)

    def whole(self) -> Tensor:
        """On the whole map, shape ``(P, C, H, W)``."""
        patch = self.fine()
        bottom = self.shape[1] - patch.top - patch.values.shape[2]
        right = self.shape[2] - patch.left - patch.values.shape[3]
        return F.pad(patch.values, (patch.left, right, patch.top, bottom))

    def window(self, image: Tensor) -> Tensor:
        """What lies under it in its cells, zero outside of the map: ``(B, C, H, W)`` to ``(B, C f^2, h, w)``."""
        below = self.top + self.factor * self.values.shape[2] - image.shape[2]
        beyond = self.left + self.factor * self.values.shape[3] - image.shape[3]
        return F.pixel_unshuffle(F.pad(image, (-self.left, beyond, -self.top, below)), self.factor)

    def exceeds(self) -> bool:
        """Whether a cell reaches beyond the map's edge."""
        bottom = self.top + self.factor * self.values.shape[2]
        right = self.left + self.factor * self.values.shape[3]
        return self.top < 0 or self.left < 0 or bottom > self.shape[1] or right > self.shape[2]


def through(patch: Patch, layer: nn.Conv2d, kernel: Tensor, shape: torch.Size) -> Patch:
    """Back through a convolution, to a map of this shape; ``kernel`` as :func:`expanded` gives it for the factor."""
    reach = (kernel.shape[2] - 1, kernel.shape[3] - 1)
    values = F.conv2d(patch.values, kernel, padding=reach)
    return _behind(layer, values, shape, patch.top, patch.left, patch.factor)


def grown(layer: nn.Conv2d, kernel: Tensor, shape: torch.Size, channel: Tensor, top: int, left: int) -> Patch:
    """The same for single ones in these channels of one pixel: the kernel itself, which must be for factor 1."""
    values = kernel.flip(-2, -1).transpose(0, 1)[channel]
    return _behind(layer, values, shape, top, left, 1)


def _behind(layer: nn.Conv2d, values: Tensor, shape: torch.Size, top: int, left: int, factor: int) -> Patch:
    stride, above, before = layer.stride[0], int(layer.padding[0]), int(layer.padding[1])
    return Patch(values, shape, stride * top - above, stride * left - before, stride * factor).clipped()


def expanded(layer: nn.Conv2d, factor: int) -> Tensor:
    """A transposed convolution as a plain one over cells.

    Pixel ``x = s y + d t - p`` of the input meets pixel ``y`` of the output by tap ``t``. With ``y = f Y + i`` and
    cells of ``s f`` pixels that begin at ``-p``, ``x`` lies ``(s i + d t) // (s f)`` cells further on.

    Args:
        layer: stride s, dilation d, weights ``(O, I, kh, kw)``.
        factor: f, of the patch that comes in.

    Returns:
        Shape ``(I (s f)^2, O f^2, nh, nw)``, for ``conv2d`` with padding ``(nh - 1, nw - 1)``.
    """
    weight = layer.weight.detach()
    side = layer.stride[0] * factor
    (from_y, cell_y, in_y), (from_x, cell_x, in_x) = (
        _taps(size, layer.stride[0], dilation, factor, weight.device)
        for size, dilation in zip(weight.shape[2:], layer.dilation, strict=True)
    )
    outputs, channels = weight.shape[:2]
    cells = int(cell_y.max()) + 1, int(cell_x.max()) + 1
    kernel = weight.new_zeros(channels, side, side, outputs, factor, factor, *cells)
    y, x = (slice(None), slice(None), None, None), (None, None, slice(None), slice(None))
    taps = weight.permute(2, 3, 1, 0).unsqueeze(0).unsqueeze(2)
    kernel[:, in_y[y], in_x[x], :, from_y[y], from_x[x], cell_y[y], cell_x[x]] = taps
    return kernel.flip(-2, -1).reshape(channels * side**2, outputs * factor**2, *cells)


def worth_cells(layer: nn.Conv2d, factor: int) -> bool:
    """Whether a patch of this factor goes through a convolution at less cost in cells than pixel by pixel.

    A cell of the larger kernel multiplies more zeros, but fills the lanes where a layer has few channels.
    """
    cells, pixels = 1, factor**2
    for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True):
        span, stride = dilation * (size - 1), layer.stride[0]
        cells *= (stride * (factor - 1) + span) // (stride * factor) + 1
        pixels *= span // stride + 1
    area = layer.in_channels * layer.stride[0] ** 2
    return cells * factor**2 * _lanes(area * factor**2) < SPREAD * pixels * _lanes(area)


def _lanes(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _taps(size: int, stride: int, dilation: int, factor: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel of an output cell and tap: the pixel, how many cells on the input lies, and where in its cell."""
    pixel = torch.arange(factor, device=device).unsqueeze(1).expand(factor, size)
    distance = stride * pixel + dilation * torch.arange(size, device=device)
    return pixel, distance // (stride * factor), distance % (stride * factor)


def _inside(start: int, cells: int, factor: int, size: int) -> range:
    first = max(0, -((start + factor - 1) // factor))
    return range(first, min(cells, (size - 1 - start) // factor + 1))
