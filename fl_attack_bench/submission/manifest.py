"""What a submission is made of, and where it lies."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Status
from fl_attack_bench.schema import Document, Name
from fl_attack_bench.suite import MAX_CELLS, MethodSpec

MANIFEST = "manifest.json"
VERIFIED = "verified.json"
RECORDS = "records"
MAX_BYTES = 16_000_000
Standing = Literal["self-reported", "re-run"]
CellId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,140}$")]  # no separator: it names a file
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=400)]
_LONGEST = 80


class Entry(Document):
    """One cell of a submission.

    Args:
        cell_id: the cell.
        status: as its record says; a failed cell is an entry too.
        sha256: of the record's file.
    """

    cell_id: CellId
    status: Status
    sha256: Digest


class Manifest(Document):
    """What a submission claims to be.

    Args:
        suite: the suite's name.
        suite_version: its version.
        hardware: the hardware profile.
        defense: the defense with the parameters that differ from its defaults.
        source_sha256: of the file that defines it; of a chain, over those of its links.
        cells: every cell of the suite under the defense.
        baseline: the undefended federation's cells that it is compared with.
        program: version of the engine that made the records.
        made: when it was collected.
        dirty: whether records from a checkout with uncommitted changes are let in; the board then says so.
    """

    schema_version: Literal[1] = 1
    suite: Name
    suite_version: Annotated[int, Field(ge=1)]
    hardware: Name
    defense: MethodSpec
    source_sha256: Digest
    cells: Annotated[list[Entry], Field(min_length=1, max_length=MAX_CELLS)]
    baseline: Annotated[list[CellId], Field(max_length=MAX_CELLS)]
    program: _Text
    made: datetime
    dirty: bool = False

    @property
    def location(self) -> Path:
        """Where it belongs, within the folder of results."""
        return location(self.suite, self.suite_version, self.hardware, self.defense)


class Verified(Document):
    """Which cells of a submission were played again and came out the same.

    Args:
        manifest_sha256: of the manifest that was verified.
        cells: the sample.
        seed: by which it was drawn.
        exact: whether every figure came out bit for bit.
        when: when.
        program: version of the engine.
        machine: what it was played on.
        packages: versions of what the numbers depend on.
    """

    schema_version: Literal[1] = 1
    manifest_sha256: Digest
    cells: Annotated[list[CellId], Field(min_length=1, max_length=MAX_CELLS)]
    seed: int
    exact: bool
    when: datetime
    program: _Text
    machine: dict[str, _Text]
    packages: dict[str, _Text]


D = TypeVar("D", bound=Document)


def location(suite: str, version: int, hardware: str, defense: MethodSpec) -> Path:
    """``<suite>-v<version>/<hardware>/<defense>``; each part is a plain file name, whatever the label holds.

    A label that is no plain name is followed by a digest, so that no two defenses share a folder.
    """
    label = defense.label
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", label)[:_LONGEST].strip(".-")
    if slug != label:
        text = json.dumps(defense.model_dump(mode="json"), sort_keys=True)
        slug = f"{slug or 'defense'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Path(f"{suite}-v{version}") / hardware / slug


def read(place: Path) -> Manifest:
    """The manifest of a submission.

    Raises:
        UserError: there is none, or it is not a sound one; the message names the file and the key.
    """
    return _document(Manifest, place / MANIFEST)


def standing(place: Path) -> Standing:
    """Whether a sample of a submission was played again: ``re-run`` only while its files are those that were verified.

    ``verified.json`` is a maintainer's: one that comes with a submission is refused in its review.
    """
    try:
        manifest, verified = read(place), _document(Verified, place / VERIFIED)
        known = {entry.cell_id for entry in manifest.cells}
        same = verified.manifest_sha256 == sha256(content(place / MANIFEST)) and known.issuperset(verified.cells)
        same = same and all(sha256(content(record(place, one.cell_id))) == one.sha256 for one in manifest.cells)
    except UserError:
        return "self-reported"
    return "re-run" if same else "self-reported"


def record(place: Path, cell_id: str) -> Path:
    """The file of a cell's record."""
    return place / RECORDS / f"{cell_id}.json"


def content(path: Path, most: int = MAX_BYTES) -> bytes:
    """What a file of a submission holds.

    Raises:
        UserError: no plain file (a link could lead anywhere), too large, or unreadable.
    """
    try:
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            raise UserError(f"{path}: no such file" if not path.is_symlink() else f"{path}: a link, no file")
        if path.stat().st_size > most:
            raise UserError(f"{path}: larger than {most} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def sha256(data: bytes) -> str:
    """As 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def text(document: Document) -> bytes:
    """A document as its file holds it."""
    return (document.model_dump_json(indent=1) + "\n").encode()


def _document(cls: type[D], path: Path) -> D:
    try:
        return cls.model_validate_json(content(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
