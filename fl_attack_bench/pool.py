"""Warm worker processes under time and memory limits; one that hangs, crashes or overflows is killed and replaced."""

import contextlib
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

from fl_attack_bench.jobs import Outcome
from fl_attack_bench.record import Status
from fl_attack_bench.suite import Limits
from fl_attack_bench.worker import MAX_REASON, PLAY

TICK_SECONDS = 0.1
START_SECONDS = 300.0
MAX_ANSWER = 4_000_000
MAX_LOG = 64 * 2**20
_STATUSES = ("ok", "error", "out_of_memory", "skipped")
_TAIL_LINES = 5
_SHORT = 0.8  # a worker that the system killed at this share of its limit is taken to have run out of memory
_RETIRE = 0.5  # an idle worker that still holds this share of its limit is replaced


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Args:
        tag: the one it was submitted under.
        outcome: how it ended.
        value: what the worker answered, plain data.
        user_error: whether it failed by bad input, which the reason explains.
    """

    tag: Hashable
    outcome: Outcome
    value: Any = None
    user_error: bool = False


@dataclass
class _Task:
    tag: Hashable
    number: int
    limits: Limits
    started: datetime
    deadline: float
    log_start: int
    memory: int = 0
    looked: float = 0.0


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    log: Path
    ready: bool = False
    task: _Task | None = None
    heard: bytearray = field(default_factory=bytearray)

    def tail(self) -> str:
        """The last lines that the current task printed."""
        start = self.task.log_start if self.task else 0
        with self.log.open("rb") as stream:
            stream.seek(max(start, self.log.stat().st_size - 4000))
            lines = stream.read().decode("utf-8", "replace").split("\n")
        fatal = next((number for number, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
        if fatal is not None:  # the stack that follows stays in the log
            del lines[fatal + 1 :]
        told = [line.strip() for line in lines if line.strip() and not line.startswith("====")]
        return " | ".join(told[-_TAIL_LINES:])[-MAX_REASON:]

    def kill(self) -> None:
        """End the worker and everything that it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


# glibc gives large blocks back to the system at every free and faults them in again at the next step: a third of an
# attack's time. A worker keeps what it had.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


