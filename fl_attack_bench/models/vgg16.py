"""VGG-16 for small images, the large network that sharing papers time."""

import torch
from torch import nn

from fl_attack_bench.models.network import BATCH_NORM, Network, Shape

_WIDTHS = (64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 512, None)


class Vgg16(Network):
    """Thirteen 3x3 convolutions with batch norm and ReLU, five 2x2 max pools, one linear layer.

    14,728,266 parameters on 3x32x32 and 10 classes.
    """

    title = "VGG-16 with batch norm, for small images"
    paper = "https://arxiv.org/abs/1409.1556"
    batch_norm = BATCH_NORM
    smallest = 32

    def layers(self, image_shape: Shape) -> nn.Sequential:
        """Configuration D of the paper, with one linear layer in place of its three."""
        stack: list[nn.Module] = []
        before = image_shape[0]
        for width in _WIDTHS:
            if width is None:
                stack.append(nn.MaxPool2d(2))
                continue
            stack += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        return nn.Sequential(*stack)

    def width(self, image_shape: Shape) -> int:
        """Each pool halves a side, rounding down."""
        _, height, width = image_shape
        return 512 * (height // 32) * (width // 32)

    def initialise(self, generator: torch.Generator) -> None:
        """He et al. 2015 by the fan out, biases 0, classifier normal with 0.01: as torchvision does.

        Before any training the running statistics are 0 and 1, and in evaluation mode only these weights keep
        thirteen layers from fading out.
        """
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, 0, 0.01, generator=generator)
        nn.init.zeros_(self.classifier.bias)
