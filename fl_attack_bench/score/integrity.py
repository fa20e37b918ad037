"""Integrity: what malicious clients do to what a federation learns, beside what it learns from honest ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fl_attack_bench.record import Integrity, Learned, Record
from fl_attack_bench.score.estimates import mean
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.learned import Course, Quantity, Spread, course, figure, spread
from fl_attack_bench.score.utility import utilities
from fl_attack_bench.suite import MethodSpec

CLIENTS = "clients"  # the parameter of every active attack that says how many it controls


@dataclass(frozen=True)
class UnderAttack:
    """What one defense's federation learned under one active attack.

    Args:
        attack: its label.
        spec: the attack as the suite wrote it.
        clients: how many it controls; None where no record says.
        learned: over the seeds that hold it; None where none does.
        difference: mean of (under attack - honest clients) over the seeds that hold both; None where none does.
        course: what went wrong on the way.
    """

    attack: str
    spec: MethodSpec
    clients: int | None
    learned: Spread | None
    difference: float | None
    course: Course

    @property
    def family(self) -> MethodSpec:
        """The attack without the number of its clients: what a sweep over that number has in common."""
        others = {name: value for name, value in self.spec.parameters.items() if name != CLIENTS}
        return self.spec.model_copy(update={"parameters": others})


@dataclass(frozen=True)
class IntegrityScore:
    """A defense against every active attack on one task.

    Args:
        quantity: ``accuracy``, a fraction where higher is better, or ``rmse`` in the target's unit, lower is better.
        honest: what the same federation learned from honest clients; None where no record holds it.
        attacks: by family, then by number of clients.
    """

    quantity: Quantity
    honest: Spread | None
    attacks: tuple[UnderAttack, ...]

    @property
    def worst(self) -> UnderAttack | None:
        """The attack under which least was learned, on the mean over seeds; None where none was played."""
        return self._worst(self.attacks)

    @property
    def unnoticed(self) -> UnderAttack | None:
        """Likewise, of the attacks under which no round failed and the server noticed nothing."""
        return self._worst([one for one in self.attacks if one.course.unnoticed])

    def _worst(self, attacks: Sequence[UnderAttack]) -> UnderAttack | None:
        sign = 1 if self.quantity == "accuracy" else -1
        known = [(sign * one.learned.mean, place) for place, one in enumerate(attacks) if one.learned]
        return attacks[min(known)[1]] if known else None

    @property
    def course(self) -> Course:
        """What went wrong under all attacks together; without the texts."""
        found = [one.course for one in self.attacks]
        return Course(
            rounds=sum(one.rounds for one in found),
            failed_rounds=sum(one.failed_rounds for one in found),
            incident_count=sum(one.incident_count for one in found),
            diverged=sum(one.diverged for one in found),
        )


def integrity_score(group: Group, played: Sequence[Record], what: Quantity) -> IntegrityScore | None:
    """The integrity that a defense's records hold; None on a task whose adversary is the server."""
    if group.task.adversary != "clients":
        return None
    sound = group.sound(played)
    honest = utilities(sound)
    attacks = [_under(group, sound, attack, honest, what) for attack in group.attacks_by_label()]
    attacks.sort(key=lambda one: (one.family.label, one.clients or 0, one.attack))
    return IntegrityScore(what, spread([figure(honest[seed], what) for seed in sorted(honest)]), tuple(attacks))


def _under(
    group: Group, sound: Sequence[Record], attack: str, honest: Mapping[int, Learned], what: Quantity
) -> UnderAttack:
    records = [record for record in sound if key(record.cell.attack) == attack]
    found = {record.cell.seed: record.integrity for record in records if record.integrity is not None}
    figures = {seed: figure(found[seed], what) for seed in sorted(found)}
    clean = {seed: figure(honest[seed], what) for seed in figures.keys() & honest.keys()}
    apart = [figures[seed] - clean[seed] for seed in sorted(clean) if math.isfinite(clean[seed])]
    spec = group.specs[attack]
    return UnderAttack(
        attack=group.attacks[attack],
        spec=spec,
        clients=_clients(found, records, spec),
        learned=spread(list(figures.values())),
        difference=mean(apart) if apart else None,
        course=course(found),
    )


def _clients(found: Mapping[int, Integrity], records: Sequence[Record], spec: MethodSpec) -> int | None:
    """How many clients it controls: as was measured, else as the attack was built, else as the suite asks."""
    if found:
        return max(one.clients for one in found.values())
    asked = [record.attack.parameters.get(CLIENTS) for record in records if record.attack is not None]
    known = [value for value in (*asked, spec.parameters.get(CLIENTS)) if type(value) is int]
    return known[0] if known else None
