"""What every row of the board has, whatever its track: who, where, and all that qualifies its figures."""

from collections import Counter
from dataclasses import dataclass

from fl_attack_bench.record import MethodUsed
from fl_attack_bench.score.learned import Course
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks.base import BaseTask

DIRTY = "the checkout had uncommitted changes"


@dataclass(frozen=True)
class Failure:
    """A cell without a usable result.

    Args:
        attack: its label, or ``utility`` on a task without victims.
        seed: the cell's.
        status: the record's, or ``missing``.
        reason: what the record says.
        counts: whether the row is incomplete because of it; an attack that fails the gate does not count, nor does one
            that is skipped on every seed. An attack by clients knows no gate and counts.
        cell_id: None for a missing cell.
    """

    attack: str
    seed: int
    status: str
    reason: str
    counts: bool
    cell_id: str | None


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """One defense on one task under one suite version and hardware profile, without its figures.

    Args:
        suite: name.
        suite_version: version.
        hardware: profile.
        task: the whole task; two tasks of one name and different content never share a row.
        defense: label.
        spec: the defense as the suite wrote it.
        method: the defense as it was played; None where no record says.
        verdict: ``scored``, or why it has no figure of the attacks; each track says which there are.
        seeds: those of the task's records.
        cells: how many cells the row should have: attacks x seeds.
        failures: failed and missing cells.
        skipped: cells that could not be played, with the reason; a gap only where other seeds could.
        complete: whether no failure and no skipped cell counts.
        same_data: whether its records and its baseline's were all made with the same dataset, by fingerprint.
        pareto: whether no competing row on the same task and hardware dominates it.
        records: ids of the cells the row is made of.
        commands: the shell lines that play them again.
        notes: what a reader must know beside the numbers.
    """

    suite: str
    suite_version: int
    hardware: str
    task: BaseTask
    defense: str
    spec: MethodSpec
    method: MethodUsed | None
    verdict: str
    seeds: tuple[int, ...]
    cells: int
    failures: tuple[Failure, ...]
    skipped: tuple[Failure, ...]
    complete: bool
    same_data: bool
    pareto: bool = False
    records: tuple[str, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def baseline(self) -> bool:
        """Whether this is the undefended one."""
        return self.spec.is_baseline

    @property
    def course(self) -> Course:
        """What went wrong on the way of the honest training, as far as the track's records tell."""
        return Course()

    @property
    def summary(self) -> str:
        """The failures and gaps in one line: ``1 of 6 cells failed: timeout``; empty where there are none."""
        kinds = Counter(failure.status for failure in self.failures)
        missing = kinds.pop("missing", 0)
        parts = []
        if kinds:
            parts.append(f"{sum(kinds.values())} of {self.cells} cells failed: {', '.join(sorted(kinds))}")
        if missing:
            parts.append(f"{missing} of {self.cells} cells missing")
        if gaps := sum(skip.counts for skip in self.skipped):
            parts.append(f"{gaps} of {self.cells} cells skipped, on some seeds only")
        return "; ".join(parts)
