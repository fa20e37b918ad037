"""What the user sees while cells are played: a live display on a terminal, a line a cell elsewhere."""

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TextIO

from fl_attack_bench.jobs import ATTACKING, Job, Kind, Outcome
from fl_attack_bench.record import Record

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

FAILED = ("error", "timeout", "out_of_memory")
_REFRESHES = 2  # a second: more would take time from what is being measured
_SHOWN_JOBS = 8


class Progress(Protocol):
    """Listens to a run. All calls come from one thread but ``say``."""

    def begin(self, cells: int, kept: int, jobs: Mapping[Kind, int], workers: int) -> None:
        """So many cells are asked for, of which some are there already; these jobs are left to play."""

    def started(self, job: Job) -> None:
        """A job was given to a worker."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """A job ended, or will not be played because one that it needs failed."""

    def cell(self, record: Record) -> None:
        """A cell's record is written."""

    def say(self, message: str) -> None:
        """Something that the user should know."""

    def end(self) -> None:
        """Nothing more will come."""


class Quiet:
    """Shows nothing."""

    def begin(self, cells: int, kept: int, jobs: Mapping[Kind, int], workers: int) -> None:
        """Nothing."""

    def started(self, job: Job) -> None:
        """Nothing."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Nothing."""

    def cell(self, record: Record) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Estimate:
    """Time left, from the seconds that jobs of each kind took so far."""

    def __init__(self, jobs: Mapping[Kind, int], workers: int) -> None:
        self._left: Counter[Kind] = Counter(jobs)
        self._taken: defaultdict[Kind, list[float]] = defaultdict(list)
        self._workers = max(1, workers)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Count a job; one that was never played says nothing of the others."""
        self._left[job.kind] -= 1
        if outcome.seconds > 0:
            self._taken[job.kind].append(outcome.seconds)

    def seconds(self) -> float | None:
        """What is left, or None while nothing is known. A kind not yet seen counts like the mean of the rest."""
        seen = [second for seconds in self._taken.values() for second in seconds]
        if not seen:
            return None
        total = 0.0
        for kind, left in self._left.items():
            known = self._taken.get(kind, seen)
            share = 1 if kind == "timing" else self._workers
            total += max(0, left) * sum(known) / len(known) / share
        return total


class Lines:
    """One line for each finished cell.

    Args:
        stream: where to; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._done = self._cells = 0
        self._estimate = Estimate({}, 1)

    def begin(self, cells: int, kept: int, jobs: Mapping[Kind, int], workers: int) -> None:
        """Say what there is to do."""
        self._done, self._cells = kept, cells
        self._estimate = Estimate(jobs, workers)
        there = f", {kept} of them played before" if kept else ""
        self.say(f"{cells} cells{there}; {sum(jobs.values())} jobs to play on {workers} workers")

    def started(self, job: Job) -> None:
        """Nothing: too much for a log."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Keep count."""
        self._estimate.finished(job, outcome)

    def cell(self, record: Record) -> None:
        """One line."""
        self._done += 1
        left = self._estimate.seconds()
        rest = f"  ({duration(left)} left)" if left and self._done < self._cells else ""
        self.say(f"[{self._done}/{self._cells}] {described(record)}{rest}")

    def say(self, message: str) -> None:
        """One line."""
        print(message, file=self._stream, flush=True)

    def end(self) -> None:
        """Nothing."""


class Screen:
    """A live display: cells done, running, failed, and the time left; failures scroll by above it."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._running: dict[str, Job] = {}
        self._cells = self._done = self._failed = 0
        self._estimate = Estimate({}, 1)

    def begin(self, cells: int, kept: int, jobs: Mapping[Kind, int], workers: int) -> None:
        """Open the display."""
        from rich.live import Live

        self._cells, self._done = cells, kept
        self._estimate = Estimate(jobs, workers)
        self._live = Live(console=self._console, refresh_per_second=_REFRESHES, get_renderable=self._render)
        self._live.start()

    def started(self, job: Job) -> None:
        """Show the job among those that run."""
        self._running[_name(job)] = job

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Take it off."""
        self._running.pop(_name(job), None)
        self._estimate.finished(job, outcome)

    def cell(self, record: Record) -> None:
        """Count it; a failure is also printed."""
        self._done += 1
        if record.status in FAILED:
            self._failed += 1
            self.say(described(record))

    def say(self, message: str) -> None:
        """A line above the display; never taken for markup."""
        self._console.print(message, markup=False, highlight=False)

    def end(self) -> None:
        """Close the display; its last state stays."""
        self._running.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> "Table":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        left = self._estimate.seconds()
        counts = f"{self._done}/{self._cells} cells  {len(self._running)} running  {self._failed} failed"
        if left is not None and self._done < self._cells:
            counts += f"  {duration(left)} left"
        table = Table.grid(padding=(0, 1))
        table.add_row(ProgressBar(total=max(1, self._cells), completed=self._done, width=40), Text(counts))
        for name in list(self._running)[:_SHOWN_JOBS]:
            table.add_row("", Text(name, style="dim", overflow="ellipsis", no_wrap=True))
        return table


def make(stream: TextIO | None = None) -> Progress:
    """The live display where standard error is a terminal, plain lines elsewhere."""
    out = stream or sys.stderr
    return Screen() if out is sys.stderr and out.isatty() else Lines(out)


def duration(seconds: float) -> str:
    """Rounded for people: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def described(record: Record) -> str:
    """One line on a cell: its axes, its status, why, and what it scored."""
    cell = record.cell
    attack = cell.attack.label if cell.attack is not None else "no attack"
    text = f"{record.status:<7} {cell.task.name} | {cell.defense.label} | {attack} | seed {cell.seed}"
    if record.status != "ok":
        text += f": {record.reason.splitlines()[0][:300] if record.reason else 'no reason given'}"
    return text


def _name(job: Job) -> str:
    cell = job.cell
    words = [job.kind, cell.task.name]
    if job.kind != "centralised":
        words.append(cell.defense.label)
    if job.kind in ATTACKING and cell.attack is not None:
        words.append(cell.attack.label)
    return " | ".join([*words, *([f"seed {cell.seed}"] if job.kind != "timing" else [])])
