"""Failures: the cells of a row that failed, are missing, or could not be played. A failure is a row, never a hole."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import Failure
from fl_attack_bench.score.gate import Gated
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.task_records import TaskRecords
from fl_attack_bench.score.triple import MOMENTS, Moment
from fl_attack_bench.score.utility import utilities

Absent = Callable[[str, Record], str]
Counts = Callable[[str, int], bool]


def unusable(group: TaskRecords[Any], played: Sequence[Record], absent: Absent, counts: Counts) -> tuple[Failure, ...]:
    """Cells without a usable result, by attack and seed; those that were skipped are among them.

    An attack that is skipped on every seed does not apply to the defense. One that is skipped on some seeds only leaves
    a gap, as a failure does: the figures would be means over the seeds that were chosen.

    Args:
        group: the task's records.
        played: the defense's.
        absent: of an attack's key and a record with status ``ok``, what it should hold and does not; empty where it
            holds all.
        counts: of an attack's key and a seed, whether a gap there matters.
    """
    by_cell = {(key(record.cell.attack), record.cell.seed): record for record in played}
    found: list[Failure] = []
    for attack in group.attacks_by_label():
        cells = [by_cell.get((attack, seed)) for seed in group.seeds]
        applies = any(record is None or record.status != "skipped" for record in cells)
        for seed, record in zip(group.seeds, cells, strict=True):
            status, reason = _state(group, record, attack, absent)
            if status == "ok":
                continue
            failure = Failure(
                attack=group.attacks[attack],
                seed=seed,
                status=status,
                reason=reason,
                counts=applies and counts(attack, seed),
                cell_id=record.cell_id if record else None,
            )
            found.append(failure)
    return tuple(found)


def failures(group: Group, gated: Gated, played: Sequence[Record]) -> tuple[Failure, ...]:
    """Those of a horizontal task."""
    trained = utilities(group.sound(played))

    def counting(attack: str) -> list[Moment]:
        return [moment for moment in MOMENTS if gated.passes(attack, moment)]

    def absent(attack: str, record: Record) -> str:
        return _absent(group, record, counting(attack))

    def counts(attack: str, seed: int) -> bool:
        untrained = group.task.training is not None and seed not in trained
        return bool(counting(attack)) or untrained or group.task.adversary == "clients"

    return unusable(group, played, absent, counts)


def _state(group: TaskRecords[Any], record: Record | None, attack: str, absent: Absent) -> tuple[str, str]:
    """A cell's status and, where it is not ``ok``, the reason."""
    if record is None:
        return "missing", "no record of this cell"
    if record.status != "ok":
        return record.status, record.reason
    if record.cell_id in group.faults:
        return "error", group.faults[record.cell_id]
    reason = absent(attack, record)
    return ("error", reason) if reason else ("ok", "")


def _absent(group: Group, record: Record, counting: Iterable[Moment]) -> str:
    absent = [m for m in counting if m not in {done.moment for done in record.reconstructed if done.victims}]
    if absent:
        return f"the record holds no {' and no '.join(absent)} reconstruction"
    if group.task.training is not None and record.utility is None:
        return "the record holds no utility, though the task trains"
    if group.task.adversary == "clients" and record.integrity is None:
        return "the record holds no integrity, though the task's adversary are clients"
    return ""
