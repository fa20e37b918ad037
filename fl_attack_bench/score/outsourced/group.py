"""The records of one outsourced task, and what they hold of each attack."""

from collections.abc import Iterable, Sequence

from fl_attack_bench.outsourced_record import InputsReconstructed, OutsourcedResult
from fl_attack_bench.record import Record
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.outsourced.row import Moment
from fl_attack_bench.score.outsourced.soundness import fault
from fl_attack_bench.score.task_records import TaskRecords
from fl_attack_bench.tasks import OutsourcedTask

Victims = tuple[int, ...]


class OutsourcedGroup(TaskRecords[OutsourcedTask]):
    """All records of one suite version, hardware profile and outsourced task, one record a cell."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(records, OutsourcedTask, fault)
        self.faults |= _strangers(self.sound(self.undefended), self.sound(records))

    def reconstructed(self, played: Iterable[Record], attack: str) -> dict[int, InputsReconstructed]:
        """By seed, rising, what one attack, given by its key, made of its view."""
        found = {
            record.cell.seed: record.outsourced.inputs
            for record in self.sound(played)
            if record.status == "ok" and key(record.cell.attack) == attack
            if record.outsourced is not None and record.outsourced.inputs is not None
        }
        return {seed: found[seed] for seed in sorted(found)}

    def results(self, played: Iterable[Record]) -> dict[int, list[OutsourcedResult]]:
        """By seed, rising, what the records hold. A cell whose attack failed may still hold utility and cost."""
        found: dict[int, list[OutsourcedResult]] = {}
        for record in sorted(self.sound(played), key=lambda record: record.cell.seed):
            if record.outsourced is not None:
                found.setdefault(record.cell.seed, []).append(record.outsourced)
        return found


def _strangers(undefended: Iterable[Record], records: Iterable[Record]) -> dict[str, str]:
    """Records that go for other samples than the undefended one's of the same seed and moment."""
    expected: dict[tuple[int, Moment], Victims] = {}
    for record in undefended:
        for moment, victims in _victims(record).items():
            expected.setdefault((record.cell.seed, moment), victims)
    return {
        record.cell_id: "its victims are not those of the undefended record"
        for record in records
        for moment, victims in _victims(record).items()
        if victims != expected.get((record.cell.seed, moment), victims)
    }


def _victims(record: Record) -> dict[Moment, Victims]:
    inputs = record.outsourced.inputs if record.outsourced is not None else None
    if record.status != "ok" or inputs is None:
        return {}
    return {inputs.moment: tuple(sorted(one.victim for one in inputs.victims))}
