"""The vertical table: records gathered into rows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fl_attack_bench.record import Record
from fl_attack_bench.score.task_records import grouped
from fl_attack_bench.score.vertical.attacks import backdoors, inferences, inversions
from fl_attack_bench.score.vertical.failures import failures
from fl_attack_bench.score.vertical.gate import VerticalGated, judge
from fl_attack_bench.score.vertical.group import VerticalGroup
from fl_attack_bench.score.vertical.pareto import dominates
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.score.vertical.utility import cost, utility
from fl_attack_bench.tasks import VerticalTask


def vertical_rows(records: Iterable[Record]) -> tuple[VerticalRow, ...]:
    """Score the records of vertical tasks.

    The order in which they come does not matter; of two plays of one cell the later counts.

    Returns:
        Rows by suite, hardware and task; within a task the undefended one first, then by label.
    """
    return tuple(row for found in grouped(records, VerticalTask) for row in _marked(VerticalGroup(found)))


def _marked(group: VerticalGroup) -> list[VerticalRow]:
    """A task's rows with their Pareto marks."""
    gated = judge(group)
    scored = [_row(group, gated, played) for played in group.defenses]
    return [replace(row, pareto=row.competes and not any(dominates(other, row) for other in scored)) for row in scored]


def _row(group: VerticalGroup, gated: VerticalGated, played: Sequence[Record]) -> VerticalRow:
    row = VerticalRow(
        task=group.task,
        verdict="not attacked",
        backdoors=tuple(backdoors(group, gated, played)),
        inferences=tuple(inferences(group, gated, played)),
        inversions=tuple(inversions(group, gated, played)),
        asked=gated.asked,
        utility=utility(group.honest(played), group.honest(group.undefended)),
        cost=cost(group.sound(played), group.sound(group.undefended), group.task),
        **group.described(played, failures(group, gated, played)),
    )
    return replace(row, verdict=_verdict(gated, row))


def _verdict(gated: VerticalGated, row: VerticalRow) -> str:
    if not row.task.attacked:
        return "not attacked"
    if not gated.advantages:
        return "no baseline"
    if not gated.asked:
        return "attack too weak"
    return "scored" if row.played else "not attacked"
