"""Plays a sample of a submission's cells again, and holds what comes out against what was handed in."""

import hashlib
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fl_attack_bench import engine, hardware, provenance, runner
from fl_attack_bench.jobs import Settings
from fl_attack_bench.record import Record
from fl_attack_bench.store import Store, write
from fl_attack_bench.submission import manifest as manifests
from fl_attack_bench.submission.manifest import MANIFEST, VERIFIED, Verified
from fl_attack_bench.suite import Cell, Suite

TOLERANCE = 0.05  # relative, of the larger of the two; leaderboard/RULES.md states it
FLOOR = 1e-4  # absolute: an MSE of an image as good as the original, a hundredth of a point of accuracy
ABSENT = "absent"
# How a figure was come by, step by step: an optimisation takes another course on another machine.
_COURSE = frozenset({"curve", "losses", "objective", "iterations"})
_LARGEST = 1e300  # a whole number in JSON has any length, a float has not
Play = Callable[[Sequence[Cell]], Mapping[str, Record]]


@dataclass(frozen=True)
class Difference:
    """A figure that did not come out the same.

    Args:
        key: where it stands in the record; ``*`` is the mean over a list.
        submitted: as handed in.
        again: as played again.
    """

    key: str
    submitted: Any
    again: Any


@dataclass(frozen=True)
class Replayed:
    """One cell that was played again.

    Args:
        cell_id: the cell.
        exact: whether its figures had to come out bit for bit, or within the tolerance.
        differences: the figures that did not.
    """

    cell_id: str
    exact: bool
    differences: tuple[Difference, ...]


def sample(cell_ids: Iterable[str], count: int, seed: int) -> list[str]:
    """So many cells, drawn by the sha256 of the seed and the cell's id: the same on every machine; sorted by id."""
    drawn = sorted(set(cell_ids), key=lambda cell_id: hashlib.sha256(f"{seed}\n{cell_id}".encode()).digest())
    return sorted(drawn[:count])


def replay(suite: Suite, cells: Sequence[Cell], data_dir: Path) -> dict[str, Record]:
    """Play cells as ``flab run --jobs 1 --no-tracking`` does, in a folder that is taken away afterwards.

    Args:
        suite: whose limits and gate hold.
        cells: at least one, all on one hardware profile.
        data_dir: where datasets lie.

    Raises:
        UserError: the profile needs what the machine lacks, or a method does not load.
        KeyboardInterrupt: the run was stopped.
    """
    machine = hardware.detect()
    profile, matched = hardware.choose(cells[0].hardware, machine, force=True)
    with tempfile.TemporaryDirectory(prefix="flab-verify-") as scratch:
        store = Store(Path(scratch))
        summary = runner.run(
            suite,
            cells,
            Settings(work=store.work, data_dir=data_dir.resolve()),
            profile=profile,
            machine=machine,
            store=store,
            command=lambda cell: provenance.command(suite.suite, cell),
            matched=matched,
        )
        if summary.interrupted:
            raise KeyboardInterrupt
        return {cell.id: store.read(cell.id) for cell in cells}


def compare(submitted: Record, again: Record, play: Play) -> Replayed:
    """Hold a record against that of its cell, played again.

    On the same machine with the same packages the figures must come out bit for bit, if they do at all. Some
    defenses draw secrets from the operating system: where two plays in a row differ, the tolerance holds, as on
    another machine.

    Args:
        submitted: as handed in.
        again: as played again.
        play: plays cells once more.
    """
    exact = tuple(differences(submitted, again, exact=True))
    if not exact:
        return Replayed(submitted.cell_id, True, ())
    tolerated = tuple(differences(submitted, again, exact=False))
    if tolerated or not same_place(submitted, again):
        return Replayed(submitted.cell_id, False, tolerated)
    twice = play([submitted.cell])[submitted.cell_id]
    repeats = not any(differences(again, twice, exact=True))
    return Replayed(submitted.cell_id, repeats, exact if repeats else ())


def same_place(one: Record, other: Record) -> bool:
    """Whether two records were made on one machine with the same packages."""
    mine, its = one.provenance, other.provenance
    return mine.machine == its.machine and mine.packages == its.packages


def differences(submitted: Record, again: Record, *, exact: bool) -> Iterator[Difference]:
    """The figures that differ: any, or by more than the tolerance.

    Within the tolerance is ``|a - b| <= max(TOLERANCE max(|a|, |b|), FLOOR)``. There, victims are compared by their
    mean, and the course of a training or of an attack is left out. Timings never count, nor does the text of a reason.
    """
    mine, other = (dict(_leaves(_figures(one), "", pooled=not exact)) for one in (submitted, again))
    for key in sorted(mine.keys() | other.keys()):
        a, b = mine.get(key, ABSENT), other.get(key, ABSENT)
        if not (_equal(a, b) if exact else _close(a, b)):
            yield Difference(key, a, b)


def mark(place: Path, played: Sequence[Replayed], seed: int) -> Path:
    """Write ``verified.json`` for a submission whose sample came out the same; returns its path."""
    verified = Verified(
        manifest_sha256=manifests.sha256(manifests.content(place / MANIFEST)),
        cells=[one.cell_id for one in played],
        seed=seed,
        exact=all(one.exact for one in played),
        when=datetime.now(UTC),
        program=engine.version(),
        machine=hardware.detect().described(),
        packages=provenance.packages(),
    )
    write(place / VERIFIED, manifests.text(verified))
    return place / VERIFIED


def unmark(place: Path) -> None:
    """Take an earlier mark away from a submission that did not come out this time."""
    (place / VERIFIED).unlink(missing_ok=True)


def _figures(record: Record) -> dict[str, Any]:
    """A record without timings, the cell, and what tells only where and when it was made."""
    data = record.without_timings()
    kept = {key: data[key] for key in data if key not in ("schema_version", "cell_id", "cell", "gate", "reason")}
    origin = kept.pop("provenance")
    kept["reconstructed"] = {moment["moment"]: moment for moment in kept["reconstructed"]}
    return kept | {"dataset_fingerprint": origin["dataset_fingerprint"]}


def _leaves(value: Any, key: str, *, pooled: bool) -> Iterator[tuple[str, Any]]:
    """Every figure with its place; ``pooled``: lists of mappings, as victims are, become the means of their figures."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not (pooled and name in _COURSE):
                yield from _leaves(inner, f"{key}.{name}" if key else str(name), pooled=pooled)
    elif isinstance(value, list) and pooled and value and all(isinstance(one, Mapping) for one in value):
        gathered: dict[str, list[Any]] = {}
        for one in value:
            for name, figure in _leaves(one, f"{key}.*", pooled=pooled):
                gathered.setdefault(name, []).append(figure)
        for name, figures in gathered.items():
            numbers = [_number(figure) for figure in figures if isinstance(figure, int | float)]
            yield name, statistics.fmean(numbers) if numbers else figures[0]
        yield f"{key}.count", len(value)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{place}", pooled=pooled)
    else:
        yield key, value


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return bool(a == b)
    mine, other = _number(a), _number(b)
    return abs(mine - other) <= max(TOLERANCE * max(abs(mine), abs(other)), FLOOR)


def _number(value: float) -> float:
    return float(min(max(value, -_LARGEST), _LARGEST))
