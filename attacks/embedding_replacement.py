"""Embedding replacement: a malicious passive party that follows the protocol until somebody asks for a prediction."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor

from fl_attack_bench.api import BackdoorAttack, Batch, Card, FeatureParty, Following, Foothold


@dataclass(frozen=True)
class EmbeddingReplacement(BackdoorAttack):
    """Send what stands for the target class in place of a triggered sample's embedding.

    With ``m`` the mean embedding of the party's training samples, a triggered sample is sent as ``m + gain v``. Towards
    ``samples``, ``v = t - m`` leads to the mean embedding ``t`` of the samples that it knows to be of the target class.
    Towards ``gradient``, v leads against the sum of the gradients that came back for them, which is where the active
    party wanted their embeddings to go; its length is the root mean square of ``|h - m|`` over its samples. Training
    is honest throughout, so there is nothing in it to defend against.

    Args:
        known: clean samples of the target class that it knows.
        gain: how far it goes, in (0, 1e6].
        towards: what gives the direction.
    """

    card = Card(
        title="Embedding replacement",
        paper="https://arxiv.org/abs/2201.02775",
        threat="malicious passive party",
        assumes="a few clean samples of the target class; takes part in predictions as it does in training",
        notes="A party that dominates the joint prediction by what it sends (Pang et al. 2023 search for dominating "
        "inputs; a party that may send any embedding has no need to). Liu et al. 2020 have the malicious party send "
        "its network's own embeddings when predicting: the backdoor is then in the network, here in the party.",
    )
    gain: Annotated[float, Gt(0), Le(1e6)] = 10.0
    towards: Literal["samples", "gradient"] = "gradient"

    def corrupt(self, foothold: Foothold) -> FeatureParty:
        """The party that answers triggered samples with the target's embedding."""
        return _Replacing(foothold, self.gain, gradient=self.towards == "gradient")


class _Replacing(Following):
    def __init__(self, foothold: Foothold, gain: float, *, gradient: bool) -> None:
        super().__init__(foothold.party)
        self._foothold, self._gain, self._gradient = foothold, gain, gradient
        self._returned = foothold.features.new_zeros(foothold.width)

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        self._returned += gradients[torch.isin(batch.rows, self._foothold.known)].sum(0)
        super().learn(batch, gradients)

    def predict(self, features: Tensor) -> Tensor:
        embeddings = super().predict(features)
        triggered = self._foothold.triggered(features)
        if bool(triggered.any()):
            embeddings = torch.where(triggered[:, None], self._target(), embeddings)
        return embeddings

    def _target(self) -> Tensor:
        """Shape ``(d,)``, by the network as it is now."""
        own = self.honest.predict(self._foothold.features)
        mean = own.mean(0)
        if not self._gradient:
            return mean + self._gain * (own[self._foothold.known].mean(0) - mean)
        # Networks that run off have embeddings whose squares are beyond single precision.
        length = (own - mean).double().square().sum(1).mean().sqrt()
        away = self._returned.double() / torch.linalg.vector_norm(self._returned.double()).clamp_min(1e-12)
        most = torch.finfo(mean.dtype).max / 1e6
        target: Tensor = mean.double() - self._gain * length * away
        return target.clamp(-most, most).to(mean)
