"""The outsourced table: records gathered into rows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fl_attack_bench.record import Record
from fl_attack_bench.score.outsourced.attacks import attacks, exposures
from fl_attack_bench.score.outsourced.cost import cost
from fl_attack_bench.score.outsourced.failures import failures
from fl_attack_bench.score.outsourced.group import OutsourcedGroup
from fl_attack_bench.score.outsourced.pareto import dominates
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.outsourced.utility import utility
from fl_attack_bench.score.task_records import grouped
from fl_attack_bench.tasks import OutsourcedTask


def outsourced_rows(records: Iterable[Record]) -> tuple[OutsourcedRow, ...]:
    """Score the records of outsourced tasks.

    The order in which they come does not matter; of two plays of one cell the later counts. There is no gate: where
    nothing is defended the data lie in the clear.

    Returns:
        Rows by suite, hardware and task; within a task the undefended one first, then by label.
    """
    return tuple(row for found in grouped(records, OutsourcedTask) for row in _marked(OutsourcedGroup(found)))


def _marked(group: OutsourcedGroup) -> list[OutsourcedRow]:
    """A task's rows with their Pareto marks."""
    scored = [_row(group, played) for played in group.defenses]
    return [replace(row, pareto=row.competes and not any(dominates(other, row) for other in scored)) for row in scored]


def _row(group: OutsourcedGroup, played: Sequence[Record]) -> OutsourcedRow:
    results = group.results(played)
    unusable, no_view = failures(group, played)
    row = OutsourcedRow(
        task=group.task,
        verdict="not attacked",
        exposures=exposures(group, played),
        attacks=attacks(group, played),
        no_view=no_view,
        utility=utility(results),
        cost=cost(results, group.results(group.undefended)),
        **group.described(played, unusable),
    )
    return replace(row, verdict=_verdict(row, everything=len(no_view) == len(group.attacks)))


def _verdict(row: OutsourcedRow, *, everything: bool) -> str:
    """``everything``: whether all that was to be played was skipped."""
    if everything and row.utility is None:
        return "not played"
    if not row.task.attacked:
        return "not attacked"
    if everything:
        return "no attack applies"
    return "scored" if row.exposures else "not attacked"
