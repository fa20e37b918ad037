"""From a run folder to a submission."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fl_attack_bench import notation, registry
from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Record
from fl_attack_bench.submission import manifest as manifests
from fl_attack_bench.submission.manifest import MANIFEST, RECORDS, Entry, Manifest
from fl_attack_bench.submission.validate import ENGINE, Terms
from fl_attack_bench.suite import MethodSpec, Suite


def defense(suite: Suite, text: str) -> MethodSpec:
    """The one defense that a line names: the suite's own entry, by its parameters or by its name alone, or a new one.

    Raises:
        UserError: the suite sweeps it, so that the name alone stands for several, or there is none.
    """
    asked = notation.parse(text)
    own = [spec for spec in suite.defenses if spec == asked]
    if not own and not any(part.parameters for part in asked.parts):
        own = [spec for spec in suite.defenses if spec.name == asked.name]
    if len(own) > 1:
        labels = ", ".join(spec.label for spec in own)
        raise UserError(f"{text}: suite {suite.suite!r} has {len(own)} of it: hand in one at a time: {labels}")
    if not own:
        registry.fingerprint("defense", asked, f"defense {text}")  # refuses what does not exist
    return own[0] if own else asked


def hardware(found: Iterable[Record], suite: Suite, spec: MethodSpec) -> str:
    """The hardware profile of a defense's records.

    Raises:
        UserError: there are none, or they are of several.
    """
    names = sorted({record.cell.hardware for record in _of(found, suite, spec)})
    if not names:
        played = f"flab run {suite.suite} --defense '{notation.written(spec)}'"
        raise UserError(
            f"no records of {spec.label} on suite {suite.suite!r}, version {suite.version}; `{played}` makes some"
        )
    if len(names) > 1:
        raise UserError(f"records on several hardware profiles: choose one with --hardware: {', '.join(names)}")
    return names[0]


def select(found: Iterable[Record], terms: Terms) -> tuple[dict[str, Record], list[Record]]:
    """The records of a submission's cells by id, in the cells' order, and the defense's that are none of them."""
    own = {r.cell_id: r for r in _of(found, terms.suite, terms.defense) if r.cell.hardware == terms.hardware}
    held = {cell_id: own[cell_id] for cell_id in terms.cells if cell_id in own}
    return held, [record for cell_id, record in own.items() if cell_id not in held]


def write(out: Path, terms: Terms, held: Mapping[str, Record]) -> Path:
    """Write a submission whose records were found sound; one that lies there already is replaced.

    Args:
        out: the folder of all results.
        terms: what it was held against.
        held: its records by cell id; at least one.

    Returns:
        Its folder.

    Raises:
        UserError: what lies there is no submission, lies outside of ``out``, or cannot be written.
    """
    first = next(iter(held.values()))
    files = {cell_id: manifests.text(record) for cell_id, record in held.items()}
    dirty = any(record.provenance.dirty for record in held.values())
    manifest = Manifest(
        suite=terms.suite.suite,
        suite_version=terms.suite.version,
        hardware=terms.hardware,
        defense=terms.defense,
        source_sha256=registry.fingerprint("defense", terms.defense),
        cells=[
            Entry(cell_id=cell_id, status=held[cell_id].status, sha256=manifests.sha256(data))
            for cell_id, data in files.items()
        ],
        baseline=terms.baseline,
        program=first.provenance.packages.get(ENGINE, "unknown"),
        made=datetime.now(UTC),
        dirty=dirty,
    )
    try:
        return _publish(out, out / manifest.location, manifests.text(manifest), files)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror or error}") from None


def _publish(out: Path, place: Path, manifest: bytes, files: Mapping[str, bytes]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or not place.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{place}: a link leads out of {out}; take it away")
    if place.exists() and not (place / MANIFEST).is_file():
        raise UserError(f"{place}: no submission, so it is not replaced; move it away")
    scratch = Path(tempfile.mkdtemp(prefix=".submission-", dir=place.parent))
    try:
        scratch.chmod(0o755)
        (scratch / RECORDS).mkdir()
        for cell_id, data in files.items():
            manifests.record(scratch, cell_id).write_bytes(data)
        (scratch / MANIFEST).write_bytes(manifest)
        if place.exists():
            shutil.rmtree(place)
        scratch.replace(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return place


def _of(found: Iterable[Record], suite: Suite, spec: MethodSpec) -> Sequence[Record]:
    played = (suite.suite, suite.version)
    return [r for r in found if (r.cell.suite, r.cell.suite_version) == played and r.cell.defense == spec]
