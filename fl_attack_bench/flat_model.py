"""A network whose parameters live in one flat vector."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.update import Layout


class FlatModel:
    """Wraps a module so that a training step is a handful of operations, however many layers there are.

    Args:
        module: its parameters are replaced by views of :attr:`weights`; train it through this object only.
        device: where it is kept.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.module = module.to(device)
        self.layout = Layout.of(module)
        self.weights = self.layout.flatten({n: p.detach() for n, p in module.named_parameters()}).clone()
        values = self.layout.views(self.weights)
        for name, parameter in module.named_parameters():
            parameter.data = values[name]
        self._parameters = list(module.parameters())
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self._statistics = [b for norm in norms for b in norm.buffers() if b.is_floating_point()]

    @property
    def statistics(self) -> Tensor:
        """Running statistics of batch norm in one flat vector; empty where there is none."""
        return torch.cat([b.flatten() for b in self._statistics]) if self._statistics else self.weights.new_zeros(0)

    def load(self, weights: Tensor, statistics: Tensor) -> None:
        """Take over parameters and running statistics."""
        self.weights.copy_(weights)
        for buffer, piece in zip(
            self._statistics, statistics.split([b.numel() for b in self._statistics]), strict=True
        ):
            buffer.copy_(piece.view_as(buffer))

    def gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """Gradient of the mean cross entropy of a batch, shape ``(layout.size,)``."""
        loss = F.cross_entropy(self.module(images), labels)
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, self._parameters)])

    def public(self) -> nn.Module:
        """A copy in evaluation mode that shares nothing with this model: what may be handed to an adversary."""
        return copy.deepcopy(self.module).eval()

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of images whose largest logit is their label's, in [0, 1]; in evaluation mode."""
        return self.evaluate(images, labels)[0]

    @torch.no_grad()
    def evaluate(self, images: Tensor, labels: Tensor, batch: int = 1000) -> tuple[float, float]:
        """Accuracy in [0, 1] and mean cross entropy in nats, in evaluation mode."""
        was = self.module.training
        self.module.eval()
        hits, loss = 0, 0.0
        for some, target in zip(images.split(batch), labels.split(batch), strict=True):
            logits = self.module(some)
            hits += int((logits.argmax(1) == target).sum())
            loss += float(F.cross_entropy(logits, target, reduction="sum"))
        self.module.train(was)
        return hits / len(labels), loss / len(labels)
