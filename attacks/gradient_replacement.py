"""The gradient-replacement backdoor of a malicious passive party, with or without blurred activations."""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from fl_attack_bench.api import BackdoorAttack, Batch, Card, FeatureParty, Following, Foothold


@dataclass(frozen=True)
class GradientReplacement(BackdoorAttack):
    """Learn the poisoned samples as if they were a known sample of the target class (Liu et al. 2020, section 5.3).

    Algorithm 2: the gradient that comes back for a known clean sample of the target class is recorded as ``g_rec``, and
    in its own step the party puts ``gamma g_rec`` in place of every poisoned sample's gradient. Where a batch holds
    both, the one recorded in this batch counts, whatever their order. Before the first one comes by, ``g_rec`` is zero:
    the poisoned samples' own gradients would teach the trigger their true labels.

    The ``latest`` gradient of a known sample, as published, vanishes as soon as the sample is learned, and the backdoor
    with it. The ``mean`` of all that came back for the known samples so far does not.

    Algorithm 3, with ``blurring``: in training a random vector is sent in place of a poisoned sample's embedding, so
    that a trainable top model cannot learn the true label of the poisoned embeddings. The party's own step still goes
    through the true embedding, and at inference the true one is sent.

    Args:
        known: how many clean samples of the target class it knows.
        gamma: amplification of the recorded gradient.
        record: what is kept of the known samples' gradients: the ``latest`` of each, of which the mean is taken, or the
            ``mean`` of all.
        blurring: variance of the entries of the random vector, normal with mean zero; None sends the true embedding.
            The paper uses 1e-6 where the top model is trainable.
    """

    card = Card(
        title="Gradient-replacement backdoor",
        paper="https://arxiv.org/abs/2007.03608",
        threat="malicious passive party",
        assumes="ids of clean training samples of the target class; which of its own samples carry the trigger",
        notes="The paper's Algorithm 2 walks through a batch in order, so that a poisoned sample before the known one "
        "takes an older gradient; here all take the newest. It does not say what happens before the first recording "
        "or with several known samples; record=latest is its form. The replaced gradient does not shrink once a "
        "poisoned sample is taken for the target, so that a large gamma, many poisoned samples or badly learned known "
        "ones cost main accuracy.",
    )
    gamma: Annotated[float, Gt(0)] = 10.0
    record: Literal["latest", "mean"] = "mean"
    blurring: Annotated[float, Gt(0)] | None = None

    def corrupt(self, foothold: Foothold) -> FeatureParty:
        """The honest party with other gradients for the poisoned samples, and perhaps other embeddings sent."""
        return _Replacing(foothold, self)


class _Replacing(Following):
    def __init__(self, foothold: Foothold, attack: GradientReplacement) -> None:
        super().__init__(foothold.party)
        self._gamma, self._latest = attack.gamma, attack.record == "latest"
        self._deviation = None if attack.blurring is None else sqrt(attack.blurring)
        self._rng = foothold.streams.generator("blurring")
        self._poisoned = foothold.is_poisoned()
        self._known = foothold.known.to(self._poisoned.device)
        self._recorded: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}

    def embed(self, batch: Batch) -> Tensor:
        sent = super().embed(batch)
        if self._deviation is None:
            return sent
        noise = self._deviation * torch.randn(sent.shape, generator=self._rng)
        return torch.where(self._poisoned[batch.rows].unsqueeze(1), noise.to(sent), sent)

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        for place in torch.isin(batch.rows, self._known).nonzero().flatten().tolist():
            sample = int(batch.rows[place])
            before = None if self._latest else self._recorded.get(sample)
            self._recorded[sample] = gradients[place].clone() if before is None else before + gradients[place]
            self._counts[sample] = 1 if before is None else self._counts[sample] + 1
        poisoned = self._poisoned[batch.rows].unsqueeze(1)
        super().learn(batch, torch.where(poisoned, self._gamma * self._record(gradients), gradients))

    def _record(self, gradients: Tensor) -> Tensor:
        """``g_rec``, shape ``(d,)``."""
        if not self._recorded:
            return torch.zeros_like(gradients[0])
        return torch.stack(list(self._recorded.values())).sum(0) / sum(self._counts.values())
