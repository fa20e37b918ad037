"""A convolution's outputs looked at as a picture."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from fl_attack_bench.api import Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion.first_outputs import first_outputs

_BRIGHTEST = 0.99


@dataclass(frozen=True)
class FeatureMaps(OutsourcedAttack):
    """Show how far a convolution's outputs are from the background's, enlarged to the image (rtas-2021, section 3.4).

    Of each filter the value that occurs most often is taken for that of a dark background, which is its bias. A
    place's brightness is the root of the mean squared distance from it over filters, each measured by its own spread.
    All images together are scaled so that one place in a hundred is white.

    Args:
        party: whose view: ``labels`` or ``third``, whichever trains.
    """

    card = Card(
        title="Feature maps as a picture",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious trainer",
        assumes="images are mostly dark; no sample, no weight",
        notes="The paper itself says of convolutions that attackers can easily guess the raw image's content.",
    )

    party: Literal["labels", "third"] = "labels"

    @property
    def adversary(self) -> str:
        """Who sees the first layer's outputs."""
        return self.party

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """The victims' pictures, the same in all colours."""
        del streams
        seen, layer = first_outputs(view), view.plan.layers[0].layer
        if layer.kernel is None:
            raise SkipCell("a dense layer's outputs have no places")
        background = torch.stack([most_frequent(seen.values[:, f].flatten()) for f in range(layer.outputs)])
        away = (seen.values - background.view(-1, 1, 1)).square()
        spread = away.mean((0, 2, 3)).clamp(min=torch.finfo(torch.float64).tiny)
        bright = (away / spread.view(-1, 1, 1)).mean(1, keepdim=True).sqrt()
        white = bright.flatten().kthvalue(max(1, round(_BRIGHTEST * bright.numel()))).values
        chosen = seen.of(view.victims)
        away = (chosen - background.view(-1, 1, 1)).square() / spread.view(-1, 1, 1)
        maps = away.mean(1, keepdim=True).sqrt() / white.clamp(min=torch.finfo(torch.float64).tiny)
        channels, height, width = view.plan.inputs
        return enlarged(maps.clamp(max=1.0), layer.kernel, layer.stride, (height, width)).expand(-1, channels, -1, -1)


def enlarged(maps: Tensor, kernel: int, stride: int, size: tuple[int, int]) -> Tensor:
    """Each pixel as the mean over all patches that it is in, nearer patches more; shape ``(V, 1, *size)``.

    Pixels that no patch reaches are 0.
    """
    ramp = 1 - (torch.arange(kernel, dtype=torch.float64) - (kernel - 1) / 2).abs() / (kernel / 2 + 0.5)
    weight = ramp.outer(ramp).view(1, 1, kernel, kernel)
    reach = [(side - 1) * stride + kernel for side in maps.shape[2:]]
    total = functional.conv_transpose2d(maps, weight, stride=stride)
    share = functional.conv_transpose2d(torch.ones_like(maps), weight, stride=stride)
    # Between patches that do not touch, both are 0.
    mean = total / share.clamp(min=torch.finfo(torch.float64).tiny)
    return functional.pad(mean, (0, size[1] - reach[1], 0, size[0] - reach[0]))


def most_frequent(values: Tensor, bins: int = 1000) -> Tensor:
    """The centre of the fullest of many equal bins: the median of what is in it."""
    low, high = values.min(), values.max()
    if bool(low == high):
        return low
    places = ((values - low) / (high - low) * bins).long().clamp(max=bins - 1)
    return values[places == torch.bincount(places, minlength=bins).argmax()].median()
