"""RTAS-fast: the first layer under sharing, its outputs revealed to whoever trains the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fl_attack_bench.api import Card, Entering, Plan
from fl_attack_bench.sharing.defense import SharingDefense
from fl_attack_bench.sharing.parties import fast_learners


@dataclass(frozen=True)
class RtasFast(SharingDefense):
    """Share the features and the first layer; reveal ``x W + b`` to the trainer (sections 4.2.2 and 4.3).

    Args:
        trainer: ``labels``: the holder of the labels; ``third``: a third party, which is given the labels.
    """

    card = Card(
        title="RTAS-fast",
        paper="https://arxiv.org/abs/2008.07758",
        threat="each party by itself, following the protocol; the trainer sees the first layer's outputs as they are",
        notes="Zheng 2020, as submitted to WWW 2021 with another title. The trainer works in float64 in the "
        "clear and sends predictions to the owner of the features.",
    )

    trainer: Literal["labels", "third"] = "labels"

    def parties(self, plan: Plan) -> Mapping[str, Entering]:
        """Owners, two compute parties, a helper, and a third party if it is the trainer."""
        return fast_learners(plan, self.numbers, self.masks, self.trainer)
