"""Plays cells: which jobs are missing, in what order, on how many workers, and a record for each whatever happens.

A run has three phases. First the methods are looked at, so that a misspelt parameter ends it before anything is
played. Then the machine is calibrated, what is timed runs, one job after the other with nothing beside it, and the
machine is calibrated again. Then all the rest runs side by side, and each cell's record is written as soon as its last
job has ended.
"""

import heapq
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fl_attack_bench import conditions, plan, provenance, registry, usage
from fl_attack_bench.assemble import assemble
from fl_attack_bench.conditions import Conditions
from fl_attack_bench.data import catalogue
from fl_attack_bench.errors import UserError
from fl_attack_bench.hardware import Machine, Profile
from fl_attack_bench.jobs import ATTACKING, PICTURES, Context, Kind, Outcome, Settings
from fl_attack_bench.plan import Entry, Key, Method, Node
from fl_attack_bench.pool import Answer, Pool
from fl_attack_bench.progress import FAILED, Progress, Quiet
from fl_attack_bench.record import MethodUsed, Provenance, Record
from fl_attack_bench.store import Store
from fl_attack_bench.suite import Cell, Suite
from fl_attack_bench.worker import PLAY

_WAIT_SECONDS = 1.0


class Log(Protocol):
    """Where finished records are logged, beside the run folder; see ``tracking.Tracker``."""

    def start(self) -> None:
        """Begin the work that takes time; nothing that is timed runs from here on."""

    def log(self, record: Record) -> None:
        """Log a record that the store holds, unless it is logged already. Does not wait."""

    def close(self, *, wait: bool) -> None:
        """Finish what is waiting, or leave it for the next run."""


@dataclass
class Summary:
    """How a run ended.

    Args:
        counts: cells by status, those that were there before included.
        played: records written by this run.
        kept: records that were there before.
        failures: the records that failed, in the cells' order.
        interrupted: whether it was stopped before its end.
    """

    counts: Counter[str] = field(default_factory=Counter)
    played: int = 0
    kept: int = 0
    failures: list[Record] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        """0 where every cell is ok or skipped, 1 where some failed, 130 where the run was stopped."""
        if self.interrupted:
            return 130
        return 1 if self.failures else 0

    def count(self, record: Record) -> None:
        """Take a record into account."""
        self.counts[record.status] += 1
        if record.status in FAILED:
            self.failures.append(record)


def run(
    suite: Suite,
    cells: Sequence[Cell],
    settings: Settings,
    *,
    profile: Profile,
    machine: Machine,
    store: Store,
    command: Callable[[Cell], str],
    matched: bool = True,
    log: Log | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    retry_failed: bool = False,
    play: str = PLAY,
    environment: Mapping[str, str] | None = None,
) -> Summary:
    """Play the cells that have no valid record yet.

    Args:
        suite: whose limits and gate hold.
        cells: all or some of the suite's.
        settings: where data lies; device and threads come from the profile, the work folder from the store.
        profile: the hardware profile.
        machine: what it runs on.
        store: the run folder.
        command: the shell line that plays a cell, for its record.
        matched: whether the machine matches the profile.
        log: where else records go.
        progress: who shows what happens.
        workers: jobs side by side.
        retry_failed: play cells again whose record says that they failed.
        play: ``module:function`` that plays a job.
        environment: additional variables for the workers.

    Raises:
        UserError: a method does not exist or does not take its parameters, the run folder is in use or cannot be
            written, or the profile needs what the machine lacks.
    """
    terms = {"device": profile.device, "threads": profile.threads, "links": profile.links}
    settings = settings.model_copy(update={"work": store.work, **terms})
    with store.locked(), _stoppable():
        store.sweep()
        with Pool(workers, store.logs, play=play, tf32=profile.tf32, environment=environment) as pool:
            this = _Run(suite, settings, profile, machine, store, command, matched, log, progress or Quiet(), pool)
            return this.play(cells, workers, retry_failed=retry_failed)


