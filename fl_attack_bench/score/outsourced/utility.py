"""Utility of a protocol over seeds, beside the plain network's."""

from collections.abc import Iterable, Mapping, Sequence

from fl_attack_bench.outsourced_record import OutsourcedLearned, OutsourcedResult
from fl_attack_bench.score.estimates import deviation, mean, mean_known
from fl_attack_bench.score.outsourced.row import OutsourcedUtility


def utility(results: Mapping[int, Sequence[OutsourcedResult]]) -> OutsourcedUtility | None:
    """From what the records hold by seed; None where they hold no accuracy."""
    found = [learned for seed in sorted(results) if (learned := _learned(results[seed])) is not None]
    if not found:
        return None
    accuracies = [one.accuracy for one in found]
    differences = [one.accuracy - one.plain_accuracy for one in found]
    return OutsourcedUtility(
        accuracy=mean(accuracies),
        sd=deviation(accuracies),
        plain=mean([one.plain_accuracy for one in found]),
        difference=mean(differences),
        difference_sd=deviation(differences),
        weights=max((one.weight_difference for one in found if one.weight_difference is not None), default=None),
        weights_rms=mean_known([one.weight_rms_difference for one in found]),
        steps=max(one.steps for one in found),
        seeds=len(found),
        diverged=sum(one.diverged for one in found),
    )


def _learned(results: Iterable[OutsourcedResult]) -> OutsourcedLearned | None:
    return next((one.learned for one in results if one.learned is not None), None)
