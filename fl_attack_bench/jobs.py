"""The jobs that a cell is made of, and the folder that keeps their results.

Training depends on task, defense and seed but not on the attack, so one training serves all attacks of its group. Each
job's result is kept under a key that hashes all it depends on, published by one rename: a job is done when its folder
is there, whatever was killed in between.

=============  ================================  ==========================================================
job            depends on                        its result
=============  ================================  ==========================================================
centralised    task, seed                        accuracy of the network trained in one place
training       task, defense, seed               the trained network, accuracy curve, bytes, guarantee
timing         task, defense                     seconds of client, defense and server; must run alone
attack         task, attack, defense, seed       scores and reconstructions at each moment
corrupted      task, attack, defense, seed       the training played with the attack's party or clients in it
=============  ================================  ==========================================================
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from fl_attack_bench import engine, registry
from fl_attack_bench.conditions import Conditions
from fl_attack_bench.link import Link
from fl_attack_bench.record import Status
from fl_attack_bench.schema import Document
from fl_attack_bench.suite import Cell, MethodSpec
from fl_attack_bench.tasks import HorizontalTask, OutsourcedTask

Kind = Literal["centralised", "training", "timing", "attack", "corrupted"]
ATTACKING: frozenset[Kind] = frozenset({"attack", "corrupted"})
RESULT = "result.json"
PICTURES = "reconstructions.npz"


class Settings(Document):
    """What a job needs to know of the machine it runs on.

    Args:
        work: folder of the results.
        data_dir: where datasets lie.
        download: whether a missing dataset may be fetched.
        device: ``cpu`` or ``cuda``.
        threads: for torch's operations.
        links: the networks that seconds are modelled for.
    """

    work: Path
    data_dir: Path
    download: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1
    links: list[Link] = []


class Outcome(Document):
    """How a job ended.

    Args:
        status: as on records.
        reason: why, unless it is ``ok``.
        seconds: wall seconds (timing).
        started: when (timing).
        calibration: of a timing, figures of the machine's speed when the run that timed it began.
        conditions: of a timing, how the machine was meanwhile; None where the run was stopped before it could tell.
    """

    status: Status
    reason: str = ""
    seconds: float = 0.0
    started: datetime
    calibration: dict[str, float] = {}
    conditions: Conditions | None = None


class Context(Document):
    """What a result depends on besides its cell.

    Args:
        data: digest of the dataset's file, where the dataset is a file of the user's.
        profile: the hardware profile's terms as JSON, networks included.
        packages: versions of the libraries that compute.
        machine: for timings only: another machine of the same profile has its own seconds.
    """

    data: str = ""
    profile: str = ""
    packages: dict[str, str] = {}
    machine: dict[str, str] = {}


_NO_CONTEXT = Context()


class Job(Document):
    """One piece of a cell's work; any cell that needs the same piece names the same job."""

    kind: Kind
    cell: Cell
    context: Context = _NO_CONTEXT

    @property
    def alone(self) -> bool:
        """Whether nothing else may run on the machine at the same time."""
        return self.kind == "timing"

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on."""
        cell = self.cell
        axes: dict[str, Any] = {
            "engine": engine.version(),
            "kind": self.kind,
            "suite": [cell.suite, cell.suite_version],
            "task": cell.task.model_dump(mode="json", exclude={"published"}),
            "hardware": cell.hardware,
            "context": self.context.model_dump(mode="json", exclude=set() if self.alone else {"machine"}),
        }
        if self.kind != "timing":
            axes["seed"] = cell.seed
        if self.kind != "centralised":
            axes["defense"] = _identity("defense", cell.defense)
        if self.kind in ATTACKING and cell.attack is not None:
            axes["attack"] = _identity("attack", cell.attack)
        text = json.dumps(axes, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def folder(self, work: Path) -> Path:
        """Where the result lies, once it is there."""
        return work / self.kind / self.key

    def done(self, work: Path) -> bool:
        """Whether the result is there."""
        return (self.folder(work) / RESULT).is_file()


def of(cell: Cell, context: Context = _NO_CONTEXT) -> list[Job]:
    """The jobs of a cell, each behind those it needs."""
    if isinstance(cell.task, HorizontalTask):
        kinds = _horizontal(cell.task)
    else:
        kinds = _attacked_once(cell, "attack" if isinstance(cell.task, OutsourcedTask) else "corrupted")
    return [Job(kind=kind, cell=cell, context=context) for kind in kinds]


def _horizontal(task: HorizontalTask) -> list[Kind]:
    kinds: list[Kind] = []
    if task.training is not None:
        kinds += ["centralised", "training", "timing"]
    if task.victims is not None:
        kinds.append("attack")
    if task.adversary == "clients":
        kinds.append("corrupted")
    return kinds


def _attacked_once(cell: Cell, attacking: Kind) -> list[Kind]:
    """No centralised counterpart: undefended, the parties compute what one party with all data would."""
    return ["training", "timing", attacking] if cell.attack is not None else ["training", "timing"]


@contextmanager
def publishing(job: Job, work: Path) -> Iterator[Path]:
    """A scratch folder that becomes the job's result folder when the block ends well, and vanishes otherwise."""
    final = job.folder(work)
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{job.key}-", dir=final.parent))
    try:
        yield scratch
        if final.exists():
            shutil.rmtree(final)
        scratch.replace(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _identity(kind: registry.Kind, spec: MethodSpec) -> list[Any]:
    return [spec.model_dump(mode="json"), registry.fingerprint(kind, spec)]
