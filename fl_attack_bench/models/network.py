"""What the networks share: their options, their shape, and initialisation from a generator that is passed in."""

from abc import abstractmethod
from math import prod, sqrt
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fl_attack_bench.errors import UserError
from fl_attack_bench.schema import Document

Shape = tuple[int, int, int]
ActivationName = Literal["relu", "tanh", "sigmoid"]

NO_BATCH_NORM = "none"
BATCH_NORM = (
    "after every convolution; in attacks the network is in evaluation mode, so it uses the running statistics, which "
    "the server knows"
)

# Channel means and standard deviations of the training images in [0, 1].
_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914672, 0.4822617, 0.4467701), (0.2470322, 0.2434851, 0.2615879)),
    "mnist": ((0.1306604,), (0.3081078,)),
}


class Options(Document):
    """What every network lets a suite set.

    Args:
        normalise: subtract the mean and divide by the standard deviation of this dataset inside the network, so that
            everything outside it, an attack's reconstruction above all, stays in pixels in [0, 1].
    """

    normalise: Literal["none", "cifar10", "mnist"] = "none"


class Network(nn.Module):
    """Features, flattened, then one linear classifier; standard layers only, each called once in a forward pass.

    Built on the meta device, where constructing layers draws no random number; :func:`fl_attack_bench.models.build`
    then allocates the weights and calls :meth:`initialise`.

    Args:
        image_shape: ``(C, H, W)``.
        classes: number of labels, the width of the output.
        options: as the network's ``schema`` parses them.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    batch_norm: ClassVar[str] = NO_BATCH_NORM
    smallest: ClassVar[int] = 1
    schema: ClassVar[type[Options]] = Options

    def __init__(self, image_shape: Shape, classes: int, options: Options) -> None:
        super().__init__()
        self.options = options
        self.normalise = Normalise(image_shape[0], options.normalise) if options.normalise != "none" else nn.Identity()
        self.features = self.layers(image_shape)
        self.classifier = nn.Linear(self.width(image_shape), classes)

    @abstractmethod
    def layers(self, image_shape: Shape) -> nn.Sequential:
        """Everything before the classifier."""

    @abstractmethod
    def width(self, image_shape: Shape) -> int:
        """Number of features that the classifier sees."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights, in the order of the layers."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in_uniform(module, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Shape ``(B, C, H, W)`` in [0, 1] to logits, shape ``(B, classes)``."""
        logits: Tensor = self.classifier(self.features(self.normalise(images)).flatten(1))
        return logits


class Normalise(nn.Module):
    """``(x - mean) / std`` for each channel, with fixed numbers."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, dataset: str) -> None:
        super().__init__()
        mean, std = _STATISTICS[dataset]
        if channels != len(mean):
            raise UserError(
                f"normalise={dataset!r} is for {len(mean)} channels, the images have {channels}: use 'none'"
            )
        self.dataset = dataset
        # Not persistent: constants are no part of what the federation learns or stores.
        self.register_buffer("mean", torch.empty(len(mean), 1, 1), persistent=False)
        self.register_buffer("std", torch.empty(len(std), 1, 1), persistent=False)

    def fill(self) -> None:
        """Write the constants, once the buffers are allocated."""
        mean, std = _STATISTICS[self.dataset]
        self.mean.copy_(torch.tensor(mean).view(-1, 1, 1))
        self.std.copy_(torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Shape ``(B, C, H, W)``, kept."""
        return (images - self.mean) / self.std


def activation(name: ActivationName) -> nn.Module:
    """A fresh activation layer."""
    layers: dict[ActivationName, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    return layers[name]()


def uniform(module: nn.Conv2d | nn.Linear, half_width: float, generator: torch.Generator) -> None:
    """Weights and biases uniform in ``[-half_width, half_width]``."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -half_width, half_width, generator=generator)


def fan_in_uniform(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Weights and biases uniform in ``[-1/sqrt(fan_in), 1/sqrt(fan_in)]``.

    Source: PyTorch's default for both layers, Kaiming uniform with ``a = sqrt(5)``.
    """
    uniform(module, 1 / sqrt(prod(module.weight.shape[1:])), generator)