class Pool:
    """A number of workers, each started when it is first needed and kept for the next request.

    Args:
        size: the most requests under way at the same time.
        logs: folder for what workers and methods print.
        play: ``module:function`` that plays a job.
        tf32: whether products may round to TF32.
        environment: variables that the workers get on top of this process's own.
    """

    def __init__(
        self,
        size: int,
        logs: Path,
        *,
        play: str = PLAY,
        tf32: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = ["--play", play, "--parent", str(os.getpid()), *(["--tf32"] if tf32 else [])]
        self._environment = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            **_KEEP_MEMORY,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **(environment or {}),
        }
        self._logs = logs
        self._slots: list[_Worker | None] = [None] * size
        self._numbers = itertools.count()
        self._selector = selectors.DefaultSelector()
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def busy(self) -> int:
        """How many requests are under way."""
        return sum(worker is not None and worker.task is not None for worker in self._slots)

    @property
    def free(self) -> int:
        """How many requests can be submitted now."""
        return len(self._slots) - self.busy

    def submit(self, tag: Hashable, request: Mapping[str, Any], limits: Limits) -> None:
        """Give a request to a worker; ``wait`` returns its answer under the tag."""
        slot = self._choose()
        worker = self._slots[slot] or self._start(slot)
        task = _Task(
            tag=tag,
            number=next(self._numbers),
            limits=limits,
            started=datetime.now(UTC),
            deadline=time.monotonic() + (limits.minutes * 60 if worker.ready else START_SECONDS),
            log_start=worker.log.stat().st_size,
        )
        worker.task = task
        line = json.dumps({"id": task.number, **request}) + "\n"
        try:
            _stdin(worker).write(line.encode())
            _stdin(worker).flush()
        except OSError:
            pass  # it died while it was idle or started: `wait` sees that and says so

    def wait(self, seconds: float) -> list[Answer]:
        """Answers as they come: returns once there is one, nothing is under way, or the time is up."""
        end = time.monotonic() + seconds
        while self.busy:
            answers = []
            for key, _ in self._selector.select(TICK_SECONDS):
                answers += self._hear(key.data)
            for slot in range(len(self._slots)):
                answers += self._check(slot)
            if answers or time.monotonic() >= end:
                return answers
        return []

    def close(self) -> None:
        """Kill all workers."""
        for slot in range(len(self._slots)):
            self._drop(slot)

    def _choose(self) -> int:
        """A free slot, one with a living worker if there is any."""
        for slot, worker in enumerate(self._slots):
            if worker is not None and worker.task is None and worker.process.poll() is not None:
                self._drop(slot)
        free = [slot for slot, worker in enumerate(self._slots) if worker is None or worker.task is None]
        if not free:
            raise RuntimeError("all workers are busy")
        return min(free, key=lambda slot: self._slots[slot] is None)

    def _start(self, slot: int) -> _Worker:
        log = self._logs / f"worker-{slot + 1}.log"
        mode = "ab" if log.exists() and log.stat().st_size < MAX_LOG else "wb"
        with log.open(mode) as stream:
            stream.write(f"==== worker started {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode())
            stream.flush()
            process = subprocess.Popen(
                # -P: the folder that the user happens to be in must not shadow modules
                [sys.executable, "-u", "-P", "-m", "fl_attack_bench.worker", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=self._environment,
                start_new_session=True,
                bufsize=0,
            )
        worker = _Worker(process, log)
        self._slots[slot] = worker
        # a child that a method forked may keep the pipe open after the worker has died
        os.set_blocking(_stdout(worker).fileno(), False)
        self._selector.register(_stdout(worker), selectors.EVENT_READ, slot)
        return worker

    def _drop(self, slot: int) -> None:
        worker = self._slots[slot]
        if worker is not None:
            self._selector.unregister(_stdout(worker))
            self._slots[slot] = None
            worker.kill()

    def _hear(self, slot: int) -> list[Answer]:
        worker = self._slots[slot]
        if worker is None:
            return []
        try:
            data = os.read(_stdout(worker).fileno(), 65536)
        except BlockingIOError:
            return []
        if not data:
            return self._died(slot, worker)
        worker.heard += data
        answers = []
        while (end := worker.heard.find(b"\n")) >= 0 and self._slots[slot] is worker:
            line = bytes(worker.heard[:end])
            del worker.heard[: end + 1]
            answers += self._line(slot, worker, line)
        if len(worker.heard) > MAX_ANSWER:
            answers += self._fail(slot, worker, "error", f"the worker's answer exceeds {MAX_ANSWER} bytes")
        return answers

    def _line(self, slot: int, worker: _Worker, line: bytes) -> list[Answer]:
        task = worker.task
        try:
            answer = json.loads(line)
            if answer == {"ready": True} and not worker.ready:
                worker.ready = True
                if task is not None:
                    task.started = datetime.now(UTC)
                    task.deadline = time.monotonic() + task.limits.minutes * 60
                return []
            if task is None or answer["id"] != task.number or answer["status"] not in _STATUSES:
                raise ValueError("not the answer to the request")
            outcome = Outcome(
                status=answer["status"],
                reason=answer.get("reason", ""),
                seconds=answer["seconds"],
                started=task.started,
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._fail(slot, worker, "error", f"the worker answered nonsense: {line[:80]!r}")
        worker.task = None
        if outcome.status == "out_of_memory" or _memory(worker) > _RETIRE * task.limits.memory_gib * 2**30:
            self._drop(slot)
        return [Answer(task.tag, outcome, answer.get("value"), answer.get("user") is True)]

    def _check(self, slot: int) -> list[Answer]:
        """Look whether a busy worker is alive and within its limits."""
        worker = self._slots[slot]
        if worker is None or worker.task is None:
            return []
        task, now = worker.task, time.monotonic()
        if worker.process.poll() is not None:
            # its last words may still be in the pipe
            said = self._hear(slot) if self._slots[slot] is worker else []
            return said or self._died(slot, worker)
        if now > task.deadline:
            if not worker.ready:
                return self._fail(slot, worker, "error", f"the worker did not start within {START_SECONDS:g} s")
            return self._fail(slot, worker, "timeout", f"timeout after {task.limits.minutes:g} min")
        if now - task.looked >= TICK_SECONDS:
            task.looked, task.memory = now, _memory(worker)
            if task.memory > task.limits.memory_gib * 2**30:
                return self._fail(slot, worker, "out_of_memory", f"used more than {task.limits.memory_gib:g} GiB")
            if worker.log.stat().st_size - task.log_start > MAX_LOG:
                return self._fail(slot, worker, "error", f"printed more than {MAX_LOG} bytes")
        return []

    def _died(self, slot: int, worker: _Worker) -> list[Answer]:
        task = worker.task
        if task is None:
            self._drop(slot)
            return []
        try:
            code = worker.process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # it closed its output but lives on
            return self._fail(slot, worker, "error", "the worker closed its answers")
        if code >= 0:
            return self._fail(slot, worker, "error", _with(f"worker exited with status {code}", worker.tail()))
        short = task.memory > _SHORT * task.limits.memory_gib * 2**30 or psutil.virtual_memory().percent > 95
        if -code == signal.SIGKILL and short:
            return self._fail(slot, worker, "out_of_memory", "worker killed by the system while memory was short")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        return self._fail(slot, worker, "error", _with(f"worker died: signal {-code} ({name})", worker.tail()))

    def _fail(self, slot: int, worker: _Worker, status: Status, reason: str) -> list[Answer]:
        task = worker.task
        self._drop(slot)
        if task is None:
            return []
        seconds = (datetime.now(UTC) - task.started).total_seconds()
        return [
            Answer(task.tag, Outcome(status=status, reason=reason, seconds=max(0.0, seconds), started=task.started))
        ]


def _with(reason: str, tail: str) -> str:
    return f"{reason}: {tail}" if tail else reason


def _memory(worker: _Worker) -> int:
    """Resident bytes of a worker and everything that it started."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(worker.process.pid)
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def _stdin(worker: _Worker) -> IO[bytes]:
    if worker.process.stdin is None:
        raise RuntimeError("worker without a pipe")
    return worker.process.stdin


def _stdout(worker: _Worker) -> IO[bytes]:
    if worker.process.stdout is None:
        raise RuntimeError("worker without a pipe")
    return worker.process.stdout
