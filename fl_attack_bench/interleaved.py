"""Times cells of two checkouts in turns: base, head, base, head, ... in one job, one after the other.

The same program differs by 0.3% within a job and by up to 26% between jobs, so that only seconds of one job can be
compared. Each side has a worker of its own that imports its own source and stays warm; both are there all the time and
only one of them works.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fl_attack_bench import jobs
from fl_attack_bench.checkout import Checkout
from fl_attack_bench.errors import UserError
from fl_attack_bench.hardware import Profile
from fl_attack_bench.jobs import RESULT, Settings
from fl_attack_bench.pool import Pool
from fl_attack_bench.record import Record
from fl_attack_bench.suite import Cell, Limits, MethodSpec

Name = Literal["base", "head"]
SIDES: tuple[Name, ...] = ("base", "head")
PLAYS = 5
_WAIT_SECONDS = 1.0
# What a timing leaves that is somebody's whole time; the others, as a defense's part, are within these.
_WHOLE = ("client_seconds", "server_seconds", "passive_seconds", "active_seconds")
_STAGES = ("training", "inference")


@dataclass(frozen=True)
class Timed:
    """One task and defense, timed in turns.

    Args:
        cell: the head's.
        base: seconds of each round, by :func:`seconds`.
        head: likewise.
    """

    cell: Cell
    base: tuple[float, ...]
    head: tuple[float, ...]


class Turns:
    """Two workers that are timed in turns; a context manager.

    Args:
        checkouts: the source of each side.
        profile: of the hardware.
        limits: of one timing.
        scratch: an empty folder for what they leave.
        data_dir: where datasets lie.
        plays: how often a round plays its cell, unless asked otherwise.
    """

    def __init__(
        self,
        checkouts: Mapping[Name, Checkout],
        profile: Profile,
        limits: Limits,
        scratch: Path,
        data_dir: Path,
        plays: int = PLAYS,
    ) -> None:
        self._limits, self._scratch, self._plays = limits, scratch, plays
        self._settings = Settings(
            work=scratch, data_dir=data_dir.resolve(), device=profile.device, threads=profile.threads,
            links=profile.links,
        )  # fmt: skip
        self._roots = {side: checkouts[side].root for side in SIDES}
        self._stack = ExitStack()
        self._pools = {
            side: self._stack.enter_context(
                Pool(1, scratch / f"{side}-logs", tf32=profile.tf32, environment=checkouts[side].environment)
            )
            for side in SIDES
        }

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def time(
        self,
        base: Cell,
        head: Cell,
        rounds: int,
        say: Callable[[str], None] = lambda text: None,
        plays: int | None = None,
    ) -> Timed:
        """Time one cell of each side: each once to warm up, then in turns.

        A round's seconds are the least of its plays: other load on the machine only adds to them.

        Raises:
            UserError: a timing ended badly; the side and the reason are named.
        """
        asked: dict[Name, Cell] = {"base": base, "head": head}
        cells = {side: _rooted(asked[side], self._roots[side]) for side in SIDES}
        found: dict[Name, list[float]] = {"base": [], "head": []}
        for side in SIDES:
            self._play(side, cells[side])
        for turn in range(rounds):
            for side in SIDES:
                found[side].append(min(self._play(side, cells[side]) for _ in range(plays or self._plays)))
            say(f"round {turn + 1} of {rounds}: base {found['base'][-1]:.4g} s, head {found['head'][-1]:.4g} s")
        return Timed(head, tuple(found["base"]), tuple(found["head"]))

    def _play(self, side: Name, cell: Cell) -> float:
        """One timing by one side's worker. The job is plain data: each side reads it by its own code."""
        work = self._scratch / side
        shutil.rmtree(work, ignore_errors=True)
        settings = self._settings.model_copy(update={"work": work})
        job = {"kind": "timing", "cell": cell.model_dump(mode="json", exclude_defaults=True)}
        pool = self._pools[side]
        pool.submit(None, {"do": "play", "job": job, "settings": settings.model_dump(mode="json")}, self._limits)
        while not (answers := pool.wait(_WAIT_SECONDS)):
            pass
        outcome = answers[0].outcome
        left = list(work.glob(f"timing/*/{RESULT}"))
        if outcome.status != "ok" or len(left) != 1:
            raise UserError(f"{side}: timing of {cell.id}: {outcome.status}: {outcome.reason or 'it left no result'}")
        return seconds(json.loads(left[0].read_bytes()))


def seconds(result: Mapping[str, Any]) -> float:
    """What a timing's result comes to: seconds of everybody's computing.

    Horizontal tasks: a client's and the server's round; vertical tasks: the slowest passive party's and the active
    party's epoch; outsourced tasks: one training step and one inference batch, what is done ahead of the data included.

    Raises:
        UserError: it holds none of these.
    """
    parts = [result[name] for name in _WHOLE if name in result]
    for stage in (result[name] for name in _STAGES if name in result):
        parts += [stage["seconds"], stage["offline_seconds"]]
    if not parts:
        raise UserError(f"a timing holds no seconds, only {', '.join(sorted(result)) or 'nothing'}")
    return float(sum(parts))


def _rooted(cell: Cell, root: Path) -> Cell:
    """The cell with its defense's files named from the side's own root, wherever the workers are started."""

    def placed(spec: MethodSpec) -> MethodSpec:
        if spec.links:
            return MethodSpec.chain([placed(link) for link in spec.links])
        named = str(root / Path(spec.name).expanduser()) if spec.name.endswith(".py") else spec.name
        return spec.model_copy(update={"name": named})

    return cell.model_copy(update={"defense": placed(cell.defense)})


def timed_pairs(base: Iterable[Record], head: Iterable[Record]) -> Iterator[tuple[Record, Record]]:
    """Of every task and defense that is timed, the first cell that is ``ok`` on both sides.

    Seconds depend neither on the attack nor on the seed.
    """
    played = {record.cell_id: record for record in base if record.status == "ok"}
    seen: set[str] = set()
    for record in sorted(head, key=lambda record: record.cell_id):
        if record.status != "ok" or record.cell_id not in played:
            continue
        task, defense = record.cell.task.model_dump_json(), record.cell.defense.model_dump_json()
        if task + defense not in seen and any(job.alone for job in jobs.of(record.cell)):
            seen.add(task + defense)
            yield played[record.cell_id], record
