"""The gate of vertical tasks: an attack counts only where it beats a blind guess on the undefended baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

from fl_attack_bench.score.estimates import mean
from fl_attack_bench.score.vertical.group import VerticalGroup
from fl_attack_bench.score.vertical.row import KINDS, Kind
from fl_attack_bench.vertical_record import VerticalResult

_NOTHING = 1e-12  # a mean squared error below it is none


@dataclass(frozen=True)
class VerticalGated:
    """How the attacks of one task fare at its gate.

    Args:
        least: the advantage that an attack must reach.
        most: the accuracy of the main task that a backdoor may cost.
        advantages: by attack key and kind, the advantage on the undefended baseline, mean over seeds.
        losses: by attack key, the accuracy of the main task that a backdoor costs there, mean over seeds.
    """

    least: float
    most: float
    advantages: Mapping[tuple[str, Kind], float]
    losses: Mapping[str, float]

    def passes(self, attack: str, kind: Kind) -> bool:
        """Whether the attack counts."""
        found = self.advantages.get((attack, kind))
        return found is not None and found >= self.least and not self.spoils(attack, kind)

    def spoils(self, attack: str, kind: Kind) -> bool:
        """Whether it costs the baseline more of the main task than a backdoor may."""
        return kind == "backdoor" and self.losses.get(attack, 0.0) > self.most

    def counting(self, attack: str) -> list[Kind]:
        """Of what kinds the attack counts."""
        return [kind for kind in KINDS if self.passes(attack, kind)]

    @property
    def asked(self) -> frozenset[Kind]:
        """Kinds of which at least one attack counts."""
        return frozenset(kind for attack, kind in self.advantages if self.passes(attack, kind))


def advantage(result: VerticalResult, kind: Kind) -> float:
    """What an attack reached, as a share of what a blind guess leaves over; below 0 where it is worse than that.

    Backdoor: ``(success - floor) / (1 - floor)``, with the trigger's success in the record's own honest training as
    the floor, 0 where it holds none. Labels: ``(accuracy - majority) / (1 - majority)``. Features: ``1 - mean MSE /
    mean MSE of a blind guess``. Where a blind guess leaves nothing over, there is no advantage.
    """
    if kind == "backdoor":
        triggered = result.attacked.triggered if result.attacked else None
        honest = result.honest.triggered if result.honest else None
        floor = honest.success if honest else 0.0
        return (triggered.success - floor) / (1 - floor) if triggered and floor < 1 else 0.0
    if kind == "labels" and result.labels is not None:
        left = 1 - result.labels.majority
        return (result.labels.accuracy - result.labels.majority) / left if left > 0 else 0.0
    if kind == "features" and result.features is not None:
        blind = mean([one.blind for one in result.features.victims])
        return 1 - mean([one.mse for one in result.features.victims]) / blind if blind > _NOTHING else 0.0
    return 0.0


def lost(result: VerticalResult) -> float:
    """Accuracy of the main task that a backdoor costs, as a fraction; 0 where the record holds no honest training."""
    if result.attacked is None or result.honest is None:
        return 0.0
    return result.honest.accuracy - result.attacked.accuracy


def judge(group: VerticalGroup) -> VerticalGated:
    """Hold every attack against the undefended baseline.

    Strangers' records of one suite version may name different gates: the strictest of the baseline's holds.
    """
    undefended = group.sound(group.undefended)
    asked = undefended or [record for played in group.defenses for record in played]
    advantages: dict[tuple[str, Kind], float] = {}
    losses: dict[str, float] = {}
    for attack in group.attacks:
        for kind in KINDS:
            results = group.results(group.undefended, attack, kind)
            if results:
                advantages[attack, kind] = mean([advantage(result, kind) for result in results.values()])
            if results and kind == "backdoor":
                losses[attack] = mean([lost(result) for result in results.values()])
    least, most = max(record.gate.advantage for record in asked), min(record.gate.main_loss for record in asked)
    return VerticalGated(least, most, advantages, losses)
