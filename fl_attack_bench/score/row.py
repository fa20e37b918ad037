"""A row of the horizontal table: one defense on one task, with its triple."""

from dataclasses import dataclass
from typing import Literal

from fl_attack_bench.record import Privacy
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.integrity import IntegrityScore
from fl_attack_bench.score.learned import Course
from fl_attack_bench.score.triple import AttackScore, CostScore, UtilityScore, WorstCase
from fl_attack_bench.tasks import HorizontalTask

Verdict = Literal["scored", "attack too weak", "no images", "no baseline", "not attacked", "integrity"]


@dataclass(frozen=True, kw_only=True)
class Row(BoardRow):
    """One defense on one task: the triple, and all that qualifies it.

    Args:
        verdict: ``scored``, or why there is no privacy figure; ``no images``: every attack on the task infers labels or
            representations only; ``integrity``: the adversary are clients, who go for the training and not for data.
        privacy: at the moment that is worse for the defense.
        moments: all moments at which an attack counts.
        attacks: every attack by itself.
        utility: None on a task without training.
        integrity: None on a task whose adversary is the server.
        cost: None where no record holds one.
        guarantee: the differential-privacy statement, the weakest over seeds.
    """

    task: HorizontalTask
    verdict: Verdict
    privacy: WorstCase | None
    moments: tuple[WorstCase, ...]
    attacks: tuple[AttackScore, ...]
    utility: UtilityScore | None
    integrity: IntegrityScore | None
    cost: CostScore | None
    guarantee: Privacy | None

    @property
    def competes(self) -> bool:
        """Whether the row may carry a Pareto mark.

        It is complete, scored and has the whole triple, no training diverged, and its data are its baseline's.
        """
        sound = self.complete and self.verdict == "scored" and self.same_data and self.privacy is not None
        trained = self.utility is not None and not self.utility.diverged
        return sound and trained and self.cost is not None and bool(self.cost.seconds)

    @property
    def course(self) -> Course:
        """What went wrong on the way, where all are honest."""
        return self.utility.course if self.utility else Course()
