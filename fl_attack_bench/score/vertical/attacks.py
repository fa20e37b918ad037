"""Every attack by itself: means over seeds of what it reached under one defense, by kind of attack."""

import math
from collections.abc import Mapping, Sequence

from fl_attack_bench.record import Record
from fl_attack_bench.score.estimates import mean
from fl_attack_bench.score.learned import Spread
from fl_attack_bench.score.vertical.gate import VerticalGated
from fl_attack_bench.score.vertical.group import VerticalGroup
from fl_attack_bench.score.vertical.row import AttackResult, Backdoored, F, Inferred, Kind, Rebuilt
from fl_attack_bench.vertical_record import (
    FeaturesReconstructed,
    LabelsInferred,
    Triggered,
    VerticalLearned,
    VerticalResult,
)

SAME_LOSS = 1e-6  # relative: what rounding may put between two trainings that are the same


def backdoors(group: VerticalGroup, gated: VerticalGated, played: Sequence[Record]) -> list[AttackResult[Backdoored]]:
    """Every backdoor attack, by label."""
    honest = group.honest(played)
    return [
        _result(group, gated, attack, "backdoor", _backdoored(found, honest, gated.most))
        for attack, found in _found(group, played, "backdoor")
    ]


def inferences(group: VerticalGroup, gated: VerticalGated, played: Sequence[Record]) -> list[AttackResult[Inferred]]:
    """Every inference of labels, by label."""
    found = []
    for attack, results in _found(group, played, "labels"):
        labels = [one.labels for one in results.values() if one.labels is not None]
        found.append(_result(group, gated, attack, "labels", _inferred(labels)))
    return found


def inversions(group: VerticalGroup, gated: VerticalGated, played: Sequence[Record]) -> list[AttackResult[Rebuilt]]:
    """Every reconstruction of features, by label."""
    found = []
    for attack, results in _found(group, played, "features"):
        features = [one.features for one in results.values() if one.features is not None]
        found.append(_result(group, gated, attack, "features", _rebuilt(features)))
    return found


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and range of one figure a seed, of which there is at least one."""
    return Spread(mean(values), min(values), max(values), len(values))


def mean_scores(triggered: Sequence[Triggered]) -> tuple[float, ...]:
    """The mean of each class's predicted probability over seeds; empty without any, or where the classes differ."""
    if len({len(one.scores) for one in triggered}) != 1:
        return ()
    return tuple(mean(column) for column in zip(*(one.scores for one in triggered), strict=True))


def _found(group: VerticalGroup, played: Sequence[Record], kind: Kind) -> list[tuple[str, dict[int, VerticalResult]]]:
    return [
        (attack, results) for attack in group.attacks_by_label() if (results := group.results(played, attack, kind))
    ]


def _result(group: VerticalGroup, gated: VerticalGated, attack: str, kind: Kind, figures: F) -> AttackResult[F]:
    return AttackResult(
        attack=group.attacks[attack],
        spec=group.specs[attack],
        kind=kind,
        figures=figures,
        advantage=gated.advantages.get((attack, kind)),
        passed=gated.passes(attack, kind),
        spoils=gated.spoils(attack, kind),
    )


def _backdoored(
    results: Mapping[int, VerticalResult], honest: Mapping[int, VerticalLearned], most: float
) -> Backdoored:
    learned = {seed: one.attacked for seed, one in results.items() if one.attacked is not None}
    triggered = [one.triggered for one in learned.values() if one.triggered is not None]
    apart = [one.accuracy - honest[seed].accuracy for seed, one in learned.items() if seed in honest]
    return Backdoored(
        success=over_seeds([one.success for one in triggered]),
        accuracy=over_seeds([one.accuracy for one in learned.values()]),
        difference=mean(apart) if apart else None,
        scores=mean_scores(triggered),
        diverged=sum(one.diverged for one in learned.values()),
        dormant=all(_untouched(one) for one in results.values()),
        spoils=bool(apart) and -mean(apart) > most,
    )


def _untouched(result: VerticalResult) -> bool:
    """Whether the training under attack was the honest one of the same record, as far as both were evaluated."""
    if result.attacked is None or result.honest is None:
        return False
    both = list(zip(result.attacked.losses, result.honest.losses, strict=False))
    # An untrained network has the same losses whoever trains it.
    return len(both) > 1 and all(math.isclose(one, other, rel_tol=SAME_LOSS) for (_, one), (_, other) in both)


def _inferred(labels: Sequence[LabelsInferred]) -> Inferred:
    return Inferred(
        accuracy=over_seeds([one.accuracy for one in labels]),
        majority=mean([one.majority for one in labels]),
        known=max(one.known for one in labels),
    )


def _rebuilt(features: Sequence[FeaturesReconstructed]) -> Rebuilt:
    return Rebuilt(
        mse=over_seeds([mean([one.mse for one in found.victims]) for found in features]),
        raw=mean([mean([one.mse_raw for one in found.victims]) for found in features]),
        blind=mean([mean([one.blind for one in found.victims]) for found in features]),
        victims=max(len(found.victims) for found in features),
        known=max(found.known for found in features),
    )
