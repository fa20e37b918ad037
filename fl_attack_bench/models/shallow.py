"""The smallest networks: linear and logistic regression, and one hidden layer."""

from math import prod
from typing import ClassVar

from pydantic import Field
from torch import nn

from fl_attack_bench.models import network
from fl_attack_bench.models.network import ActivationName, Network, Shape, activation


class MlpOptions(network.Options):
    """Options of ``mlp``.

    Args:
        hidden: units of the hidden layer.
        activation: after the hidden layer.
    """

    hidden: int = Field(default=128, ge=1, le=65_536, strict=True)
    activation: ActivationName = "relu"


class Mlp(Network):
    """One hidden layer on the flattened pixels."""

    title = "Multilayer perceptron"
    paper = "https://arxiv.org/abs/1602.05629"
    schema: ClassVar[type[network.Options]] = MlpOptions
    options: MlpOptions

    def layers(self, image_shape: Shape) -> nn.Sequential:
        """The hidden layer."""
        hidden = nn.Linear(prod(image_shape), self.options.hidden)
        return nn.Sequential(nn.Flatten(), hidden, activation(self.options.activation))

    def width(self, image_shape: Shape) -> int:
        """The hidden layer's."""
        del image_shape
        return self.options.hidden


class _Linear(Network):
    """The last layer alone, on the flattened pixels."""

    def layers(self, image_shape: Shape) -> nn.Sequential:
        """None."""
        del image_shape
        return nn.Sequential(nn.Flatten())

    def width(self, image_shape: Shape) -> int:
        """Every pixel of every channel."""
        return prod(image_shape)


class Logistic(_Linear):
    """Multinomial logistic regression: the classifier alone, on the flattened pixels."""

    title = "Logistic regression"
    paper = "https://arxiv.org/abs/1602.05629"


class LinearRegression(_Linear):
    """One number from the flattened pixels, for datasets whose targets are numbers; trained on the squared error."""

    title = "Linear regression"
    paper = "https://arxiv.org/abs/1602.05629"
