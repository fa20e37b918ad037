"""Whether records are the whole of a suite under one defense, and of the sources that are there now."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fl_attack_bench import hardware, plan, registry
from fl_attack_bench import record as records
from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Record
from fl_attack_bench.submission import manifest as manifests
from fl_attack_bench.submission.manifest import MANIFEST, RECORDS, VERIFIED, Entry, Manifest
from fl_attack_bench.suite import Cell, MethodSpec, Suite
from fl_attack_bench.tasks.base import BASELINE

ENGINE = "fl-attack-bench"
Fault = Callable[[Record], str]


@dataclass(frozen=True)
class Terms:
    """What a submission is held against.

    Args:
        suite: the suite.
        defense: the defense.
        hardware: the hardware profile's name.
        fault: why a record cannot be true; empty where it can.
        allow_dirty: whether a checkout with uncommitted changes is let in.
    """

    suite: Suite
    defense: MethodSpec
    hardware: str
    fault: Fault
    allow_dirty: bool = False

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """By id, the cells that it must hold."""
        return {cell.id: cell for cell in self._of(self.defense)}

    @property
    def baseline(self) -> list[str]:
        """The ids of the undefended federation's cells."""
        return [cell.id for cell in self._of(MethodSpec(name=BASELINE))]

    def _of(self, defense: MethodSpec) -> list[Cell]:
        suite = self.suite.model_copy(update={"defenses": [defense]})
        return [cell for cell in suite.cells(self.hardware) if cell.defense == defense]


@dataclass
class _Sources:
    """The source hashes of methods as the registry finds them now; each file is read once."""

    found: dict[plan.Method, str] = field(default_factory=dict)

    def of(self, kind: registry.Kind, spec: MethodSpec) -> str:
        name = plan.identity(kind, spec)
        if name not in self.found:
            self.found[name] = registry.fingerprint(kind, spec)
        return self.found[name]


def problems(
    held: Mapping[str, Record], terms: Terms, strays: Sequence[Record] = (), bad: Collection[str] = ()
) -> list[str]:
    """Why the records are no submission, each by name; empty where they are one.

    Args:
        held: the records by cell id.
        terms: what they are held against.
        strays: records of the defense that are none of its cells; they tell why a cell is missing.
        bad: cells whose records are there but cannot be used, for a reason that was told already.
    """
    if paths := [part.name for part in terms.defense.parts if part.name.endswith(".py")]:
        return [f"defense {paths[0]}: given by path; put its file into defenses/ or a package, and run it by its name"]
    if terms.hardware not in hardware.bundled():
        return [f"hardware profile {terms.hardware!r}: none that comes with the package; hand its file in first"]
    sources, gathered = _Sources(), dict[str, list[str]]()
    for cell_id, record in held.items():
        for reason in _reasons(record, terms, sources):
            gathered.setdefault(reason, []).append(cell_id)
    found = [f"{reason} ({_named(cell_ids)})" for reason, cell_ids in gathered.items()]
    engines = {record.provenance.packages.get(ENGINE, "unknown") for record in held.values()}
    if len(engines) > 1:
        found.append(
            f"the records come from different engine versions: {', '.join(sorted(engines))}; play all with one"
        )
    missing = [cell for cell_id, cell in terms.cells.items() if cell_id not in held and cell_id not in bad]
    return found + [_missing(cell, strays) for cell in missing]


def folder(place: Path, suite: Suite, fault: Fault) -> tuple[dict[str, Record], list[str]]:
    """The sound records of a submission's folder, and why it is none.

    Args:
        place: the folder.
        suite: the suite that its manifest names.
        fault: as in :class:`Terms`.

    Raises:
        UserError: it holds no manifest, or one that is not sound.
    """
    manifest = manifests.read(place)
    if (suite.suite, suite.version) != (manifest.suite, manifest.suite_version):
        claimed = f"suite {manifest.suite!r}, version {manifest.suite_version}"
        return {}, [f"{place / MANIFEST}: {claimed}, is not {suite.suite!r}, version {suite.version}"]
    terms = Terms(suite, manifest.defense, manifest.hardware, fault, manifest.dirty)
    found: list[str] = list(_misplaced(place, manifest))
    held: dict[str, Record] = {}
    for entry in manifest.cells:
        try:
            held[entry.cell_id] = _entry(place, entry)
        except UserError as error:
            found.append(str(error))
    listed = {entry.cell_id for entry in manifest.cells}
    found += problems(held, terms, bad=listed - held.keys())
    if manifest.baseline != terms.baseline:
        found.append(f"{place / MANIFEST}: baseline: not the undefended federation's cells of the suite")
    found += _claims(place, manifest, held.values())
    return held, found


def records_of(place: Path) -> list[Record]:
    """The records of a submission that stands, as its manifest lists them; their suite need not be at hand.

    Raises:
        UserError: it lies elsewhere than its manifest says, or a record is missing or was changed.
    """
    manifest = manifests.read(place)
    for reason in _misplaced(place, manifest):
        raise UserError(reason)
    found = [_entry(place, entry) for entry in manifest.cells]
    for record in found:
        cell = record.cell
        if (cell.suite, cell.suite_version, cell.hardware) != (
            manifest.suite,
            manifest.suite_version,
            manifest.hardware,
        ) or cell.defense != manifest.defense:
            raise UserError(f"{place}: record {record.cell_id} is of another suite, machine or defense")
    return found


