"""The records of one task, sorted out by defense, attack and moment."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from fl_attack_bench.record import Record, VictimScore
from fl_attack_bench.score.identity import attack_label, key
from fl_attack_bench.score.soundness import fault
from fl_attack_bench.score.triple import Moment


class Group:
    """All records of one suite version, hardware profile and task, one record a cell.

    Attributes:
        task: theirs.
        seeds: rising.
        attacks: label by key; none without an attack on a task with victims.
        faults: by cell id, why a record cannot be true.
        defenses: each one's records by seed and attack; the undefended federation first, then by label.
        undefended: the undefended federation's records; empty where there are none.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.task = records[0].cell.task
        self.seeds = tuple(sorted({record.cell.seed for record in records}))
        self.attacks = {key(spec): attack_label(spec) for spec in (record.cell.attack for record in records)}
        if self.task.victims is not None:
            self.attacks.pop(key(None), None)
        self.faults = {record.cell_id: reason for record in records if (reason := fault(record))}
        self.defenses = _by_defense(records)
        first = self.defenses[0]
        self.undefended = first if first[0].cell.defense.is_baseline else []

    def attacks_by_label(self) -> list[str]:
        """The attacks' keys, sorted by label."""
        return sorted(self.attacks, key=lambda attack: (self.attacks[attack], attack))

    def sound(self, played: Iterable[Record]) -> list[Record]:
        """Those of the records that can be true, whatever their status."""
        return [record for record in played if record.cell_id not in self.faults]

    def victim_scores(
        self, played: Iterable[Record], attack: str, moment: Moment
    ) -> dict[tuple[int, int], VictimScore]:
        """Scores by (seed, victim) of one attack, given by its key, at one moment."""
        return {
            (record.cell.seed, score.victim): score
            for record in self.sound(played)
            if record.status == "ok" and key(record.cell.attack) == attack
            for done in record.reconstructed
            if done.moment == moment
            for score in done.victims
        }


def _by_defense(records: Iterable[Record]) -> list[list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.cell.seed, key(record.cell.attack))):
        found[key(record.cell.defense)].append(record)
    specs = {name: same[0].cell.defense for name, same in found.items()}
    order = sorted(specs, key=lambda name: (not specs[name].is_baseline, specs[name].label, name))
    return [found[name] for name in order]
