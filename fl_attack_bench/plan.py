"""What is left to do: cells without a valid record, and the graph of the jobs that they share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fl_attack_bench import engine, jobs, registry
from fl_attack_bench.errors import UserError
from fl_attack_bench.jobs import Context, Job, Kind, Outcome
from fl_attack_bench.progress import FAILED
from fl_attack_bench.record import Record
from fl_attack_bench.store import Store
from fl_attack_bench.suite import Cell, Gate, MethodSpec

Key = tuple[Kind, str]
Method = tuple[registry.Kind, str]


@dataclass
class Node:
    """A job with who waits for it.

    Args:
        job: the job.
        key: its identity, computed once.
        order: its place in the cells' order.
        waits_for: how many jobs must end before it.
        outcome: how it ended; None while it has not.
        dependents: the jobs that need its result.
        entries: the cells that it is part of.
    """

    job: Job
    key: Key
    order: int
    waits_for: int = 0
    outcome: Outcome | None = None
    dependents: list["Node"] = field(default_factory=list)
    entries: list["Entry"] = field(default_factory=list)


@dataclass
class Entry:
    """A cell to be played with the jobs that it is made of, of which ``left`` have not ended."""

    cell: Cell
    nodes: list[Node]
    left: int


def methods(cell: Cell) -> Iterator[tuple[registry.Kind, MethodSpec]]:
    """The methods of a cell with their kinds."""
    yield "defense", cell.defense
    if cell.attack is not None:
        yield "attack", cell.attack


def identity(kind: registry.Kind, spec: MethodSpec) -> Method:
    """Tells methods apart, two files of the same name too."""
    return kind, spec.model_dump_json()


def valid(cell: Cell, store: Store, gate: Gate, context: Context, say: Callable[[str], None]) -> Record | None:
    """The record of a cell, unless what it depends on has changed since. A corrupt one is set aside."""
    cell_id = cell.id
    if not store.has(cell_id):
        return None
    try:
        record = store.read(cell_id)
    except UserError as error:
        aside = store.set_aside(cell_id)
        say(f"corrupt record, kept as {aside.name}, its cell is played again: {error}")
        return None
    for kind, spec in methods(cell):
        used = record.attack if kind == "attack" else record.defense
        if used is None or used.source_sha256 != registry.fingerprint(kind, spec):
            return None
    packages = record.provenance.packages
    # The cell's id leaves out what its paper published: a correction makes the record anew, from the same results.
    same = record.gate == gate and record.cell == cell and packages.get("fl-attack-bench") == engine.version()
    same = same and all(packages.get(name) == version for name, version in context.packages.items())
    # Only a file of the user's can change under its name; a failure may not have come to reading it.
    known = record.provenance.dataset_fingerprint
    return record if same and (not context.data or not known or known == context.data) else None


def graph(
    cells: Sequence[Cell],
    store: Store,
    context: Callable[[Cell], Context],
    broken: Mapping[Method, Outcome],
    *,
    retry_failed: bool,
) -> tuple[dict[Key, Node], list[Entry]]:
    """Every job once, however many cells share it, and the cells with their jobs.

    Args:
        cells: those to play.
        store: knows which jobs have ended before.
        context: what a cell's results depend on besides the cell.
        broken: methods that do not load, and how that failed.
        retry_failed: forget how jobs failed before.
    """
    nodes: dict[Key, Node] = {}
    entries = []
    for cell in cells:
        own: dict[Kind, Node] = {}
        for job in jobs.of(cell, context(cell)):
            key: Key = (job.kind, job.key)
            if key not in nodes:
                nodes[key] = Node(job, key, len(nodes), outcome=_known(job, key, store, broken, retry=retry_failed))
                if job.kind == "attack" and "training" in own:
                    own["training"].dependents.append(nodes[key])
                    nodes[key].waits_for = 1
            own[job.kind] = nodes[key]
        entry = Entry(cell, list(own.values()), left=len(own))
        for node in entry.nodes:
            node.entries.append(entry)
        entries.append(entry)
    return nodes, entries


def _known(job: Job, key: Key, store: Store, broken: Mapping[Method, Outcome], *, retry: bool) -> Outcome | None:
    """How a job ended before, if it need not be played again."""
    for kind, spec in methods(job.cell):
        if _imports(job, kind) and identity(kind, spec) in broken:
            return broken[identity(kind, spec)]
    before = store.outcome(job, key[1])
    if job.done(store.work):
        return before if before and before.status == "ok" else Outcome(status="ok", started=datetime.now(UTC))
    if before is None or before.status == "ok":
        return None
    if retry and before.status in FAILED:
        store.forget_outcome(job, key[1])
        return None
    return before


def _imports(job: Job, kind: registry.Kind) -> bool:
    return job.kind in jobs.ATTACKING or (kind == "defense" and job.kind != "centralised")
