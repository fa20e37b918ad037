"""No defense: the baseline that every other one is compared with."""

from dataclasses import dataclass

from fl_attack_bench.api import Card, HorizontalDefense


@dataclass(frozen=True)
class NoDefense(HorizontalDefense):
    """Send the update as it is."""

    card = Card(
        title="No defense",
        paper="https://arxiv.org/abs/1602.05629",
        threat="none",
        notes="Plain federated averaging (McMahan et al. 2017).",
    )
