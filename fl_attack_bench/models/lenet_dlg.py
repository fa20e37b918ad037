"""The sigmoid LeNet that deep leakage from gradients was shown on."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from fl_attack_bench.models import network
from fl_attack_bench.models.network import Network, Shape, uniform

CHANNELS = 12


class Options(network.Options):
    """Options of ``lenet_dlg``.

    Args:
        scale: weights and biases are uniform in ``[-scale, scale]``; 0.5 in the paper's code.
    """

    scale: float = Field(default=0.5, gt=0, le=10, strict=True)


class LeNetDlg(Network):
    """Three 5x5 convolutions of 12 channels, sigmoids (twice differentiable everywhere), one linear layer; no pooling.

    588 features on 28x28 images, 768 on 32x32.
    """

    title = "Sigmoid LeNet of DLG"
    paper = "https://arxiv.org/abs/1906.08935"
    schema: ClassVar[type[network.Options]] = Options
    options: Options

    def layers(self, image_shape: Shape) -> nn.Sequential:
        """Two strided convolutions, one that keeps the size."""
        return nn.Sequential(
            nn.Conv2d(image_shape[0], CHANNELS, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(CHANNELS, CHANNELS, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(CHANNELS, CHANNELS, 5, stride=1, padding=2),
            nn.Sigmoid(),
        )

    def width(self, image_shape: Shape) -> int:
        """Each strided convolution halves a side, rounding up."""
        _, height, width = image_shape
        return CHANNELS * -(-height // 4) * -(-width // 4)

    def initialise(self, generator: torch.Generator) -> None:
        """The wide uniform weights of the paper's code, with which the attack converges."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                uniform(module, self.options.scale, generator)