class _Run:
    """One run's state."""

    def __init__(
        self,
        suite: Suite,
        settings: Settings,
        profile: Profile,
        machine: Machine,
        store: Store,
        command: Callable[[Cell], str],
        matched: bool,
        log: Log | None,
        progress: Progress,
        pool: Pool,
    ) -> None:
        self.suite, self.settings, self.profile, self.machine = suite, settings, profile, machine
        self.store, self.command, self.matched = store, command, matched
        self.log, self.progress, self.pool = log, progress, pool
        self.summary = Summary()
        self.nodes: dict[Key, Node] = {}
        self.methods: dict[Method, MethodUsed] = {}
        self.broken: dict[Method, Outcome] = {}
        self.calibration: dict[str, float] = {}
        self.conditions: Conditions | None = None
        self.ready: list[tuple[int, Key]] = []
        self.digests: dict[str, str] = {}

    def play(self, cells: Sequence[Cell], workers: int, *, retry_failed: bool) -> Summary:
        try:
            missing = self._missing(cells, retry_failed=retry_failed)
            self._look_at_methods(missing)
            self.nodes, entries = plan.graph(missing, self.store, self._context, self.broken, retry_failed=retry_failed)
            left = Counter(node.job.kind for node in self.nodes.values() if node.outcome is None)
            self.progress.begin(len(cells), len(cells) - len(missing), left, workers)
            self._play(logging=bool(entries))
            self.pool.close()
            if self.log is not None:
                self.log.close(wait=True)
        except KeyboardInterrupt:
            self.summary.interrupted = True
        except OSError as error:
            raise UserError(f"{error.filename or self.store.folder}: {error.strerror or error}") from error
        finally:
            self.pool.close()
            if self.log is not None:
                self.log.close(wait=False)
            self.progress.end()
        if self.summary.interrupted:
            done = sum(self.summary.counts.values())
            self.progress.say(f"stopped: {done} of {len(cells)} cells are kept; the same command again plays the rest")
        return self.summary

    def _context(self, cell: Cell) -> Context:
        """What the cell's results depend on besides the cell; each data file is hashed once a run."""
        name = cell.task.dataset
        if name not in self.digests:
            self.digests[name] = catalogue.digest(name, self.settings.data_dir)
        versions = provenance.packages()
        return Context(
            data=self.digests[name],
            # what a profile's machines should reach changes no result
            profile=self.profile.model_dump_json(exclude={"calibration"}),
            packages={package: versions.get(package, "") for package in ("torch", "torchvision", "numpy")},
            machine=self.machine.described(),
        )

    def _missing(self, cells: Sequence[Cell], *, retry_failed: bool) -> list[Cell]:
        """Cells without a valid record; kept records go to the log, in case that an earlier run could not do so."""
        missing = []
        for cell in cells:
            record = plan.valid(cell, self.store, self.suite.gate, self._context(cell), self.progress.say)
            if record is None or (retry_failed and record.status in FAILED):
                missing.append(cell)
                continue
            self.summary.kept += 1
            self.summary.count(record)
            if self.log is not None:
                self.log.log(record)
        return missing

    def _look_at_methods(self, cells: Sequence[Cell]) -> None:
        """Have a worker import each method: bad input ends the run here, a crash fails the method's cells only."""
        wanted = {plan.identity(kind, spec): (kind, spec) for cell in cells for kind, spec in plan.methods(cell)}
        for kind, spec in wanted.values():
            registry.fingerprint(kind, spec, f"suite {self.suite.suite!r}")
        for name, (kind, spec) in wanted.items():
            answer = self._ask({"do": "describe", "kind": kind, "spec": spec.model_dump(mode="json")})
            if answer.user_error:
                raise UserError(f"suite {self.suite.suite!r}: {answer.outcome.reason}")
            if answer.outcome.status == "ok":
                self.methods[name] = MethodUsed.model_validate(answer.value)
            else:
                self.methods[name] = provenance.outlined(kind, spec)
                reason = f"{kind} {spec.label} does not load: {answer.outcome.reason}"
                self.broken[name] = answer.outcome.model_copy(update={"reason": reason})

    def _play(self, *, logging: bool) -> None:
        known = [node for node in self.nodes.values() if node.outcome is not None]
        todo = [node for node in self.nodes.values() if node.outcome is None]
        if todo:
            self._time([node for node in todo if node.job.alone])
        if self.log is not None and logging:
            self.log.start()
        for node in todo:
            if node.outcome is None and not node.waits_for:
                heapq.heappush(self.ready, (node.order, node.key))
        for node in known:
            self._release(node)
        while self.ready or self.pool.busy:
            while self.ready and self.pool.free:
                node = self.nodes[heapq.heappop(self.ready)[1]]
                self.progress.started(node.job)
                self.pool.submit(node.key, self._request(node), self.suite.limits)
            for answer in self.pool.wait(_WAIT_SECONDS):
                self._end(self.nodes[answer.tag], answer.outcome, played=True)  # type: ignore[index]

    def _time(self, nodes: Sequence[Node]) -> None:
        """What is timed, one job after the other, and how the machine was meanwhile; only then its cells go on."""
        begun = usage.now()
        self.calibration = self._calibrate()
        for node in nodes:
            self.progress.started(node.job)
            self._keep(node, self._ask(self._request(node)).outcome)
        after = self._calibrate() if nodes else {}
        others = usage.others(begun, usage.now())
        terms = self.profile.calibration, self.calibration, after, others, self.profile.name
        self.conditions = conditions.judge(*terms)
        for mark in self.conditions.marks:
            self.progress.say(f"the records are marked: {mark.reason}")
        for node in nodes:
            if node.outcome is not None:
                found = {"calibration": self.calibration, "conditions": self.conditions}
                node.outcome = node.outcome.model_copy(update=found)
                self.store.put_outcome(node.job, node.key[1], node.outcome)
            self._release(node)

    def _calibrate(self) -> dict[str, float]:
        answer = self._ask({"do": "calibrate", "profile": self.profile.model_dump(mode="json")})
        if answer.user_error:
            raise UserError(answer.outcome.reason)
        if answer.outcome.status == "ok":
            return dict(answer.value)
        self.progress.say(f"no calibration figures: {answer.outcome.reason}")
        return {}

    def _ask(self, request: Mapping[str, Any]) -> Answer:
        """One request with nothing beside it."""
        self.pool.submit(None, request, self.suite.limits)
        while not (answers := self.pool.wait(_WAIT_SECONDS)):
            pass
        return answers[0]

    def _request(self, node: Node) -> dict[str, Any]:
        job, settings = node.job.model_dump(mode="json"), self.settings.model_dump(mode="json")
        return {"do": "play", "job": job, "settings": settings}

    def _end(self, node: Node, outcome: Outcome, *, played: bool) -> None:
        """A job has ended: keep how, tell those who wait."""
        self._keep(node, outcome, played=played)
        self._release(node)

    def _keep(self, node: Node, outcome: Outcome, *, played: bool = True) -> None:
        if outcome.status == "ok" and not node.job.done(self.store.work):
            outcome = outcome.model_copy(update={"status": "error", "reason": "it ended well but left no result"})
        if played:
            self.store.put_outcome(node.job, node.key[1], outcome)
        node.outcome = outcome
        self.progress.finished(node.job, outcome)

    def _release(self, node: Node) -> None:
        outcome = node.outcome
        if outcome is None:
            return
        for dependent in node.dependents:
            dependent.waits_for -= 1
            if dependent.outcome is not None:
                continue
            if outcome.status == "ok":
                heapq.heappush(self.ready, (dependent.order, dependent.key))
            else:
                why = f"{node.job.kind}: {outcome.reason}"
                self._end(dependent, Outcome(status=outcome.status, reason=why, started=outcome.started), played=False)
        for entry in node.entries:
            entry.left -= 1
            if not entry.left:
                self._write(entry)

    def _write(self, entry: Entry) -> None:
        """All jobs of a cell have ended: its record."""
        cell = entry.cell
        folders: dict[Kind, Path] = {node.job.kind: node.job.folder(self.store.work) for node in entry.nodes}
        outcomes = {node.job.kind: node.outcome for node in entry.nodes if node.outcome is not None}
        used = {kind: self.methods[plan.identity(kind, spec)] for kind, spec in plan.methods(cell)}
        revision, dirty = provenance.revision()
        timed = outcomes.get("timing")  # perhaps by an earlier run
        known = timed if timed is not None and timed.conditions is not None else self
        record = assemble(
            cell,
            self.suite.gate,
            folders=folders,
            outcomes=outcomes,
            attack=used.get("attack"),
            defense=used.get("defense"),
            provenance=Provenance(
                command=self.command(cell),
                started=min(outcome.started for outcome in outcomes.values()),
                seconds=sum(outcome.seconds for outcome in outcomes.values()),
                revision=revision,
                dirty=dirty,
                dataset_fingerprint="",
                packages=provenance.packages(),
                machine=self.machine.described(),
                hardware_matched=self.matched,
                calibration=known.calibration,
                conditions=known.conditions,
            ),
        )
        drawn = [kind for kind in ATTACKING if kind in outcomes and outcomes[kind].status == "ok"]
        self.store.put(record, folders[drawn[0]] / PICTURES if drawn else None)
        self.summary.played += 1
        self.summary.count(record)
        if self.log is not None:
            self.log.log(record)
        self.progress.cell(record)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM stop a run as Ctrl-C does: workers ended, finished cells kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
