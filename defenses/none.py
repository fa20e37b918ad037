"""No defense: the baseline that every other one is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

from fl_attack_bench.api import Card, Entering, HorizontalDefense, OutsourcedDefense, Plan, VerticalDefense
from fl_attack_bench.sharing import clear


@dataclass(frozen=True)
class NoDefense(HorizontalDefense, VerticalDefense, OutsourcedDefense):
    """Send the update, or return the gradient, or hand over the data, as it is."""

    card = Card(
        title="No defense",
        paper="https://arxiv.org/abs/1602.05629",
        threat="none",
        notes="Plain federated averaging (McMahan et al. 2017); between parties with different features, plain "
        "split learning with a sum as top model; outsourced, one party that is sent the data and learns in the clear.",
    )

    def parties(self, plan: Plan) -> Mapping[str, Entering]:
        """The owners, and the party that learns."""
        return clear.parties(plan)
