"""The records of one vertical task, and what they hold of each kind of attack."""

from collections.abc import Iterable, Sequence

from fl_attack_bench.record import Record
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.task_records import TaskRecords
from fl_attack_bench.score.vertical.row import KINDS, Kind
from fl_attack_bench.score.vertical.soundness import fault
from fl_attack_bench.tasks import VerticalTask
from fl_attack_bench.vertical_record import VerticalLearned, VerticalResult

Size = tuple[str, int]  # what is counted, and the seed it may depend on
_EVERY_SEED = -1


class VerticalGroup(TaskRecords[VerticalTask]):
    """All records of one suite version, hardware profile and vertical task, one record a cell."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(records, VerticalTask, fault)
        self.faults |= _strangers(self.sound(self.undefended), self.sound(records))

    def results(self, played: Iterable[Record], attack: str, kind: Kind) -> dict[int, VerticalResult]:
        """By seed, rising, what the records hold of an attack, given by its key."""
        found = {
            record.cell.seed: record.vertical
            for record in self.sound(played)
            if record.status == "ok" and key(record.cell.attack) == attack
            if record.vertical is not None and kind in held(record.vertical)
        }
        return {seed: found[seed] for seed in sorted(found)}

    def honest(self, played: Iterable[Record]) -> dict[int, VerticalLearned]:
        """By seed, rising, the honest training. A cell whose attack failed may still hold it."""
        found = {
            record.cell.seed: record.vertical.honest
            for record in self.sound(played)
            if record.vertical is not None and record.vertical.honest is not None
        }
        return {seed: found[seed] for seed in sorted(found)}


def held(result: VerticalResult) -> frozenset[Kind]:
    """The kinds of attack that a result is of; they are told by nothing else."""
    there = {
        "backdoor": result.attacked is not None and result.attacked.triggered is not None,
        "labels": result.labels is not None,
        "features": result.features is not None,
    }
    return frozenset(kind for kind in KINDS if there[kind])


def _sizes(record: Record) -> dict[Size, tuple[int, ...]]:
    """What the task and the seed alone decide: how many samples there are, and which ones are gone for."""
    found: dict[Size, tuple[int, ...]] = {}
    result, seed = record.vertical, record.cell.seed
    if record.status != "ok" or result is None:
        return found
    if result.labels is not None:
        found["training samples", _EVERY_SEED] = (result.labels.samples + result.labels.known,)
    if result.features is not None:
        found["victims", _EVERY_SEED] = tuple(sorted(one.victim for one in result.features.victims))
    for learned in (result.honest, result.attacked):
        if learned is not None and learned.triggered is not None:
            found["triggered samples", seed] = (learned.triggered.samples, len(learned.triggered.scores))
    return found


def _strangers(undefended: Iterable[Record], records: Iterable[Record]) -> dict[str, str]:
    """Records that speak of other samples than the undefended one's of the same task and seed."""
    expected: dict[Size, tuple[int, ...]] = {}
    for record in undefended:
        for size, value in _sizes(record).items():
            expected.setdefault(size, value)
    return {
        record.cell_id: f"its {name} are not those of the undefended record"
        for record in records
        for (name, seed), value in _sizes(record).items()
        if value != expected.get((name, seed), value)
    }
