"""Originals beside reconstructions, as small PNG files named by their content."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl_attack_bench.outsourced_record import InputError
from fl_attack_bench.record import Record, VictimScore
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced.row import InputAttack, Moment, OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.vertical_record import FeatureError

FILE = "reconstructions.npz"
MAX_BYTES = 256_000_000
SHOWN = 10
Arrays = Mapping[str, NDArray[np.uint8]]
NAMES = ("originals", "initial", "trained", "training", "inference")
Score = VictimScore | FeatureError | InputError
Rebuilt = Callable[[Record], Sequence[FeatureError | InputError]]
H = TypeVar("H")


@dataclass(frozen=True)
class Shot:
    """One reconstruction beside its original; paths are relative to the site."""

    original: str
    reconstruction: str
    score: Score
    seed: int
    attack: str


@dataclass(frozen=True)
class Strip:
    """What one attack made of one defense: the lowest MSE first, then the highest, then evenly spaced ones between.

    ``weak``: the attack does not count at this moment.
    """

    attack: str
    moment: str
    shots: tuple[Shot, ...]
    total: int
    weak: bool = False


@dataclass(frozen=True)
class Sheet(Generic[H]):
    """The same images one line below the other: under every defense of a task, or by every variant of an attack.

    Args:
        seed: the one that all pictures come from.
        originals: the sample's id and picture, one a column.
        lines: what the line is of, with one shot a column; None where no picture is.
    """

    seed: int
    originals: tuple[tuple[int, str], ...]
    lines: tuple[tuple[H, tuple[Shot | None, ...]], ...]


@dataclass
class Gallery:
    """Reads the cells' arrays and writes the pictures that the pages show.

    Args:
        pictures: folder by cell id.
        out: the site's folder.
        warnings: filled with one line for each file that could not be used.
    """

    pictures: Mapping[str, Path]
    out: Path
    warnings: list[str] = field(default_factory=list)
    _cache: dict[str, Arrays | None] = field(default_factory=dict)
    _names: dict[bytes, str] = field(default_factory=dict)  # of what is written, by the pixels' hash

    def strip(self, attack: str, moment: str, records: Iterable[Record]) -> Strip | None:
        """The reconstructions of one attack and defense at one moment, over all its seeds."""
        found = [
            (score.mse, record.cell.seed, place, record, score)
            for record in records
            for place, score in _scores(record, moment)
            if self._arrays(record) is not None
        ]
        ranked = sorted(found, key=lambda item: item[:3])
        shots = [self._shot(ranked[index], moment, attack) for index in spread(len(ranked), SHOWN)]
        kept = tuple(shot for shot in shots if shot)
        return Strip(attack, moment, kept, len(ranked)) if kept else None

    def same(self, shot: Shot, moment: str, records: Iterable[Record]) -> Shot | None:
        """The same image on the same seed in other records of the attack; None where none holds it."""
        for record in records:
            for place, score in _scores(record, moment) if record.cell.seed == shot.seed else ():
                if score.victim == shot.score.victim:
                    return self._shot((score.mse, shot.seed, place, record, score), moment, shot.attack)
        return None

    def sheet(self, rows: Sequence[Row], records: Mapping[str, Record]) -> Sheet[BoardRow] | None:
        """The same victims under every defense, for the lowest seed that has pictures."""
        lines: list[tuple[BoardRow, dict[int, Shot]]] = []
        seed = min((r.cell.seed for row in rows for r in self._played(row, records)), default=0)
        for row in rows:
            shots: dict[int, Shot] = {}
            moment = row.privacy.moment if row.privacy else "initial"
            counting = {score.attack for score in row.attacks if score.passed and score.moment == moment}
            for record in self._played(row, records):
                attack = record.cell.attack.label if record.cell.attack else ""
                if record.cell.seed != seed or (counting and attack not in counting):
                    continue
                for done in record.reconstructed:
                    for place, score in enumerate(done.victims if done.moment == moment else ()):
                        best = shots.get(score.victim)
                        if best is None or score.mse < best.score.mse:
                            shot = self._shot((score.mse, seed, place, record, score), moment, attack)
                            shots |= {score.victim: shot} if shot else {}
            lines.append((row, shots))
        return _sheet(seed, lines, _undefended(lines))

    def features(self, rows: Sequence[VerticalRow], records: Mapping[str, Record]) -> Sheet[BoardRow] | None:
        """The same samples under every defense, each by the attack with the lowest mean MSE; lowest seed with any.

        Of the attacks that count, if any does.
        """
        held: list[tuple[BoardRow, list[Record]]] = []
        for row in rows:
            closest = row.features or min(row.inversions, key=lambda one: one.figures.mse.mean, default=None)
            held.append((row, self._rebuilding(row, records, closest.spec if closest else None, _features)))
        seed, lines = self._lines(held, "trained", _features)
        return _sheet(seed, lines, _undefended(lines))

    def inputs(
        self, rows: Sequence[OutsourcedRow], records: Mapping[str, Record], moment: Moment
    ) -> Sheet[BoardRow] | None:
        """The same samples under every protocol, each by the attack with the lowest mean MSE; lowest seed with any."""
        held: list[tuple[BoardRow, list[Record]]] = []
        for row in rows:
            own = (one for one in row.attacks if one.moment == moment)
            closest = min(own, key=lambda one: one.mse.mean, default=None)
            held.append((row, self._rebuilding(row, records, closest.spec if closest else None, _inputs(moment))))
        seed, lines = self._lines(held, moment, _inputs(moment))
        return _sheet(seed, lines, _undefended(lines))

    def variants(
        self, row: OutsourcedRow, attacks: Sequence[InputAttack], records: Mapping[str, Record]
    ) -> Sheet[InputAttack] | None:
        """The same samples by every variant of an attack under one protocol; the last variant orders them."""
        moment = attacks[0].moment
        rebuilt = _inputs(moment)
        held = [(one, self._rebuilding(row, records, one.spec, rebuilt)) for one in attacks]
        seed, lines = self._lines(held, moment, rebuilt)
        return _sheet(seed, lines, lines[-1][1])

    def _lines(
        self, held: Sequence[tuple[H, Sequence[Record]]], moment: str, rebuilt: Rebuilt
    ) -> tuple[int, list[tuple[H, dict[int, Shot]]]]:
        """The lowest seed that has pictures, and its shots by the sample's id, line by line."""
        seed = min((record.cell.seed for _, played in held for record in played), default=0)
        lines: list[tuple[H, dict[int, Shot]]] = []
        for head, played in held:
            shots: dict[int, Shot] = {}
            for record in played:
                attack = record.cell.attack.label if record.cell.attack else ""
                for place, error in enumerate(rebuilt(record) if record.cell.seed == seed else ()):
                    shot = self._shot((error.mse, seed, place, record, error), moment, attack)
                    shots |= {error.victim: shot} if shot else {}
            lines.append((head, shots))
        return seed, lines

    def _rebuilding(
        self, row: BoardRow, records: Mapping[str, Record], attack: MethodSpec | None, rebuilt: Rebuilt
    ) -> list[Record]:
        """Those of one attack that hold a reconstruction and its pictures."""
        played = [records[cell_id] for cell_id in row.records]
        return [
            record
            for record in played
            if attack is not None and record.cell.attack == attack and record.status == "ok"
            if rebuilt(record) and self._arrays(record) is not None
        ]

    def _played(self, row: Row, records: Mapping[str, Record]) -> list[Record]:
        played = [records[cell_id] for cell_id in row.records]
        return [record for record in played if record.reconstructed and self._arrays(record) is not None]

    def _shot(self, item: tuple[float, int, int, Record, Score], moment: str, attack: str) -> Shot | None:
        _, seed, place, record, score = item
        arrays = self._arrays(record) or {}
        images = [arrays.get(name) for name in ("originals", moment)]
        if any(image is None or place >= len(image) for image in images):
            return None
        original, made = (self._write(image[place]) for image in images if image is not None)
        return Shot(original, made, score, seed, attack)

    def _arrays(self, record: Record) -> Arrays | None:
        cell = record.cell_id
        if cell not in self._cache:
            folder = self.pictures.get(cell)
            try:
                self._cache[cell] = read(folder / FILE) if folder and (folder / FILE).is_file() else None
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                self.warnings.append(f"pictures of {cell}: {folder}/{FILE}: {error}; left out")
                self._cache[cell] = None
        return self._cache[cell]

    def _write(self, image: NDArray[np.uint8]) -> str:
        pixels = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        if pixels not in self._names:
            data = png(image)
            name = f"pictures/{hashlib.sha256(data).hexdigest()[:20]}.png"
            (self.out / "pictures").mkdir(exist_ok=True)
            (self.out / name).write_bytes(data)
            self._names[pixels] = name
        return self._names[pixels]


