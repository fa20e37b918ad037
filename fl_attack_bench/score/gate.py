"""The gate: an attack counts on a task only where it breaks the undefended federation."""

from collections.abc import Mapping
from dataclasses import dataclass

from fl_attack_bench.record import VictimScore
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.triple import MOMENTS, Moment
from fl_attack_bench.suite import Gate


@dataclass(frozen=True)
class Gated:
    """How the attacks of one task fare at its gate.

    Args:
        gate: what an attack must reach.
        shares: by attack key and moment, the share of undefended images, pooled over seeds, that the attack breaks; an
            attack that returns no images has none.
    """

    gate: Gate
    shares: Mapping[tuple[str, Moment], float]

    def passes(self, attack: str, moment: Moment) -> bool:
        """Whether the attack counts at this moment."""
        return self.shares.get((attack, moment), -1.0) >= self.gate.share

    def counting(self, moment: Moment) -> list[str]:
        """The keys of the attacks that count at this moment, sorted."""
        return sorted(attack for attack, at in self.shares if at == moment and self.passes(attack, at))


def broken(score: VictimScore, gate: Gate) -> bool:
    """Whether an image is reconstructed: its MSE is below the gate's, and the attack did not run off on it."""
    return score.mse < gate.mse and not score.diverged


def judge(group: Group) -> Gated:
    """Hold every attack against the undefended federation.

    Strangers' records of one suite version may name different gates: the strictest of the baseline's holds.
    """
    asked = group.undefended or [record for played in group.defenses for record in played]
    gates = [record.gate for record in asked]
    gate = Gate(mse=min(gate.mse for gate in gates), share=max(gate.share for gate in gates))
    shares: dict[tuple[str, Moment], float] = {}
    for attack in group.attacks:
        for moment in MOMENTS:
            scores = group.victim_scores(group.undefended, attack, moment)
            if scores:
                shares[attack, moment] = sum(broken(score, gate) for score in scores.values()) / len(scores)
    return Gated(gate, shares)
