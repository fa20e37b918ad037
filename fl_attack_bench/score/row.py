"""A row of the table: one defense on one task, with its triple and all that qualifies it."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from fl_attack_bench.record import MethodUsed, Privacy
from fl_attack_bench.score.integrity import IntegrityScore
from fl_attack_bench.score.triple import AttackScore, CostScore, UtilityScore, WorstCase
from fl_attack_bench.suite import MethodSpec, Task

DIRTY = "the checkout had uncommitted changes"
Verdict = Literal["scored", "attack too weak", "no images", "no baseline", "not attacked", "integrity"]


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


@dataclass(frozen=True)
class Row:
    """One defense on one task: the triple and all that qualifies it.

    Args:
        suite: name.
        suite_version: version.
        hardware: profile.
        task: the whole task; two tasks of one name and different content never share a row.
        defense: label.
        spec: the defense as the suite wrote it.
        method: the defense as it was played; None where no record says.
        verdict: ``scored``, or why there is no privacy figure; ``no images``: every attack on the task infers labels or
            representations only; ``integrity``: the adversary are clients, who go for the training and not for data.
        privacy: at the moment that is worse for the defense.
        moments: all moments at which an attack counts.
        attacks: every attack by itself.
        utility: None on a task without training.
        integrity: None on a task whose adversary is the server.
        cost: None where no record holds one.
        guarantee: the differential-privacy statement, the weakest over seeds.
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
    task: Task
    defense: str
    spec: MethodSpec
    method: MethodUsed | None
    verdict: Verdict
    privacy: WorstCase | None
    moments: tuple[WorstCase, ...]
    attacks: tuple[AttackScore, ...]
    utility: UtilityScore | None
    integrity: IntegrityScore | None
    cost: CostScore | None
    guarantee: Privacy | None
    seeds: tuple[int, ...]
    cells: int
    failures: tuple[Failure, ...]
    skipped: tuple[Failure, ...]
    complete: bool
    same_data: bool
    pareto: bool
    records: tuple[str, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def baseline(self) -> bool:
        """Whether this is the undefended federation."""
        return self.spec.is_baseline

    @property
    def competes(self) -> bool:
        """Whether the row may carry a Pareto mark.

        It is complete, scored and has the whole triple, no training diverged, and its data are its baseline's.
        """
        sound = self.complete and self.verdict == "scored" and self.same_data and self.privacy is not None
        trained = self.utility is not None and not self.utility.diverged
        return sound and trained and self.cost is not None and bool(self.cost.seconds)

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
