"""RTAS: arithmetic sharing, with activations evaluated by a third party on permuted values."""

from collections.abc import Mapping
from dataclasses import dataclass

from fl_attack_bench.api import Card, Entering, Plan
from fl_attack_bench.sharing.defense import SharingDefense
from fl_attack_bench.sharing.parties import WITH_THIRD_PARTY, learners


@dataclass(frozen=True)
class Rtas(SharingDefense):
    """Share everything between two parties; a third one sees pre-activations in a random order (section 4)."""

    card = Card(
        title="RTAS",
        paper="https://arxiv.org/abs/2008.07758",
        threat="each party by itself, following the protocol; no two of them collude",
        notes="Zheng 2020, as submitted to WWW 2021 with another title. Shares that can be drawn from a "
        "seed are not sent, and the compute parties draw the permutation from a common seed; the paper sends both. "
        "The third party returns an activation and its slope together.",
    )

    def parties(self, plan: Plan) -> Mapping[str, Entering]:
        """Owners, two compute parties, a helper and a third party."""
        return learners(plan, self.numbers, self.masks, WITH_THIRD_PARTY)
