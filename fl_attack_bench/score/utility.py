"""Utility: accuracy over seeds, beside the undefended federation."""

from collections.abc import Iterable

from fl_attack_bench.record import Record, Utility
from fl_attack_bench.score.estimates import deviation, mean
from fl_attack_bench.score.learned import Quantity, course, figure, spread
from fl_attack_bench.score.triple import UtilityScore


def utilities(sound: Iterable[Record]) -> dict[int, Utility]:
    """By seed. A cell whose attack failed may still hold the utility of its training."""
    return {record.cell.seed: record.utility for record in sound if record.utility}


def utility_score(sound: Iterable[Record], undefended: Iterable[Record], what: Quantity) -> UtilityScore | None:
    """The accuracy that the records hold, and its difference from the undefended; None where they hold none."""
    mine, base = utilities(sound), utilities(undefended)
    if not mine:
        return None
    accuracies = [mine[seed].accuracy for seed in sorted(mine)]
    differences = [mine[seed].accuracy - base[seed].accuracy for seed in sorted(mine.keys() & base.keys())]
    return UtilityScore(
        accuracy=mean(accuracies),
        sd=deviation(accuracies),
        difference=mean(differences) if differences else None,
        difference_sd=deviation(differences),
        centralised=mean([mine[seed].centralised_accuracy for seed in sorted(mine)]),
        seeds=len(mine),
        diverged=sum(utility.diverged for utility in mine.values()),
        rmse=spread([figure(mine[seed], what) for seed in sorted(mine)]) if what == "rmse" else None,
        course=course(mine),
    )
