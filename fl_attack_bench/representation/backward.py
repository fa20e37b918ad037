"""Gradients of single features with respect to the image, for many (sample, feature) pairs at once.

The gradient of one feature begins as a single number on the last feature map and grows by a kernel's width a layer. So
it is carried as a patch: the pairs that begin at the same pixel are taken together, whatever their sample and channel,
and every layer works on the patch alone. A pair whose gradient is zero from the start (a dead feature) never begins.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from fl_attack_bench.representation import patch as patches
from fl_attack_bench.representation import sliding
from fl_attack_bench.representation.chain import Chain, Convolution, Dense, Opaque, Pool, Slope, Stage
from fl_attack_bench.representation.patch import Patch

# Numbers that one step holds for a chunk of pairs: 32 MB in float32.
BUDGET = 2**23


class Backward:
    """Runs single features of a chain back to the image.

    Args:
        chain: as :func:`fl_attack_bench.representation.chain.trace` found it.
        images: shape ``(B, C, H, W)``.
    """

    def __init__(self, chain: Chain, images: Tensor) -> None:
        self._images = images
        stages = list(reversed(chain.stages))
        size = chain.representation.shape
        self._value = torch.ones(size, dtype=images.dtype, device=images.device)
        self._place = torch.arange(size[1], device=images.device).expand(size)
        everywhere = True
        while stages and isinstance(stages[0], Slope | Pool):
            everywhere = everywhere and isinstance(stages[0], Slope)
            self._begin(stages.pop(0))
        self._sliding = everywhere and bool(stages) and sliding.suits(stages, images)
        self._stages = stages
        self._kernels: dict[tuple[int, int], Tensor] = {}
        largest = max([images[0].numel(), *(max(prod(stage.shape), prod(stage.output)) for stage in stages)])
        self._most = max(1, BUDGET // largest)

    def _begin(self, stage: Stage) -> None:
        """Entry by entry a feature stays a single number: only its size and its place change."""
        if isinstance(stage, Slope):
            self._value = self._value * stage.values.flatten(1).gather(1, self._place)
        elif isinstance(stage, Pool):
            channel = self._place // prod(stage.output[1:])
            pixel = stage.places.flatten(1).gather(1, self._place)
            self._place = channel * prod(stage.shape[1:]) + pixel

    def norms(self) -> Tensor:
        """L2 norm of each feature's gradient, shape ``(B, L)``."""
        if not self._stages:
            return self._value.abs()
        if self._sliding:
            return self._value.abs() * sliding.norms(self._stages, self._images)
        found = torch.zeros_like(self._value)
        for sample, feature in self._chunks():
            chunk = _Samples(sample)
            patch = self._first(sample, feature)
            for stage in self._stages[1:]:
                patch = self._step(_shaped(patch, stage.output), stage, chunk)
            patch = _shaped(patch, self._images.shape[1:])
            if patch.exceeds():
                patch = _times(patch, torch.ones_like(self._images[:1]), _Samples(torch.zeros_like(sample)))
            flat = patch.values.flatten(1)
            found[sample, feature] = torch.linalg.vecdot(flat, flat).sqrt()
        return found

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Live pairs, chunk by chunk; where a convolution comes first, those of a chunk begin at the same pixel."""
        sample, feature = self._value.nonzero(as_tuple=True)
        groups = [torch.arange(len(sample), device=sample.device)]
        if isinstance(self._stages[0], Convolution):
            pixel = self._place[sample, feature] % prod(self._stages[0].output[1:])
            # A stable order keeps a group's pairs sorted by sample.
            counts = pixel.bincount()
            groups = list(pixel.argsort(stable=True).split(counts[counts > 0].tolist()))
        for group in groups:
            for some in group.split(self._most):
                yield sample[some], feature[some]

    def _first(self, sample: Tensor, feature: Tensor) -> Patch:
        """Each pair's one number, through the first stage."""
        stage = self._stages[0]
        value, place = self._value[sample, feature], self._place[sample, feature]
        output, shape = _three(stage.output), _three(stage.shape)
        if isinstance(stage, Convolution):
            row, column = divmod(int(place[0]) % prod(output[1:]), output[2])
            channel = place // prod(output[1:])
            patch = patches.grown(stage.layer, self._kernel(stage, 1), stage.shape, channel, row, column)
            return replace(patch, values=patch.values * value.view(-1, 1, 1, 1))
        if isinstance(stage, Dense):
            return Patch((stage.weight[place] * value.unsqueeze(1)).unflatten(1, shape), shape)
        values = value.new_zeros(len(place), prod(output))
        values[torch.arange(len(place), device=place.device), place] = value
        return self._step(Patch(values.unflatten(1, output), output), stage, _Samples(sample))

    def _step(self, patch: Patch, stage: Stage, chunk: "_Samples") -> Patch:
        if isinstance(stage, Slope):
            return _times(patch, stage.values.reshape(-1, *patch.shape), chunk)
        if isinstance(stage, Convolution):
            if patch.factor > 1 and (patch.exceeds() or not patches.worth_cells(stage.layer, patch.factor)):
                patch = patch.fine()
            return patches.through(patch, stage.layer, self._kernel(stage, patch.factor), stage.shape)
        if isinstance(stage, Pool):
            return _pool(patch, stage, chunk)
        shape = _three(stage.shape)
        if isinstance(stage, Dense):
            return Patch((patch.whole().flatten(1) @ stage.weight).unflatten(1, shape), shape)
        return Patch(_opaque(patch, stage, chunk).reshape(-1, *shape), shape)

    def _kernel(self, stage: Convolution, factor: int) -> Tensor:
        key = id(stage), factor
        if key not in self._kernels:
            self._kernels[key] = patches.expanded(stage.layer, factor)
        return self._kernels[key]


