"""The records of a head against those of its base, on the same cells."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fl_attack_bench.compare.verdict import Quantity, Timing, Tolerances, worse
from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Record
from fl_attack_bench.score.estimates import mean
from fl_attack_bench.score.identity import attack_label, key
from fl_attack_bench.score.task_records import latest

Axis = Literal["cell", "privacy", "utility", "cost"]
State = Literal["ok", "regression", "note"]
_PLAYED = ("ok", "skipped")


@dataclass(frozen=True)
class Check:
    """One thing that was held against the base.

    Args:
        axis: of which part of the triple; ``cell`` where a cell itself is amiss.
        task: its name.
        defense: its label.
        attack: its label, ``utility`` for a cell without one, or empty where the attack makes no difference.
        what: the figure's name with its unit.
        base: the base's figure; None where there is none.
        head: the head's.
        state: ``regression`` fails, ``note`` is only told.
        reason: in words; empty where all is well.
    """

    axis: Axis
    task: str
    defense: str
    attack: str
    what: str
    base: float | None
    head: float | None
    state: State
    reason: str = ""


@dataclass(frozen=True)
class _Asked:
    """A figure's name and how it is judged."""

    axis: Axis
    what: str
    quantity: Quantity
    higher: bool


def check_records(base: Iterable[Record], head: Iterable[Record], tolerances: Tolerances) -> list[Check]:
    """Hold the records of a head against those of its base, cell by cell.

    A figure is the mean over the seeds, and over each seed's victims, of the cells of one task, attack and defense that
    are ``ok`` on both sides; so one seed that went another way among many does not decide. A cell that fails on the
    head only, or is on the base only, is a regression. One that fails on the base only, or is on the head only, has
    nothing to be held against and is noted.

    Returns:
        By task, defense and attack.

    Raises:
        UserError: no cell is on both sides.
    """
    first = {record.cell_id: record for record in latest(base)}
    second = {record.cell_id: record for record in latest(head)}
    if not first.keys() & second.keys():
        raise UserError(
            "no cell is on both sides: suite, its version, hardware profile, tasks, methods and seeds must be the same"
        )
    checks = list(_cells(first, second))
    pairs: dict[tuple[str, str, str], list[tuple[Record, Record]]] = defaultdict(list)
    for cell_id in sorted(first.keys() & second.keys()):
        mine, other = first[cell_id], second[cell_id]
        if mine.status == other.status == "ok":
            cell = mine.cell
            pairs[key(cell.task), key(cell.defense), key(cell.attack)].append((mine, other))
    for both in pairs.values():
        checks += _figures(both, tolerances)
    told = dict.fromkeys(_of_training(check) for check in checks)
    return sorted(told, key=lambda one: (one.task, one.defense, one.attack, one.axis, one.what))


def timed(record: Record, found: Timing, tolerance: float) -> Check:
    """The check that a timing in turns comes to, of the task and defense of a record; medians in seconds."""
    cell = record.cell
    reason = ""
    if found.slower:
        apart = 100 * (min(found.head) / max(found.base) - 1) if max(found.base) else math.inf
        reason = (
            f"the fastest of {len(found.head)} head rounds is {apart:.0f}% slower than the slowest base round "
            f"(more than {100 * tolerance:g}%)"
        )
    elif found.unsure:
        spread = 100 * (max(found.base) / min(found.base) - 1) if min(found.base) else math.inf
        reason = f"the base's own rounds differ by {spread:.0f}%: a slowdown of {100 * tolerance:g}% could hide in that"
    elif found.overlapping:
        reason = (
            f"the medians differ by {100 * (found.head_median / found.base_median - 1):.0f}%, but the rounds overlap"
        )
    state: State = "regression" if found.slower else "ok" if found.settled else "note"
    medians = found.base_median, found.head_median
    return Check("cost", cell.task.name, cell.defense.label, "", "seconds, in turns", *medians, state, reason)


def recorded(base: Iterable[Record], head: Iterable[Record]) -> list[Check]:
    """The seconds that both sides' records hold, by task and defense: told, not judged, as they are of two jobs."""
    sides: list[dict[tuple[str, str], Record]] = []
    for records in (base, head):
        sides.append({(key(r.cell.task), key(r.cell.defense)): r for r in latest(records) if _clocked(r) is not None})
    reason = "of two jobs: one program differs by up to 26% between them"
    found = []
    for name in sorted(sides[0].keys() & sides[1].keys()):
        first, second = (side[name] for side in sides)
        where = first.cell.task.name, first.cell.defense.label
        found.append(Check("cost", *where, "", "seconds, recorded", _clocked(first), _clocked(second), "note", reason))
    return found


def _clocked(record: Record) -> float | None:
    """A record's seconds of everybody's computing, of one round, epoch or inference batch; None where it has none."""
    parts: list[float | None] = []
    if record.cost is not None:
        parts = [record.cost.client_seconds, record.cost.server_seconds]
    elif record.vertical is not None and record.vertical.cost is not None:
        parts = [record.vertical.cost.passive_seconds, record.vertical.cost.active_seconds]
    elif record.outsourced is not None and record.outsourced.cost is not None:
        parts = [record.outsourced.cost.inference.seconds]
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _of_training(check: Check) -> Check:
    """Utility and cost do not depend on the attack: what the cells of several attacks say alike is said once."""
    return replace(check, attack="") if check.axis in ("utility", "cost") else check


