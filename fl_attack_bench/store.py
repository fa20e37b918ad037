"""The run folder: records and pictures by cell, results by job, logs; safe to kill at any moment.

::

    flab-runs/
        records/<cell id>/record.json  reconstructions.npz  grid.png  logged.json
        work/<kind>/<key>/             a job's result folder
        work/<kind>/<key>.outcome      how that job ended and how long it took
        logs/                          what workers and methods print
        mlflow.db  mlartifacts/        the tracking store, unless a server is used

A file is written beside its place and renamed, so that it is whole or absent. A cell is done when its record is there;
a record is written after its pictures.
"""

import contextlib
import fcntl
import io
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from fl_attack_bench import record as records
from fl_attack_bench.errors import UserError
from fl_attack_bench.jobs import PICTURES, Job, Outcome
from fl_attack_bench.record import Record

DEFAULT = Path("flab-runs")
RECORD = "record.json"
GRID = "grid.png"
MAX_PICTURES = 512 * 2**20
_MAX_COLUMNS = 16


class Store:
    """One run folder.

    Args:
        folder: made when something is first written.
    """

    def __init__(self, folder: Path = DEFAULT) -> None:
        self.folder = folder.expanduser().resolve()
        self.records = self.folder / "records"
        self.work = self.folder / "work"
        self.logs = self.folder / "logs"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            UserError: another run holds it (its process id is named), or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"{self.folder}: {error.strerror or error}") from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise UserError(
                    f"{self.folder}: in use by another run (pid {owner}); wait for it, or choose another folder"
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def sweep(self) -> None:
        """Remove what a killed run left half done. Only for the one who holds the lock."""
        for stale in self.folder.glob(".mlflow.db-*"):
            stale.unlink(missing_ok=True)
        for place in (self.records, *self._children(self.work), *self._children(self.records)):
            for stale in place.glob(".*"):
                if stale.is_dir() and not stale.is_symlink():
                    shutil.rmtree(stale, ignore_errors=True)
                else:
                    stale.unlink(missing_ok=True)

    def place(self, cell_id: str) -> Path:
        """The folder of a cell's record and pictures."""
        return self.records / cell_id

    def has(self, cell_id: str) -> bool:
        """Whether a cell has a record, sound or not."""
        return (self.place(cell_id) / RECORD).is_file()

    def read(self, cell_id: str) -> Record:
        """A cell's record.

        Raises:
            UserError: absent or corrupt; the message names the file.
        """
        path = self.place(cell_id) / RECORD
        record = records.read(path)
        if record.cell_id != cell_id:
            raise UserError(f"{path}: holds the record of {record.cell_id}")
        return record

    def load(self) -> tuple[list[Record], list[str]]:
        """All records in the order of their ids, and a warning for each that is corrupt.

        Raises:
            UserError: the folder does not exist.
        """
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder; `flab run SUITE` makes one")
        found, warnings = [], []
        for place in self._children(self.records):
            if not self.has(place.name):
                continue
            try:
                found.append(self.read(place.name))
            except UserError as error:
                warnings.append(f"skipped a corrupt record: {error}")
        return found, warnings

    def put(self, record: Record, pictures: Path | None = None) -> None:
        """Publish a record, with the ``reconstructions.npz`` of its attack if there is one."""
        place = self.place(record.cell_id)
        place.mkdir(parents=True, exist_ok=True)
        (place / RECORD).unlink(missing_ok=True)
        for name in (PICTURES, GRID):
            (place / name).unlink(missing_ok=True)
        if pictures is not None and pictures.is_file():
            _link(pictures, place / PICTURES)
            with contextlib.suppress(OSError, ValueError):  # a picture is no reason to lose a record
                write(place / GRID, grid(pictures))
        text = record.model_dump_json(indent=1)
        if len(text) > records.MAX_BYTES // 2:
            text = record.model_dump_json()
        write(place / RECORD, text.encode())

    def set_aside(self, cell_id: str) -> Path:
        """Move a corrupt record out of the way; returns where it lies now."""
        path = self.place(cell_id) / RECORD
        aside = path.with_name(RECORD + ".corrupt")
        path.replace(aside)
        return aside

    def outcome(self, job: Job, key: str) -> Outcome | None:
        """How a job ended in an earlier run, or None where that is not known."""
        path = self._outcome_path(job, key)
        try:
            return Outcome.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def put_outcome(self, job: Job, key: str, outcome: Outcome) -> None:
        """Keep how a job ended."""
        path = self._outcome_path(job, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, outcome.model_dump_json().encode())

    def forget_outcome(self, job: Job, key: str) -> None:
        """Let a job be played again."""
        self._outcome_path(job, key).unlink(missing_ok=True)

    def _outcome_path(self, job: Job, key: str) -> Path:
        return self.work / job.kind / f"{key}.outcome"

    @staticmethod
    def _children(folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        return sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def write(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent, whatever happens in between."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def grid(pictures: Path, scale: int = 2) -> bytes:
    """The originals in the first row, each moment's reconstructions below, as PNG.

    Args:
        pictures: npz with uint8 arrays ``originals``, ``initial``, ``trained`` of shape ``(V, C, H, W)``; the moments
            may be absent.
        scale: pixels an image pixel takes.

    Raises:
        ValueError: not such a file.
    """
    import numpy as np
    from PIL import Image

    if pictures.stat().st_size > MAX_PICTURES:
        raise ValueError(f"{pictures}: larger than {MAX_PICTURES} bytes")
    rows = []
    try:
        with np.load(pictures, allow_pickle=False) as arrays:
            for name in (name for name in ("originals", "initial", "trained") if name in arrays):
                images = arrays[name][:_MAX_COLUMNS]
                if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
                    raise ValueError(f"{pictures}: {name} holds no images")
                rows.append(np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, AttributeError) as error:
        raise ValueError(f"{pictures}: {error}") from None
    if not rows or any(row.shape != rows[0].shape for row in rows):
        raise ValueError(f"{pictures}: rows of different shapes, or none")
    stacked = np.stack(rows)  # (R, V, C, H, W)
    r, v, c, h, w = stacked.shape
    flat = stacked.transpose(0, 3, 1, 4, 2).reshape(r * h, v * w, c)
    image = Image.fromarray(flat[:, :, 0] if c == 1 else flat)
    out = io.BytesIO()
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def _link(source: Path, target: Path) -> None:
    """The same file under a second name where the file system can, a copy elsewhere."""
    scratch = target.with_name(f".{target.name}-{os.getpid()}")
    scratch.unlink(missing_ok=True)
    try:
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    scratch.replace(target)
