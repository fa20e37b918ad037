"""A passive party's network, from its features to its embedding, with its gradient written out.

With ``a_l = h_{l-1} W_l^T + b_l`` and ``h_l = max(a_l, 0)`` the chain rule is two products a layer. They are written
down here, and a step is added to the weights where its product is made: the layers are small, and recording them for
automatic differentiation takes longer than computing them.
"""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.models.network import fan_in_uniform
from fl_attack_bench.tasks.vertical import Bottom


class BottomNetwork(nn.Module):
    """Dense layers with ReLU between them, and behind the last one where the task asks for it.

    Args:
        bottom: the layers.
        features: how many the party holds.
        rng: the only source of randomness.
    """

    def __init__(self, bottom: Bottom, features: int, rng: torch.Generator) -> None:
        super().__init__()
        widths = [features, *([bottom.hidden] if bottom.hidden else []), bottom.outputs]
        # On the meta device the constructor draws no numbers.
        self._dense = [
            nn.Linear(before, after, device="meta").to_empty(device="cpu")
            for before, after in itertools.pairwise(widths)
        ]
        with torch.no_grad():
            for layer in self._dense:
                fan_in_uniform(layer, rng)
        self.layers = nn.ModuleList(self._dense)
        self.rectified = [True] * (len(self._dense) - 1) + [bottom.activation == "relu"]

    def forward(self, features: Tensor) -> Tensor:
        """Shape ``(B, features)`` to ``(B, outputs)``."""
        return self.passed(features)[-1]

    def passed(self, features: Tensor) -> list[Tensor]:
        """What every layer gets, and last what the network gives out."""
        passed = [features]
        for layer, rectified in zip(self._dense, self.rectified, strict=True):
            out = layer(passed[-1])
            passed.append(F.relu(out) if rectified else out)
        return passed

    @torch.no_grad()
    def step(self, passed: list[Tensor], gradient: Tensor, rate: float) -> None:
        """Step the weights along ``sum_i dl_i/dH_i dH_i/dtheta``.

        Args:
            passed: what :meth:`passed` kept of the forward pass; the weights have not changed since.
            gradient: of the loss with respect to what the network gave out, shape ``(B, outputs)``.
            rate: times the gradient is subtracted from the weights.
        """
        layers = list(zip(self._dense, self.rectified, passed, passed[1:], strict=False))
        for number, (layer, rectified, before, after) in reversed(list(enumerate(layers))):
            if rectified:
                gradient = gradient * (after > 0)
            below = gradient @ layer.weight if number else None
            layer.weight.addmm_(gradient.T, before, alpha=-rate)
            layer.bias.sub_(gradient.sum(0), alpha=rate)
            if below is not None:
                gradient = below