def _entry(place: Path, entry: Entry) -> Record:
    path = manifests.record(place, entry.cell_id)
    data = manifests.content(path, records.MAX_BYTES)
    if (digest := manifests.sha256(data)) != entry.sha256:
        raise UserError(
            f"{path}: changed since it was collected: sha256 {digest[:12]}..., manifest {entry.sha256[:12]}..."
        )
    record = records.loads(data, str(path))
    if record.cell_id != entry.cell_id:
        raise UserError(f"{path}: holds the record of {record.cell_id}")
    if record.status != entry.status:
        raise UserError(f"{path}: status {record.status!r}, manifest {entry.status!r}")
    return record


def _misplaced(place: Path, manifest: Manifest) -> Iterator[str]:
    own = place.resolve()
    if own.parts[-3:] != manifest.location.parts:
        yield f"{place}: belongs in {manifest.location}, as its manifest says"
    listed = [entry.cell_id for entry in manifest.cells]
    for cell_id in sorted(name for name, count in Counter(listed).items() if count > 1):
        yield f"{place / MANIFEST}: cell {cell_id} stands twice"
    known = {own / MANIFEST, own / VERIFIED, own / RECORDS, *(manifests.record(own, cell_id) for cell_id in listed)}
    for path in sorted(own.rglob("*")):
        if path not in known:
            yield f"{path.relative_to(own.parent)}: no file that the manifest names; take it out"


def _claims(place: Path, manifest: Manifest, held: Collection[Record]) -> Iterator[str]:
    """What the manifest says of the records as a whole."""
    played = {record.defense.source_sha256 for record in held if record.defense is not None}
    if played - {manifest.source_sha256}:
        yield f"{place / MANIFEST}: source_sha256: not that of the records"
    if {record.provenance.packages.get(ENGINE) for record in held} - {manifest.program}:
        yield f"{place / MANIFEST}: program: not the engine version of the records"


def _reasons(record: Record, terms: Terms, sources: _Sources) -> Iterator[str]:
    cell = terms.cells.get(record.cell_id)
    if cell is None:
        yield f"no cell of suite {terms.suite.suite!r}, version {terms.suite.version}: {_foreign(record.cell, terms)}"
        return
    if record.cell != cell or record.gate != terms.suite.gate:
        part = "gate" if record.cell == cell else "task" if record.cell.task != cell.task else "cell"
        yield f"{part}: not that of suite {terms.suite.suite!r}, version {terms.suite.version}"
    if record.provenance.dirty and not terms.allow_dirty:
        yield "from a checkout with uncommitted changes: commit them and run again, or mark it with --allow-dirty"
    for kind, spec in plan.methods(cell):
        used = record.defense if kind == "defense" else record.attack
        try:
            now = sources.of(kind, spec)
        except UserError as error:
            yield f"{kind} {spec.label}: {error}"
            continue
        if used is None or used.source_sha256 != now:
            was = used.source_sha256[:12] if used else "none"
            yield f"{kind} {spec.label}: source hash {was}... is not that of the file found now, {now[:12]}..."
    if (record.attack is None) != (cell.attack is None):
        yield "the attack that was played is not the cell's"
    if reason := terms.fault(record):
        yield reason


def _foreign(cell: Cell, terms: Terms) -> str:
    suite = terms.suite
    if (cell.suite, cell.suite_version, cell.hardware) != (suite.suite, suite.version, terms.hardware):
        return f"it is of {cell.suite!r}, version {cell.suite_version}, on {cell.hardware}"
    if cell.defense != terms.defense:
        return f"its defense is {cell.defense.label}, not {terms.defense.label}"
    if cell.seed not in suite.seeds:
        return f"seed {cell.seed} is none of its seeds, {', '.join(map(str, suite.seeds))}"
    if cell.task not in suite.tasks:
        return f"task {cell.task.name!r} is not the suite's"
    return f"attack {cell.attack.label if cell.attack else 'none'} is not the suite's on task {cell.task.name!r}"


def _missing(cell: Cell, strays: Sequence[Record]) -> str:
    attack = cell.attack.label if cell.attack else "none"
    text = f"missing cell {cell.id}: task {cell.task.name!r}, attack {attack}, seed {cell.seed}"
    for other in (stray.cell for stray in strays):
        alike = other.task.name == cell.task.name and other.attack == cell.attack and other.seed == cell.seed
        if alike and other.task != cell.task:
            return f"{text}; what was played is another task {cell.task.name!r} than the suite's"
    return f"{text}; a cell that failed is a row too"


def _named(cell_ids: Sequence[str]) -> str:
    more = f" and {len(cell_ids) - 1} more" if len(cell_ids) > 1 else ""
    return f"cell {cell_ids[0]}{more}"