def read(path: Path) -> dict[str, NDArray[np.uint8]]:
    """The arrays of a cell: those of :data:`NAMES`, each ``(V, C, H, W)`` uint8; some may be absent.

    Raises:
        ValueError: not such arrays, or larger than any cell's.
        zipfile.BadZipFile: cut short.
    """
    with zipfile.ZipFile(path) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > MAX_BYTES:
            raise ValueError(f"unpacks to more than {MAX_BYTES} bytes")
    with np.load(path, allow_pickle=False) as packed:
        arrays: dict[str, Any] = {name: packed[name] for name in NAMES if name in packed.files}
    for name, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not uint8 (V, 1 or 3, H, W)")
    return arrays


def png(image: NDArray[np.uint8]) -> bytes:
    """A ``(C, H, W)`` picture with one or three channels as PNG; the same picture gives the same bytes."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))).save(stream, "PNG")
    return stream.getvalue()


def spread(total: int, shown: int) -> list[int]:
    """Places in a ranking: the first, the last, and evenly spaced ones between, rising."""
    if total <= 2:
        return list(range(total))
    inner = np.linspace(0, total - 1, min(total, shown)).round().astype(int)[1:-1]
    return [0, total - 1, *(int(place) for place in inner)]


def _scores(record: Record, moment: str) -> list[tuple[int, Score]]:
    """What an attack of any track reached at a moment, each with its place among the pictures."""
    told: list[Sequence[Score]] = [done.victims for done in record.reconstructed if done.moment == moment]
    if record.vertical and moment == "trained":
        told.append(_features(record))
    if record.outsourced and record.outsourced.inputs and record.outsourced.inputs.moment == moment:
        told.append(record.outsourced.inputs.victims)
    return [found for victims in told for found in enumerate(victims)]


def _features(record: Record) -> Sequence[FeatureError | InputError]:
    done = record.vertical.features if record.vertical else None
    return done.victims if done else ()


def _inputs(moment: Moment) -> Rebuilt:
    """What a record holds of one moment."""

    def rebuilt(record: Record) -> Sequence[FeatureError | InputError]:
        done = record.outsourced.inputs if record.outsourced else None
        return done.victims if done and done.moment == moment else ()

    return rebuilt


def _undefended(lines: Iterable[tuple[BoardRow, dict[int, Shot]]]) -> dict[int, Shot]:
    return next((shots for row, shots in lines if row.baseline), {})


def _sheet(seed: int, lines: Sequence[tuple[H, dict[int, Shot]]], reference: Mapping[int, Shot]) -> Sheet[H] | None:
    """The samples in the order of the reference's errors."""
    originals = {victim: shot.original for _, shots in lines for victim, shot in shots.items()}
    order = sorted(originals, key=lambda v: (reference[v].score.mse if v in reference else 2.0, v))[:SHOWN]
    if not order:
        return None
    return Sheet(
        seed,
        tuple((victim, originals[victim]) for victim in order),
        tuple((head, tuple(shots.get(victim) for victim in order)) for head, shots in lines if shots),
    )
