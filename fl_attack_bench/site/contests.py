"""An attack on one task and machine: every variant against every defense, which ones it breaks, and by which rule."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score import reach
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.reach import Gain, Harm, Images, Reach
from fl_attack_bench.site import contents, integrity
from fl_attack_bench.site.cards import latest_method
from fl_attack_bench.site.contents import Scene
from fl_attack_bench.site.outsourced import BREAKS
from fl_attack_bench.suite import Gate, MethodSpec

Track = Literal["images", "clients", "vertical", "outsourced"]
MAX_REASONS = 3  # of one line
NO_VIEW = "no such view"  # of its party, under this protocol: no failure
_VERTICAL_KINDS = {"backdoor": "backdoor", "labels": "label inference", "features": "feature inversion"}
# What a kind of attack is called where no record says what it returns.
_KINDS: Mapping[Track, str] = {
    "images": "gradient leakage",
    "clients": "by clients",
    "vertical": "by a party",
    "outsourced": "outsourced view",
}


@dataclass(frozen=True)
class Variant:
    """One set of parameters of an attack.

    Args:
        spec: as the suite wrote it.
        method: as it was played last; None where no record says.
    """

    spec: MethodSpec
    method: MethodUsed | None

    @property
    def adaptive(self) -> bool | None:
        """Whether it uses what it knows of the defense; None for an attack without such a parameter."""
        found = self.method.parameters.get("adaptive") if self.method else None
        return found if isinstance(found, bool) else None


@dataclass(frozen=True)
class Cell:
    """One variant against one row.

    Args:
        reaches: what it reached; several where it is of several kinds.
        gaps: status and reason of its cells without a result.
    """

    reaches: tuple[Reach[Any], ...]
    gaps: tuple[tuple[str, str], ...]

    @property
    def order(self) -> float | str:
        """The figure that a table sorts by; empty where there is none."""
        found = _figure(self.reaches[0]) if self.reaches else None
        return found if found is not None and math.isfinite(found) else ""


@dataclass(frozen=True)
class Line:
    """All variants of an attack against one row."""

    row: BoardRow
    cells: tuple[Cell, ...]

    @property
    def broken(self) -> bool | None:
        """Whether any variant breaks it; None where none can be judged."""
        return _any(one.breaks for cell in self.cells for one in cell.reaches)

    @property
    def strongest(self) -> bool:
        """Whether any variant is the strongest attack on the row."""
        return any(one.strongest for cell in self.cells for one in cell.reaches)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why results are absent, the first that differ."""
        said = dict.fromkeys(reason for cell in self.cells for _, reason in cell.gaps if reason)
        return tuple(said)[:MAX_REASONS]


@dataclass(frozen=True)
class Contest:
    """An attack on one task and machine.

    Args:
        scene: the task's rows.
        track: what kind of figures there are.
        variants: one a column.
        lines: one a row of the board on which the attack was to be played.
        rule: when a row counts as broken, in a sentence.
    """

    scene: Scene[Any]
    track: Track
    variants: tuple[Variant, ...]
    lines: tuple[Line, ...]
    rule: str

    @property
    def path(self) -> str:
        """The task's page."""
        return contents.task_path(self.scene.rows[0])

    @property
    def works(self) -> bool | None:
        """Whether any variant breaks the undefended; None where no record says."""
        return _any(line.broken for line in self.lines if line.row.baseline)

    @property
    def spoils(self) -> bool:
        """Whether it is a backdoor that costs the undefended too much of the main task to stay unnoticed."""
        base = [one.figures for line in self.lines if line.row.baseline for cell in line.cells for one in cell.reaches]
        return any(isinstance(found, Gain) and found.result.spoils for found in base)

    @property
    def defended(self) -> tuple[Line, ...]:
        """The lines of defenses."""
        return tuple(line for line in self.lines if not line.row.baseline)

    @property
    def judged(self) -> tuple[Line, ...]:
        """Of those, the ones of which can be said whether they are broken."""
        return tuple(line for line in self.defended if line.broken is not None)

    @property
    def broken(self) -> int:
        """How many defenses it breaks, each set of parameters by itself."""
        return sum(bool(line.broken) for line in self.judged)

    @property
    def strongest(self) -> int:
        """On how many defenses it is the strongest attack."""
        return sum(line.strongest for line in self.defended)

    @property
    def unplayed(self) -> int:
        """On how many defenses no record holds a result of it."""
        return sum(not any(cell.reaches for cell in line.cells) for line in self.defended)


