"""Defenses side by side on the tasks where they were played, each against the first one named."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fl_attack_bench.compare import samples
from fl_attack_bench.compare.figures import Figure, Measure, Side
from fl_attack_bench.compare.paired import Difference, paired
from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.record import Record
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.task_records import grouped
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks import HorizontalTask, OutsourcedTask, VerticalTask
from fl_attack_bench.tasks.base import BaseTask

# One program timed in two jobs differs by up to so much; see FINDINGS.
BETWEEN_JOBS = 1.26
Word = Literal[
    "first", "better", "worse", "equal", "within seed noise", "within timing noise", "one seed, cannot tell", "no pairs"
]  # fmt: skip
_TRACKS: tuple[tuple[type[BaseTask], Callable[[Sequence[Record]], list[Side]]], ...] = (
    (HorizontalTask, samples.horizontal),
    (VerticalTask, samples.vertical),
    (OutsourcedTask, samples.outsourced),
)


@dataclass(frozen=True)
class Against:
    """One figure of one defense beside the first one's.

    Args:
        figure: None where the defense's records hold none.
        difference: to the first one, paired; None where the measure has no noise to test, or nothing pairs.
        times: the first one's multiple, for costs.
        word: what that comes to for the defense.
    """

    figure: Figure | None
    difference: Difference | None
    times: float | None
    word: Word


@dataclass(frozen=True)
class Comparison:
    """Defenses on one task under one suite version and hardware profile.

    Args:
        sides: the first one named, then the others that have records there.
        lines: by measure, one entry a side.
    """

    sides: tuple[Side, ...]
    lines: Mapping[Measure, tuple[Against, ...]]

    @property
    def heading(self) -> str:
        """Task, suite and hardware in one line."""
        row = self.sides[0].row
        return f"{row.task.name}, suite {row.suite} version {row.suite_version}, on {row.hardware}"


def compare(records: Iterable[Record], asked: Sequence[MethodSpec]) -> list[Comparison]:
    """Every task on which the first defense and another one have records, by track, suite, hardware and task.

    A defense is named by its parameters as the suite wrote them, or without any, which stands for all of its entries.

    Args:
        records: of any tracks; the undefended ones are needed for the gate, named or not.
        asked: at least two defenses after the names are resolved.

    Raises:
        UserError: no records of a defense of that name (the nearest one is suggested), fewer than two defenses, or no
            task on which the first one and another one were played.
    """
    held = list(records)
    chosen = _resolve({key(record.cell.defense): record.cell.defense for record in held}, asked)
    if len(chosen) < 2:
        raise UserError(f"{', '.join(spec.label for spec in chosen)}: one defense; name at least two to compare")
    wanted = {key(spec) for spec in chosen}
    held = [r for r in held if r.cell.defense.is_baseline or key(r.cell.defense) in wanted]
    found = []
    for kind, sides_of in _TRACKS:
        for own in grouped(held, kind):
            played = {key(side.row.spec): side for side in sides_of(own)}
            sides = [played[key(spec)] for spec in chosen if key(spec) in played]
            if len(sides) > 1 and sides[0].row.spec == chosen[0]:
                found.append(_comparison(sides))
    if not found:
        raise UserError(f"no task on which {chosen[0].label} and another of the defenses have records")
    return found


def narrow(records: Iterable[Record], *, task: str = "", attack: str = "", hardware: str = "") -> list[Record]:
    """The records of one task, one attack (by its label or name) or one hardware profile; an empty name is for all.

    Raises:
        UnknownNameError: no record has it.
    """
    left = list(records)
    if task:
        _known("task", task, {record.cell.task.name for record in left})
        left = [record for record in left if record.cell.task.name == task]
    if hardware:
        _known("hardware profile", hardware, {record.cell.hardware for record in left})
        left = [record for record in left if record.cell.hardware == hardware]
    if attack:
        named = [(r, {r.cell.attack.label, r.cell.attack.family}) for r in left if r.cell.attack is not None]
        _known("attack", attack, {name for _, names in named for name in names})
        left = [record for record, names in named if attack in names]
    return left


def _known(what: str, name: str, legal: set[str]) -> None:
    if name not in legal:
        raise UnknownNameError(what, name, legal, "the records")


def _resolve(held: Mapping[str, MethodSpec], asked: Sequence[MethodSpec]) -> list[MethodSpec]:
    """The defenses that the names stand for, in the order in which they were named."""
    chosen: list[MethodSpec] = []
    for spec in asked:
        own = [known for known in held.values() if known == spec or known.label == spec.label]
        if not own and not any(part.parameters for part in spec.parts):
            own = [known for known in held.values() if known.family == spec.family]
        if not own:
            legal = {known.label for known in held.values()} | {known.family for known in held.values()}
            raise UnknownNameError("defense", spec.label, legal, "the records")
        chosen += [known for known in sorted(own, key=lambda one: one.label) if known not in chosen]
    return chosen


def _comparison(sides: Sequence[Side]) -> Comparison:
    measures = list(dict.fromkeys(measure for side in sides for measure in side.figures))
    lines = {}
    for measure in sorted(measures, key=lambda one: ("privacy", "utility", "cost").index(one.axis)):
        first = sides[0].figures.get(measure)
        others = tuple(_against(measure, first, side.figures.get(measure)) for side in sides[1:])
        lines[measure] = (Against(first, None, None, "first"), *others)
    return Comparison(tuple(sides), lines)


def _against(measure: Measure, first: Figure | None, other: Figure | None) -> Against:
    if first is None or other is None:
        return Against(other, None, None, "no pairs")
    if measure.axis == "cost":
        ratio = other.value / first.value if first.value else None
        return Against(other, None, ratio, _cost(measure, first.value, other.value))
    difference = paired(first.samples, other.samples)
    if difference is None:
        return Against(other, None, None, "no pairs")
    if difference.p is None:
        return Against(other, difference, None, "one seed, cannot tell")
    if not difference.beyond_noise:
        return Against(other, difference, None, "within seed noise" if difference.value else "equal")
    return Against(other, difference, None, "better" if (difference.value > 0) == measure.higher else "worse")


def _cost(measure: Measure, first: float, other: float) -> Word:
    """Bytes are exact. Seconds are timed once for all seeds: only a known spread between jobs can judge them."""
    if measure.unit == "seconds" and max(first, other) <= BETWEEN_JOBS * min(first, other):
        return "equal" if first == other else "within timing noise"
    if first == other:
        return "equal"
    return "better" if (other > first) == measure.higher else "worse"
