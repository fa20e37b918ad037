"""Gradients of all features below a last convolution of stride 1, all places at once.

Every feature of that convolution's output is a sum over a window of the convolution's input, and windows overlap. So
the gradients of the *input's* numbers are worked out once, each as a patch that stands at its own place; the last
convolution then is one matrix product a row of cells, with a matrix that is the same for every sample and place. Only
the norms of its results are kept. For images of few channels that is less work than carrying each feature by itself.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor

from fl_attack_bench.representation import patch
from fl_attack_bench.representation.chain import Convolution, Slope, Stage

# Numbers that a chunk of samples holds at a time: 32 MB in float32.
BUDGET = 2**23
# The patches of about as many places lie above each other.
OVERLAP = 16


def suits(stages: Sequence[Stage], images: Tensor) -> bool:
    """Whether these stages, from the representation down, can be worked this way, at less cost than feature by feature.

    Args:
        stages: in the order of the backward pass, the first a convolution.
        images: shape ``(B, C, H, W)``.
    """
    if not all(isinstance(stage, Slope | Convolution) and len(stage.shape) == 3 for stage in stages):
        return False
    convolutions = [stage.layer for stage in stages if isinstance(stage, Convolution)]
    if len(convolutions) < 2 or convolutions[0].stride[0] != 1 or convolutions[0].dilation != (1, 1):
        return False
    factor = prod(layer.stride[0] for layer in convolutions)
    return images.shape[1] * factor**2 <= patch.LANES and factor > 1


def norms(stages: Sequence[Stage], images: Tensor) -> Tensor:
    """L2 norms of the gradients of the first stage's outputs, shape ``(B, O * h * w)``."""
    first = stages[0]
    if not isinstance(first, Convolution):
        raise TypeError("the first stage must be a convolution")
    above = stages[1].values if isinstance(stages[1], Slope) else None
    below = stages[1:] if above is None else stages[2:]
    found = []
    most = max(1, BUDGET // (first.shape[0] * images[0].numel() * OVERLAP))
    for rows in torch.arange(len(images), device=images.device).split(most):
        cells = _Cells.of(below, images, rows, (first.shape[1], first.shape[2]))
        if above is not None:
            cells.values = cells.values * above[rows].permute(0, 2, 3, 1)[..., None, None, None]
        found.append(_combined(cells, first, images))
    return torch.cat(found)


class _Cells:
    """A patch at every place of a map: place p's cell j is cell ``p + j``, that begins at ``factor (p + j) + start``.

    Args:
        values: shape ``(B, H, W, K, C * factor^2, m, n)`` for K numbers at each of ``H x W`` places.
    """

    def __init__(self, values: Tensor, start: tuple[int, int], factor: int) -> None:
        self.values, self.start, self.factor = values, start, factor

    @classmethod
    def of(cls, stages: Sequence[Stage], images: Tensor, rows: Tensor, places: tuple[int, int]) -> "_Cells":
        """From the outputs of the first of these stages, a convolution, down to the image."""
        one = torch.ones(1, 1, 1, 1, 1, 1, 1, dtype=images.dtype, device=images.device)
        channels = stages[0].output[0]
        unit = torch.eye(channels, dtype=images.dtype, device=images.device)[None, None, None, :, :, None, None]
        cells = cls(one * unit, (0, 0), 1)
        for before, stage in zip([None, *stages], stages, strict=False):
            if isinstance(stage, Slope):
                cells.values = cells.values * cells._windows(stage.values[rows], places)
            elif isinstance(stage, Convolution):
                if isinstance(before, Convolution):  # no slope between them has cleared what lies outside of the map
                    cells.values = cells.values * cells._windows(images.new_ones(1, *stage.output), places)
                cells._through(stage)
        height, width = places
        cells.values = cells.values.expand(len(rows), height, width, *cells.values.shape[3:])
        return cells

    def _through(self, stage: Convolution) -> None:
        layer, stride = stage.layer, stage.layer.stride[0]
        kernel = patch.expanded(layer, self.factor)
        reach = (kernel.shape[2] - 1, kernel.shape[3] - 1)
        found = F.conv2d(self.values.flatten(0, 3), kernel, padding=reach)
        self.values = found.unflatten(0, self.values.shape[:4])
        self.start = stride * self.start[0] - int(layer.padding[0]), stride * self.start[1] - int(layer.padding[1])
        self.factor *= stride

    def _windows(self, image: Tensor, places: tuple[int, int]) -> Tensor:
        """What lies under each place's patch, zero outside of the map, shape ``(B, H, W, 1, C * factor^2, m, n)``."""
        sizes = self.values.shape[-2:]
        pads: list[int] = []
        for axis in (1, 0):
            covered = self.factor * (places[axis] + sizes[axis] - 1)
            pads += [-self.start[axis], self.start[axis] + covered - image.shape[2 + axis]]
        cells = F.pixel_unshuffle(F.pad(image, pads), self.factor)
        every = cells.unfold(2, sizes[0], 1).unfold(3, sizes[1], 1).permute(0, 2, 3, 1, 4, 5)
        # In order, or products with it would come out of order, and be copied by all that follows.
        return every.contiguous().unsqueeze(3)


def _combined(cells: _Cells, first: Convolution, images: Tensor) -> Tensor:
    """Norms of the last convolution's sums over windows of places."""
    factor, (tall, wide) = cells.factor, cells.values.shape[-2:]
    size = images.shape[2:]
    skipped = -cells.start[0] // factor, -cells.start[1] // factor
    edge = cells.start[0] + factor * skipped[0], cells.start[1] + factor * skipped[1]
    blocks = (size[0] - 1 - edge[0]) // factor + 1, (size[1] - 1 - edge[1]) // factor + 1
    under = _by_cell(cells.values, skipped, blocks)
    beyond = edge[0] + factor * blocks[0] - size[0], edge[1] + factor * blocks[1] - size[1]
    if any((*edge, *beyond)):
        inside = F.pad(torch.ones_like(images[:1]), (-edge[1], beyond[1], -edge[0], beyond[0]))
        under.mul_(F.pixel_unshuffle(inside, factor).permute(0, 2, 3, 1)[..., None, None, None])
    matrix = _windowed(first.layer.weight.detach(), tall, wide)
    flat = under.flatten(0, 3).flatten(1)
    squares = []
    for row in range(matrix.shape[0]):
        # A window's row of places reaches this row of cells from a few of its own only.
        near = slice(max(0, tall - 1 - row), min(tall, tall - 1 - row + first.layer.kernel_size[0]))
        span = slice(near.start * wide * under.shape[-1], near.stop * wide * under.shape[-1])
        found = flat[:, span] @ matrix[row][:, :, near].flatten(0, 1).flatten(1).T
        squares.append(found.square_().view(-1, under.shape[3], found.shape[1]).sum(1))
    summed = torch.stack(squares, dim=1).view(*under.shape[:3], *matrix.shape[:3])
    return _by_place(summed, skipped, first).sqrt().permute(0, 3, 1, 2).flatten(1)


def _by_cell(values: Tensor, skipped: tuple[int, int], blocks: tuple[int, int]) -> Tensor:
    """For each cell of the image, what the patches of all places around hold there.

    Args:
        values: shape ``(B, H, W, K, N, m, n)``.
        skipped: cells before the image's first.
        blocks: cells of the image, ``(h, w)``.

    Returns:
        Shape ``(B, h, w, N, m, n, K)``: entry (b, i) is place b - j's cell j, with j = m - 1 - i.
    """
    tall, wide = values.shape[-2:]
    low = tall - 1, wide - 1
    high = [max(0, skipped[a] + blocks[a] - values.shape[1 + a]) for a in (0, 1)]
    # Backwards, because a view may only step forwards.
    padded = F.pad(values.flip(-2, -1), [0, 0, 0, 0, 0, 0, 0, 0, low[1], high[1], low[0], high[0]])
    b, y, x, k, n, j, i = padded.stride()
    size = (len(values), *blocks, values.shape[4], tall, wide, values.shape[3])
    offset = skipped[0] * y + skipped[1] * x
    return padded.as_strided(size, (b, y, x, n, y + j, x + i, k), offset).contiguous()


def _windowed(weight: Tensor, tall: int, wide: int) -> Tensor:
    """How far cells lie behind a place, against the cells' own places: ``(m + kh - 1, n + kw - 1, O, m, n, K)``.

    The last m and n run backwards, as :func:`_by_cell` has them.
    """
    outputs, channels, height, width = weight.shape
    matrix = weight.new_zeros(tall + height - 1, wide + width - 1, outputs, tall, wide, channels)
    j, t, i, s = torch.meshgrid(*(torch.arange(n) for n in (tall, height, wide, width)), indexing="ij")
    matrix[j + t, i + s, :, j, i] = weight.permute(2, 3, 0, 1)[t, s]
    return matrix.flip(3, 4)


def _by_place(squares: Tensor, skipped: tuple[int, int], first: Convolution) -> Tensor:
    """Sum over cells: ``(B, h, w, E, e, O)``, entry (b, e) of the place ``b - e``, to ``(B, H, W, O)``."""
    places, padding = first.output[1:], first.layer.padding
    low = [int(padding[a]) + skipped[a] for a in (0, 1)]
    high = [max(0, places[a] + squares.shape[3 + a] - 1 - low[a] - squares.shape[1 + a]) for a in (0, 1)]
    padded = F.pad(squares, [0, 0, 0, 0, 0, 0, low[1], high[1], low[0], high[0]])
    b, y, x, j, i, o = padded.stride()
    size = (len(squares), *places, *squares.shape[3:])
    return padded.as_strided(size, (b, y, x, y + j, x + i, o)).sum((3, 4))
