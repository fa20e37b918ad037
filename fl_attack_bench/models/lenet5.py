"""LeNet-5, the network that sharing and secure-aggregation papers count bytes on."""

from typing import ClassVar, Literal

from torch import nn

from fl_attack_bench.models import network
from fl_attack_bench.models.network import ActivationName, Network, Shape, activation


class Options(network.Options):
    """Options of ``lenet5``.

    Args:
        activation: after each convolution and hidden linear layer.
        pool: how 2x2 pixels become one.
    """

    activation: ActivationName = "relu"
    pool: Literal["max", "avg"] = "max"


class LeNet5(Network):
    """Two 5x5 convolutions with pooling, then 120, 84 and the classes; 61,706 parameters on 28x28x1 and 10 classes."""

    title = "LeNet-5"
    paper = "https://doi.org/10.1109/5.726791"
    smallest = 12
    schema: ClassVar[type[network.Options]] = Options
    options: Options

    def layers(self, image_shape: Shape) -> nn.Sequential:
        """Up to the last hidden layer."""
        channels, height, width = image_shape
        pool = nn.MaxPool2d if self.options.pool == "max" else nn.AvgPool2d
        return nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2),
            activation(self.options.activation),
            pool(2),
            nn.Conv2d(6, 16, 5),
            activation(self.options.activation),
            pool(2),
            nn.Flatten(),
            nn.Linear(16 * _side(height) * _side(width), 120),
            activation(self.options.activation),
            nn.Linear(120, 84),
            activation(self.options.activation),
        )

    def width(self, image_shape: Shape) -> int:
        """The last hidden layer's."""
        del image_shape
        return 84


def _side(pixels: int) -> int:
    """Pixels along one side after the second pooling."""
    return (pixels // 2 - 4) // 2
