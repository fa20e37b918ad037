"""The horizontal table: records gathered into rows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fl_attack_bench.record import Record
from fl_attack_bench.score.attacks import attack_scores
from fl_attack_bench.score.cost import cost_score
from fl_attack_bench.score.failures import failures
from fl_attack_bench.score.gate import Gated, judge
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.integrity import integrity_score
from fl_attack_bench.score.learned import Quantity, quantity
from fl_attack_bench.score.pareto import dominates
from fl_attack_bench.score.privacy import guarantee, worst_case
from fl_attack_bench.score.row import Row, Verdict
from fl_attack_bench.score.task_records import grouped
from fl_attack_bench.score.triple import MOMENTS, WorstCase
from fl_attack_bench.score.utility import utility_score
from fl_attack_bench.tasks import HorizontalTask


def rows(records: Iterable[Record]) -> tuple[Row, ...]:
    """Score the records of horizontal tasks.

    The order in which they come does not matter; of two plays of one cell the later counts.

    Returns:
        Rows by suite, hardware and task; within a task the undefended federation first, then by label.
    """
    return tuple(row for found in grouped(records, HorizontalTask) for row in _marked(Group(found)))


def _marked(group: Group) -> list[Row]:
    """A task's rows with their Pareto marks."""
    gated = judge(group)
    what = quantity(record for played in group.defenses for record in group.sound(played))
    scored = [_row(group, gated, played, what) for played in group.defenses]
    return [replace(row, pareto=row.competes and not any(dominates(other, row) for other in scored)) for row in scored]


def _row(group: Group, gated: Gated, played: Sequence[Record], what: Quantity) -> Row:
    sound, undefended = group.sound(played), group.sound(group.undefended)
    moments = tuple(found for moment in MOMENTS if (found := worst_case(group, gated, played, moment)))
    return Row(
        task=group.task,
        verdict=_verdict(group, gated, moments),
        privacy=min(moments, key=lambda worst: worst.mean.value, default=None),
        moments=moments,
        attacks=attack_scores(group, gated, played),
        utility=utility_score(sound, undefended, what),
        integrity=integrity_score(group, played, what),
        cost=cost_score(sound, undefended),
        guarantee=guarantee(sound),
        **group.described(played, failures(group, gated, played)),
    )


def _verdict(group: Group, gated: Gated, moments: Sequence[WorstCase]) -> Verdict:
    if group.task.adversary == "clients":
        return "integrity"
    if group.task.victims is None:
        return "not attacked"
    if group.inferring and not group.imaging:
        return "no images"
    if not gated.shares:
        return "no baseline"
    if not any(gated.counting(moment) for moment in MOMENTS):
        return "attack too weak"
    return "scored" if moments else "not attacked"
