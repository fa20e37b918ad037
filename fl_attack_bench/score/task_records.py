"""The records of one task, whatever its track, sorted out by defense and attack."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score.board_row import Failure
from fl_attack_bench.score.identity import attack_label, key, newest, started
from fl_attack_bench.score.notes import fingerprints, notes
from fl_attack_bench.tasks.base import BaseTask

T = TypeVar("T", bound=BaseTask)


class TaskRecords(Generic[T]):
    """All records of one suite version, hardware profile and task, one record a cell.

    Args:
        records: at least one.
        kind: of their task.
        fault: why a record cannot be true; empty where it can.

    Attributes:
        task: theirs, with the published figures of the latest record.
        seeds: rising.
        attacks: label by key; none without an attack on a task where something is attacked.
        specs: the attacks by key, as the suite wrote them.
        faults: by cell id, why a record cannot be true.
        defenses: each one's records by seed and attack; the undefended one first, then by label.
        undefended: the undefended one's records; empty where there are none.
    """

    def __init__(self, records: Sequence[Record], kind: type[T], fault: Callable[[Record], str]) -> None:
        self.task = _task(records, kind)
        self.seeds = tuple(sorted({record.cell.seed for record in records}))
        self.attacks = {key(spec): attack_label(spec) for spec in (record.cell.attack for record in records)}
        self.specs = {key(spec): spec for spec in (record.cell.attack for record in records) if spec is not None}
        if self.task.attacked:
            self.attacks.pop(key(None), None)
        self.defenses = _by_defense(records)
        first = self.defenses[0]
        self.undefended = first if first[0].cell.defense.is_baseline else []
        self.faults = {record.cell_id: reason for record in records if (reason := fault(record))}

    def attacks_by_label(self) -> list[str]:
        """The attacks' keys, sorted by label."""
        return sorted(self.attacks, key=lambda attack: (self.attacks[attack], attack))

    def sound(self, played: Iterable[Record]) -> list[Record]:
        """Those of the records that can be true, whatever their status."""
        return [record for record in played if record.cell_id not in self.faults]

    def described(self, played: Sequence[Record], unusable: Sequence[Failure]) -> dict[str, Any]:
        """What a :class:`BoardRow` says of a defense's records beside its task, its verdict and its figures."""
        first = played[0].cell
        data, baseline = fingerprints(self.sound(played)), fingerprints(self.sound(self.undefended))
        return {
            "suite": first.suite,
            "suite_version": first.suite_version,
            "hardware": first.hardware,
            "defense": first.defense.label,
            "spec": first.defense,
            "method": _latest_method(played),
            "seeds": self.seeds,
            "cells": len(self.attacks) * len(self.seeds),
            "failures": tuple(failure for failure in unusable if failure.status != "skipped"),
            "skipped": tuple(failure for failure in unusable if failure.status == "skipped"),
            "complete": not any(failure.counts for failure in unusable),
            "same_data": len(data | baseline) < 2,
            "records": tuple(record.cell_id for record in played),
            "commands": tuple(dict.fromkeys(record.provenance.command for record in played)),
            "notes": notes(played, data, baseline),
        }


def grouped(records: Iterable[Record], kind: type[BaseTask]) -> Iterator[list[Record]]:
    """Those whose task is of a kind, the latest of each cell, by suite, hardware and the task's content."""
    groups: dict[tuple[str, int, str, str], list[Record]] = defaultdict(list)
    for record in latest(records):
        cell = record.cell
        if isinstance(cell.task, kind):
            groups[(cell.suite, cell.suite_version, cell.hardware, key(cell.task))].append(record)
    for name in sorted(groups, key=lambda name: (*name[:3], groups[name][0].cell.task.name, name[3])):
        yield groups[name]


def latest(records: Iterable[Record]) -> list[Record]:
    """One record a cell: the one that started last; sorted by cell id."""
    kept: dict[str, Record] = {}
    for record in records:
        other = kept.get(record.cell_id)
        if other is None or _age(record) > _age(other):
            kept[record.cell_id] = record
    return [kept[cell_id] for cell_id in sorted(kept)]


def _age(record: Record) -> tuple[datetime, str]:
    return started(record), record.model_dump_json()


def _task(records: Iterable[Record], kind: type[T]) -> T:
    """The undefended one's latest record's, if there is one: whoever adds a defense adds no paper's figures."""
    found = list(records)
    last = newest([record for record in found if record.cell.defense.is_baseline] or found)
    if last is None or not isinstance(last.cell.task, kind):
        raise TypeError(f"task {last.cell.task.name!r} is no {kind.__name__}" if last else "no records")
    return last.cell.task


def _latest_method(played: Sequence[Record]) -> MethodUsed | None:
    found = newest(record for record in played if record.defense is not None)
    return found.defense if found else None


def _by_defense(records: Iterable[Record]) -> list[list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.cell.seed, key(record.cell.attack))):
        found[key(record.cell.defense)].append(record)
    specs = {name: same[0].cell.defense for name, same in found.items()}
    order = sorted(specs, key=lambda name: (not specs[name].is_baseline, specs[name].label, name))
    return [found[name] for name in order]