def contests(track: Track, scene: Scene[Any], records: Mapping[str, Record]) -> Iterator[Contest]:
    """One an attack that was to be played on the task."""
    played = [records[cell_id] for row in scene.rows for cell_id in row.records]
    specs = {key(record.cell.attack): record.cell.attack for record in played if record.cell.attack}
    held: dict[tuple[int, str], list[Reach[Any]]] = {}
    for one in _reaches(track, scene, records):
        held.setdefault((id(one.row), key(one.spec)), []).append(one)
    for name in sorted({spec.name for spec in specs.values()}):
        own = sorted(
            (spec for spec in specs.values() if spec.name == name), key=lambda spec: contents.in_order(spec.label)
        )
        lines = []
        for row in scene.rows:
            cells = [Cell(tuple(held.get((id(row), key(spec)), ())), _gaps(row, spec)) for spec in own]
            if any(cell.reaches or cell.gaps for cell in cells):
                lines.append(Line(row, tuple(cells)))
        yield Contest(scene, track, variants_of(own, played), tuple(lines), _rule(track, played))


def kinds(met: Sequence[Contest]) -> tuple[str, ...]:
    """What an attack goes for on its tasks, in a few words each; from its results where there are any."""
    found = {kind for contest in met for kind in _kinds(contest)}
    return tuple(sorted(found or {_KINDS[contest.track] for contest in met}))


def variants_of(specs: Iterable[MethodSpec], played: Iterable[Record]) -> tuple[Variant, ...]:
    """Sets of parameters, each with its method as it was played last."""
    held: dict[str, list[Record]] = defaultdict(list)
    for record in played:
        held[key(record.cell.attack)].append(record)
    return tuple(Variant(spec, latest_method(held[key(spec)])) for spec in specs)


def _reaches(track: Track, scene: Scene[Any], records: Mapping[str, Record]) -> Sequence[Reach[Any]]:
    if track == "outsourced":
        return reach.on_inputs(scene.rows, BREAKS)
    ways: Mapping[Track, Any] = {"images": reach.on_images, "clients": reach.by_clients, "vertical": reach.on_vertical}
    found: Sequence[Reach[Any]] = ways[track](scene.rows, records)
    return found


def _kinds(contest: Contest) -> set[str]:
    reaches = [one for line in contest.lines for cell in line.cells for one in cell.reaches]
    if contest.track == "vertical":
        return {_VERTICAL_KINDS[one.figures.result.kind] for one in reaches}
    if contest.track == "images" and reaches and not any(one.figures.mse is not None for one in reaches):
        moments = [at for one in reaches for at in one.figures.moments]
        found = {"label inference"} if any(at.labels is not None for at in moments) else set()
        return found | ({"representation inference"} if any(at.correlations for at in moments) else set())
    return {_KINDS[contest.track]} if reaches else set()


def _gaps(row: BoardRow, spec: MethodSpec) -> tuple[tuple[str, str], ...]:
    found = integrity.gap_words([gap for gap in (*row.failures, *row.skipped) if gap.attack == spec.label])
    absent = row.no_view if isinstance(row, OutsourcedRow) else ()
    return (*found, *((NO_VIEW, one.reason) for one in absent if one.attack == spec.label))


def _rule(track: Track, played: Sequence[Record]) -> str:
    """In a sentence, by the strictest gate of the undefended records, as the score has it."""
    base = [record for record in played if record.cell.defense.is_baseline] or list(played)
    gates = [record.gate for record in base] or [Gate()]
    share, mse = max(gate.share for gate in gates), min(gate.mse for gate in gates)
    gain, most = max(gate.advantage for gate in gates), min(gate.main_loss for gate in gates)
    if track == "images":
        return (
            "On horizontal tasks an attack breaks a defense if, at one moment of the training, at least "
            f"{100 * share:g}% of the images are rebuilt with a mean squared error below {mse:g}."
        )
    if track == "clients":
        return (
            "Attacks by clients know no gate. They are said to break a defense if the federation loses more than "
            f"{100 * most:g} points of accuracy (of R² where the targets are numbers) against honest clients."
        )
    if track == "vertical":
        return (
            f"On vertical tasks an attack breaks a defense if it reaches at least {100 * gain:g}% of what a blind "
            f"guess leaves over, and a backdoor costs the main task at most {100 * most:g} points of accuracy."
        )
    return (
        "On outsourced tasks an attack breaks a protocol if its mean squared error over the victims is below "
        f"{BREAKS:g}, features in [0, 1]."
    )


def _any(judgements: Iterable[bool | None]) -> bool | None:
    known = [one for one in judgements if one is not None]
    return any(known) if known else None


def _figure(one: Reach[Any]) -> float | None:
    found = one.figures
    if isinstance(found, Images):
        labels = [at.labels for at in found.moments if at.labels is not None]
        inner = [value for at in found.moments for value in at.correlations.values()]
        return found.mse if found.mse is not None else max(labels, default=max(inner, default=None))
    if isinstance(found, Harm):
        return found.under.learned.mean if found.under.learned else None
    if isinstance(found, Gain):
        figures = found.result.figures
        by_kind = {"backdoor": "success", "labels": "accuracy", "features": "mse"}
        value: float = getattr(figures, by_kind[found.result.kind]).mean
        return value
    mean: float = found.mse.mean
    return mean
