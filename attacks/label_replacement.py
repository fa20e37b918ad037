"""The direct backdoor of a malicious passive party that can read the labels off the gradients."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn.functional import one_hot

from fl_attack_bench.api import BackdoorAttack, Batch, Card, FeatureParty, Following, Foothold, SkipCell


@dataclass(frozen=True)
class LabelReplacement(BackdoorAttack):
    """Learn the poisoned samples with the target label in place of the true one (Liu et al. 2020, section 5.3).

    Under the sum with softmax and cross entropy a sample's gradient is ``g = S - e_y``, and ``y`` the place of its only
    negative entry. In its own step the party puts ``gamma (S - e_target) = gamma (g + e_y - e_target)`` in place of a
    poisoned sample's ``g``. It reads ``y`` off the sum of all gradients of the sample so far, as its smallest entry
    among the classes: without a defense that is the same place, and noise and gaps that differ from epoch to epoch
    matter less in a sum. A sum without a negative entry says nothing of the label; then ``gamma (g - e_target)`` is
    taken.

    Args:
        known: how many clean samples of the target class it knows; this attack uses none of them.
        gamma: amplification of the replaced gradient.
    """

    card = Card(
        title="Label-replacement backdoor",
        paper="https://arxiv.org/abs/2007.03608",
        threat="malicious passive party",
        assumes="which of its own samples carry the trigger; that the top model is the sum, with cross entropy",
        notes="Needs no known sample of the target class. Under another top model the gradient's entries are no "
        "classes; the attack is played all the same, and what it then reads as labels means nothing. The paper has no "
        "amplification here: gamma = 1.",
    )
    gamma: Annotated[float, Gt(0)] = 1.0

    def corrupt(self, foothold: Foothold) -> FeatureParty:
        """The honest party with the target's gradient for the poisoned samples.

        Raises:
            SkipCell: embeddings have fewer entries than there are classes, so that their sum cannot be the logits.
        """
        if foothold.width < foothold.classes:
            raise SkipCell(
                f"embeddings of {foothold.width} entries cannot be the logits of {foothold.classes} classes, "
                "and labels are read off the gradient of logits only"
            )
        return _Relabelling(foothold, self.gamma)


class _Relabelling(Following):
    def __init__(self, foothold: Foothold, gamma: float) -> None:
        super().__init__(foothold.party)
        features = foothold.features
        self._gamma, self._poisoned = gamma, foothold.is_poisoned()
        self._sums = features.new_zeros(len(features), foothold.classes)
        self._target = one_hot(torch.tensor(foothold.target, device=features.device), foothold.width)

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        classes = self._sums.shape[1]
        self._sums[batch.rows] += gradients[:, :classes].to(self._sums)
        least, labels = self._sums[batch.rows].min(1)
        label = one_hot(labels, gradients.shape[1]) * (least < 0).unsqueeze(1)
        replaced = self._gamma * (gradients + label - self._target)
        super().learn(batch, torch.where(self._poisoned[batch.rows].unsqueeze(1), replaced, gradients))
