"""Failures of outsourced cells, and the attacks that have no view to work on."""

from collections.abc import Sequence

from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import Failure
from fl_attack_bench.score.failures import unusable
from fl_attack_bench.score.outsourced.group import OutsourcedGroup
from fl_attack_bench.score.outsourced.row import NoView


def failures(group: OutsourcedGroup, played: Sequence[Record]) -> tuple[tuple[Failure, ...], tuple[NoView, ...]]:
    """Cells without a usable result, by attack and seed; apart from them the attacks that were skipped on every seed.

    There is no gate: every attack counts.
    """

    def absent(_: str, record: Record) -> str:
        result = record.outsourced
        if result is None or result.learned is None or result.cost is None:
            return "the record does not hold both an accuracy and a cost"
        return "the record holds no reconstruction" if group.task.attacked and result.inputs is None else ""

    found = unusable(group, played, absent, lambda *_: True)
    idle = [failure for failure in found if failure.status == "skipped" and not failure.counts]
    reasons = {failure.attack: failure.reason for failure in reversed(idle)}
    return (
        tuple(failure for failure in found if failure not in idle),
        tuple(NoView(attack, reasons[attack]) for attack in sorted(reasons)),
    )
