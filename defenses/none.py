"""No defense: the baseline that every other one is compared with."""

from dataclasses import dataclass

from fl_attack_bench.api import Card, HorizontalDefense, VerticalDefense


@dataclass(frozen=True)
class NoDefense(HorizontalDefense, VerticalDefense):
    """Send the update, or return the gradient, as it is."""

    card = Card(
        title="No defense",
        paper="https://arxiv.org/abs/1602.05629",
        threat="none",
        notes="Plain federated averaging (McMahan et al. 2017); between parties with different features, plain "
        "split learning with a sum as top model.",
    )
