"""A network whose parameters live in one flat vector."""

import copy
import math

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
        """Gradient of a batch's mean loss, shape ``(layout.size,)``.

        Cross entropy for class labels (int64), the squared error of the one output for numbers (floating point).
        """
        loss = _loss(self.module(images), labels, "mean")
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, self._parameters)])

    def public(self) -> nn.Module:
        """A copy in evaluation mode that shares nothing with this model: what may be handed to an adversary."""
        return copy.deepcopy(self.module).eval()

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """The first of :meth:`evaluate`'s figures."""
        return self.evaluate(images, labels)[0]

    @torch.no_grad()
    def evaluate(self, images: Tensor, labels: Tensor, batch: int = 1000) -> tuple[float, float]:
        """Accuracy in [0, 1] and mean loss, in evaluation mode.

        For class labels the share of images whose largest logit is their label's, and the mean cross entropy in nats.
        For numbers ``R^2 = 1 - sum((y - f)^2) / sum((y - mean(y))^2)`` clipped to [0, 1], and the mean squared error.
        """
        was = self.module.training
        self.module.eval()
        hits, loss = 0, 0.0
        for some, target in zip(images.split(batch), labels.split(batch), strict=True):
            outputs = self.module(some)
            hits += 0 if target.is_floating_point() else int((outputs.argmax(1) == target).sum())
            loss += float(_loss(outputs, target, "sum"))
        self.module.train(was)
        if labels.is_floating_point():
            return _determination(loss, labels), loss / len(labels)
        return hits / len(labels), loss / len(labels)


def _loss(outputs: Tensor, labels: Tensor, reduction: str) -> Tensor:
    if labels.is_floating_point():
        return F.mse_loss(outputs.squeeze(1), labels, reduction=reduction)
    return F.cross_entropy(outputs, labels, reduction=reduction)


def _determination(squared_error: float, targets: Tensor) -> float:
    spread = float((targets - targets.mean()).square().sum())
    explained = 1 - squared_error / spread if spread else 0.0
    return min(max(explained, 0.0), 1.0) if math.isfinite(explained) else 0.0
