"""The ConvNet that Inverting Gradients was shown on."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from fl_attack_bench.models import network
from fl_attack_bench.models.network import BATCH_NORM, Network, Shape


class Options(network.Options):
    """Options of ``convnet``.

    Args:
        width: channels of the first convolution; the last ones have four times as many.
        norm: batch norm after every convolution, or none.
    """

    width: int = Field(default=64, ge=1, le=512, strict=True)
    norm: Literal["batch", "none"] = "batch"


class ConvNet(Network):
    """Eight 3x3 convolutions with batch norm and ReLU, two 3x3 max pools, PyTorch's default weights.

    2,304 features at width 64 on 32x32.
    """

    title = "ConvNet of Inverting Gradients"
    paper = "https://arxiv.org/abs/2003.14053"
    batch_norm = BATCH_NORM + "; none with norm=none"
    smallest = 9
    schema: ClassVar[type[network.Options]] = Options
    options: Options

    def layers(self, image_shape: Shape) -> nn.Sequential:
        """Widths w, 2w, 2w, 4w, 4w, 4w, pool, 4w, 4w, pool."""
        width = self.options.width
        stack: list[nn.Module] = []
        before = image_shape[0]
        for step in (1, 2, 2, 4, 4, 4, None, 4, 4, None):
            if step is None:
                stack.append(nn.MaxPool2d(3))
                continue
            stack.append(nn.Conv2d(before, step * width, 3, padding=1))
            if self.options.norm == "batch":
                stack.append(nn.BatchNorm2d(step * width))
            stack.append(nn.ReLU())
            before = step * width
        return nn.Sequential(*stack)

    def width(self, image_shape: Shape) -> int:
        """Each pool divides a side by three, rounding down."""
        _, height, width = image_shape
        channels = 4 * self.options.width
        return channels * (height // 3 // 3) * (width // 3 // 3)
