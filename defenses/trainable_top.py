"""A trainable active party: dense layers in place of the sum."""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from fl_attack_bench.api import Card, Top, VerticalDefense


@dataclass(frozen=True)
class TrainableTop(VerticalDefense):
    """Concatenate the embeddings, then a dense layer with ReLU, then the logits (Liu et al. 2020, section 6.2).

    ``logits = W2 relu(W1 [H_1, ..., H_K] + b1) + b2``, with ``W1`` of shape ``(hidden, K d)`` and ``W2`` of shape
    ``(classes, hidden)``. Each party is sent the gradient with respect to its own embedding.

    Args:
        hidden: units of the dense layer.
    """

    card = Card(
        title="Trainable active party",
        paper="https://arxiv.org/abs/2007.03608",
        threat="malicious or curious passive party",
        notes="The gradient is no longer softmax minus one-hot, so that labels cannot be read off its sign. The paper "
        "finds that the backdoor fails on MNIST and succeeds on NUS-WIDE, and that the main accuracy rises on both. "
        "Initial weights are PyTorch's default for a dense layer; the paper, in TensorFlow 2.0, does not state its "
        "own. Each party's gradient is a message of its own, where the sum has one for all.",
    )
    hidden: Annotated[int, Ge(1), Le(65_536)] = 32

    def top(self, parties: int, width: int, classes: int, rng: torch.Generator) -> Top:
        """The dense layers, freshly drawn."""
        return _DenseTop(parties * width, self.hidden, classes, rng)


class _DenseTop(Top):
    def __init__(self, inputs: int, hidden: int, classes: int, rng: torch.Generator) -> None:
        super().__init__()
        # Built on the meta device, where constructing a layer draws nothing from the global generator.
        self.hidden = nn.Linear(inputs, hidden, device="meta")
        self.output = nn.Linear(hidden, classes, device="meta")
        self.to_empty(device="cpu")
        for layer in (self.hidden, self.output):
            bound = 1 / sqrt(layer.in_features)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=rng)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Shape ``(K, B, d)`` to ``(B, classes)``."""
        joined = embeddings.transpose(0, 1).flatten(1)
        logits: Tensor = self.output(torch.relu(self.hidden(joined)))
        return logits