class _Samples:
    """Whose pairs a chunk holds.

    Args:
        sample: shape ``(P,)``, increasing.
    """

    def __init__(self, sample: Tensor) -> None:
        self.each, self._row, counts = torch.unique_consecutive(sample, return_inverse=True, return_counts=True)
        self.sample = sample
        self._even = int(counts[0]) if bool((counts == counts[0]).all()) else None

    def times(self, values: Tensor, factors: Tensor) -> Tensor:
        """Each pair's values by its sample's: ``(P, *shape)`` and ``(B, *shape)``."""
        own = factors[self.each]
        if self._even is None:
            return values * own[self._row]
        # As many pairs of each: their factors need not be copied.
        product: Tensor = values.unflatten(0, (-1, self._even)) * own.unsqueeze(1)
        return product.flatten(0, 1)


def _times(patch: Patch, factors: Tensor, chunk: _Samples) -> Patch:
    return replace(patch, values=chunk.times(patch.values, patch.window(factors)))


def _pool(patch: Patch, stage: Pool, chunk: _Samples) -> Patch:
    """Every number goes to the pixel that won its window."""
    patch = patch.fine()
    height, width = patch.values.shape[2:]
    kernel, stride, padding, dilation = (
        _pair(value)
        for value in (stage.layer.kernel_size, stage.layer.stride, stage.layer.padding, stage.layer.dilation)
    )
    edges = []
    for axis, (start, cells) in enumerate(((patch.top, height), (patch.left, width))):
        first = max(0, stride[axis] * start - padding[axis])
        last = stride[axis] * (start + cells - 1) - padding[axis] + dilation[axis] * (kernel[axis] - 1)
        edges.append((first, min(stage.shape[1 + axis], last + 1) - first))
    (top, tall), (left, wide) = edges
    places = stage.places[:, :, patch.top : patch.top + height, patch.left : patch.left + width].flatten(2)
    inside = (places // stage.shape[2] - top) * wide + places % stage.shape[2] - left
    # Where windows overlap, a pixel may have won several.
    values = patch.values.new_zeros(len(patch.values), stage.shape[0], tall * wide)
    values.scatter_add_(2, inside[chunk.sample], patch.values.flatten(2))
    return Patch(values.unflatten(2, (tall, wide)), stage.shape, top, left)


def _opaque(patch: Patch, stage: Opaque, chunk: _Samples) -> Tensor:
    """Through a layer that nothing is known of: run it forward again for each pair's sample, then back."""
    with torch.enable_grad():
        received = stage.received[chunk.sample].requires_grad_()
        returned = stage.layer(received)
    return torch.autograd.grad(returned, received, patch.whole().reshape(returned.shape))[0]


def _shaped(patch: Patch, output: torch.Size) -> Patch:
    """On a map of this shape, where the network reshapes between two layers."""
    shape = _three(output)
    return patch if patch.shape == shape else Patch(patch.whole().reshape(-1, *shape), shape)


def _three(shape: torch.Size) -> torch.Size:
    return shape if len(shape) == 3 else torch.Size([prod(shape), 1, 1])


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
