"""Sparse gradients from the active party, with what is left over kept for the next time."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from fl_attack_bench.api import Card, Exchange, Returned, VerticalDefense

RESIDUAL = "residual"


@dataclass(frozen=True)
class GradientSparsification(VerticalDefense):
    """Send the entries of largest magnitude, keep the others (Liu et al. 2020, section 6.4; Lin et al. 2018, 3.1).

    To a message's gradients is added what was held back of the same samples before. Of the ``n`` entries
    ``n - round(drop n)`` are sent, at least one: those of largest magnitude over the whole message, of equal ones those
    that come first. The others are held back, by sample id and by receiver. So for every sample the sum of all that was
    sent and what is still held back is the sum of all gradients.

    In a chain, ``n`` counts the entries that the earlier defenses send: what they leave out is not sent here either,
    and what is held back at such a place waits.

    Args:
        drop: share of a message's entries that is not sent, in [0, 1).
    """

    card = Card(
        title="Gradient sparsification",
        paper="https://arxiv.org/abs/1712.01887",
        threat="malicious or curious passive party",
        notes="As a defense of split learning: https://arxiv.org/abs/2007.03608, which finds that it weakens the "
        "backdoor on NUS-WIDE without hurting the main accuracy. Residuals are kept for each sample, never for a place "
        "in the batch, so that no sample is sent another one's gradient. A sample's residual waits for its next turn, "
        "an epoch later, when the models have moved on. Lin et al. also correct the momentum and mask it, clip "
        "gradients locally and warm up the drop rate over the first epochs; none of this is here: the task's gradient "
        "descent has no momentum. They pick a threshold from a sample of the entries; here the count is exact.",
    )
    drop: Annotated[float, Ge(0), Lt(1)] = 0.9

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        """The entries of largest magnitude."""
        rows, values = exchange.batch.rows, returned.values
        if RESIDUAL not in exchange.memory:
            exchange.memory[RESIDUAL] = values.new_zeros(exchange.samples, values.shape[1])
        residual = exchange.memory[RESIDUAL]
        total = values + residual[rows]
        sent = self._largest(total, returned.sent)
        residual[rows] = total.masked_fill(sent, 0)
        return Returned(total.masked_fill(~sent, 0), sent)

    def _largest(self, total: Tensor, allowed: Tensor | None) -> Tensor:
        """Which entries are sent, shape ``(B, d)``, bool."""
        size = total.abs()
        entries = total.numel()
        if allowed is not None:
            size = size.masked_fill(~allowed, -1)
            entries = int(allowed.sum())
        count = min(entries, max(1, entries - round(self.drop * entries)))
        chosen = size.flatten().sort(descending=True, stable=True).indices[:count]
        return torch.zeros_like(total, dtype=torch.bool).flatten().index_fill_(0, chosen, True).view_as(total)