def _cells(base: Mapping[str, Record], head: Mapping[str, Record]) -> Iterator[Check]:
    for cell_id in sorted(base.keys() | head.keys()):
        mine, other = base.get(cell_id), head.get(cell_id)
        sound = mine is not None and mine.status in _PLAYED, other is not None and other.status in _PLAYED
        known = mine or other
        if known is None or (sound[0] == sound[1] and (mine is None) == (other is None)):
            if mine is not None and other is not None and mine.status != other.status and all(sound):
                state: State = "regression" if other.status == "skipped" else "note"
                yield _cell(mine, state, f"{mine.status} on the base, {other.status} on the head: {other.reason}")
            continue
        if other is None:
            yield _cell(known, "regression", "the head has no record of this cell")
        elif mine is None:
            yield _cell(known, "note", f"only on the head: {other.status}, nothing to compare with")
        elif sound[0]:
            yield _cell(known, "regression", f"{other.status} on the head only: {other.reason}")
        else:
            yield _cell(known, "note", f"{mine.status} on the base only: repaired, nothing to compare with")


def _cell(record: Record, state: State, reason: str) -> Check:
    cell = record.cell
    name = attack_label(cell.attack)
    return Check("cell", cell.task.name, cell.defense.label, name, f"seed {cell.seed}", None, None, state, reason)


def _figures(both: Sequence[tuple[Record, Record]], tolerances: Tolerances) -> Iterator[Check]:
    """One check a figure that the records of a task, an attack and a defense hold, on the same seeds."""
    cell = both[0][0].cell
    held: dict[_Asked, list[tuple[float, float]]] = defaultdict(list)
    for mine, other in both:
        base, head = dict(_held(mine)), dict(_held(other))
        for asked in base.keys() | head.keys():
            if asked not in base:
                continue
            if asked not in head:
                reason = f"seed {mine.cell.seed}: the head's record does not hold it"
                yield Check(asked.axis, cell.task.name, cell.defense.label, attack_label(cell.attack), asked.what,
                            base[asked], None, "regression", reason)  # fmt: skip
                continue
            held[asked].append((base[asked], head[asked]))
    for asked, pairs in held.items():
        base_mean, head_mean = mean([pair[0] for pair in pairs]), mean([pair[1] for pair in pairs])
        bad = worse(asked.quantity, base_mean, head_mean, tolerances, higher=asked.higher)
        state: State = "regression" if bad else "ok"
        reason = _reason(asked, base_mean, head_mean, tolerances) if bad else ""
        yield Check(asked.axis, cell.task.name, cell.defense.label, attack_label(cell.attack), asked.what,
                    base_mean, head_mean, state, reason)  # fmt: skip


def _reason(asked: _Asked, base: float, head: float, tolerances: Tolerances) -> str:
    if asked.quantity == "share":
        return f"{100 * abs(head - base):.1f} points worse (more than {100 * tolerances.points:g})"
    if asked.quantity == "mse":
        return f"{100 * (1 - head / base):.0f}% lower (more than {100 * tolerances.mse:g}%): less privacy"
    grown = f"{100 * (head / base - 1):.1f}% more" if base and math.isfinite(head) else "more"
    return f"{grown} (more than {100 * tolerances.exact:g}%)"


def _held(record: Record) -> Iterator[tuple[_Asked, float]]:
    """Every figure of one record that a tolerance is set for."""
    for done in record.reconstructed:
        if done.victims:
            yield _Asked("privacy", f"MSE, {done.moment}", "mse", True), mean([one.mse for one in done.victims])
            if record.cell.defense.is_baseline:  # an attack that no longer works would make every defense look better
                broken = mean([float(one.mse < record.gate.mse and not one.diverged) for one in done.victims])
                passed = float(broken >= record.gate.share)
                yield _Asked("privacy", f"attack passes the gate, {done.moment}", "share", True), passed
        if done.label_accuracy is not None:
            yield _Asked("privacy", f"labels inferred, {done.moment}", "share", False), done.label_accuracy
    if record.utility is not None:
        yield _Asked("utility", "test accuracy", "share", True), record.utility.accuracy
    if record.integrity is not None:
        yield _Asked("privacy", "accuracy under attack", "share", True), record.integrity.accuracy
    if record.privacy is not None:
        for name, value in (("server", record.privacy.epsilon_server), ("model", record.privacy.epsilon_model)):
            yield _Asked("privacy", f"epsilon, {name}", "epsilon", False), math.inf if value is None else value
    if record.cost is not None:
        yield _Asked("cost", "bytes a round", "bytes", False), record.cost.bytes_total / max(1, record.cost.rounds)
    yield from _of_vertical(record)
    yield from _of_outsourced(record)


def _of_vertical(record: Record) -> Iterator[tuple[_Asked, float]]:
    found = record.vertical
    if found is None:
        return
    if found.honest is not None:
        yield _Asked("utility", "test accuracy", "share", True), found.honest.accuracy
    if found.attacked is not None and found.attacked.triggered is not None:
        yield _Asked("privacy", "backdoor success", "share", False), found.attacked.triggered.success
    if found.labels is not None:
        yield _Asked("privacy", "labels inferred", "share", False), found.labels.accuracy
    if found.features is not None:
        yield _Asked("privacy", "feature MSE", "mse", True), mean([one.mse for one in found.features.victims])
    if found.cost is not None:
        yield _Asked("cost", "bytes an epoch", "bytes", False), found.cost.bytes_total / found.cost.epochs


def _of_outsourced(record: Record) -> Iterator[tuple[_Asked, float]]:
    found = record.outsourced
    if found is None:
        return
    if found.learned is not None:
        yield _Asked("utility", "test accuracy", "share", True), found.learned.accuracy
    if found.inputs is not None:
        yield _Asked("privacy", "input MSE", "mse", True), mean([one.mse for one in found.inputs.victims])
    if found.cost is not None:
        sent = sum(one.sent + one.offline_sent for one in found.cost.inference.parties.values())
        yield _Asked("cost", "bytes, setup and training", "bytes", False), found.cost.bytes_total
        yield _Asked("cost", "bytes an inference batch", "bytes", False), sent
