"""The table: records gathered into rows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score.attacks import attack_scores
from fl_attack_bench.score.cost import cost_score
from fl_attack_bench.score.failures import failures
from fl_attack_bench.score.gate import Gated, judge
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.identity import key, started
from fl_attack_bench.score.integrity import integrity_score
from fl_attack_bench.score.learned import Quantity, quantity
from fl_attack_bench.score.notes import fingerprints, notes
from fl_attack_bench.score.pareto import dominates
from fl_attack_bench.score.privacy import guarantee, worst_case
from fl_attack_bench.score.row import Row, Verdict
from fl_attack_bench.score.triple import MOMENTS, WorstCase
from fl_attack_bench.score.utility import utility_score


def rows(records: Iterable[Record]) -> tuple[Row, ...]:
    """Score records. The order in which they come does not matter; of two plays of one cell the later counts.

    Returns:
        Rows by suite, hardware and task; within a task the undefended federation first, then by label.
    """
    groups: dict[tuple[str, int, str, str], list[Record]] = defaultdict(list)
    for record in latest(records):
        cell = record.cell
        groups[(cell.suite, cell.suite_version, cell.hardware, key(cell.task))].append(record)
    order = sorted(groups, key=lambda name: (*name[:3], groups[name][0].cell.task.name, name[3]))
    return tuple(row for name in order for row in _marked(Group(groups[name])))


def latest(records: Iterable[Record]) -> list[Record]:
    """One record a cell: the one that started last; sorted by cell id."""
    kept: dict[str, Record] = {}
    for record in records:
        other = kept.get(record.cell_id)
        if other is None or _age(record) > _age(other):
            kept[record.cell_id] = record
    return [kept[cell_id] for cell_id in sorted(kept)]


def _marked(group: Group) -> list[Row]:
    """A task's rows with their Pareto marks."""
    gated = judge(group)
    what = quantity(record for played in group.defenses for record in group.sound(played))
    scored = [_row(group, gated, played, what) for played in group.defenses]
    return [replace(row, pareto=row.competes and not any(dominates(other, row) for other in scored)) for row in scored]


def _row(group: Group, gated: Gated, played: Sequence[Record], what: Quantity) -> Row:
    first, sound, undefended = played[0].cell, group.sound(played), group.sound(group.undefended)
    moments = tuple(found for moment in MOMENTS if (found := worst_case(group, gated, played, moment)))
    unusable = failures(group, gated, played)
    return Row(
        suite=first.suite,
        suite_version=first.suite_version,
        hardware=first.hardware,
        task=group.task,
        defense=first.defense.label,
        spec=first.defense,
        method=_latest_method(played),
        verdict=_verdict(group, gated, moments),
        privacy=min(moments, key=lambda worst: worst.mean.value, default=None),
        moments=moments,
        attacks=attack_scores(group, gated, played),
        utility=utility_score(sound, undefended, what),
        integrity=integrity_score(group, played, what),
        cost=cost_score(sound, undefended),
        guarantee=guarantee(sound),
        seeds=group.seeds,
        cells=len(group.attacks) * len(group.seeds),
        failures=tuple(failure for failure in unusable if failure.status != "skipped"),
        skipped=tuple(failure for failure in unusable if failure.status == "skipped"),
        complete=not any(failure.counts for failure in unusable),
        same_data=len(fingerprints(sound) | fingerprints(undefended)) < 2,
        pareto=False,
        records=tuple(record.cell_id for record in played),
        commands=tuple(dict.fromkeys(record.provenance.command for record in played)),
        notes=notes(played, fingerprints(sound), fingerprints(undefended)),
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


def _latest_method(played: Sequence[Record]) -> MethodUsed | None:
    known = [record for record in played if record.defense is not None]
    return max(known, key=lambda record: (started(record), record.cell_id)).defense if known else None


def _age(record: Record) -> tuple[datetime, str]:
    return started(record), record.model_dump_json()
