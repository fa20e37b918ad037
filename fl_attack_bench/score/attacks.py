"""Every attack by itself: the images it returns, the labels and representations it infers, the bounds it meets."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fl_attack_bench.record import Reconstructed, Record
from fl_attack_bench.score.estimates import mean, mean_known
from fl_attack_bench.score.gate import Gated
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.triple import MOMENTS, AttackScore, Certification, Moment

REPRODUCED = 0.1  # a residual up to it: the reconstruction has the representation that the bound speaks of
SLACK = 1e-3  # relative: what rounding may put between a bound and a distance that meets it exactly


def attack_scores(group: Group, gated: Gated, played: Sequence[Record]) -> tuple[AttackScore, ...]:
    """Every attack by itself at every moment at which the records hold something of it, by label."""
    return tuple(
        _score(group, gated, attack, moment, found)
        for attack in group.attacks_by_label()
        for moment in MOMENTS
        if (found := list(group.reconstructed(played, attack, moment).values()))
    )


def certification(done: Iterable[Reconstructed]) -> Certification | None:
    """The bounds that a defense states beside the measured distances, over all seeds; None where it states none."""
    stated = [score.certified for one in done for score in one.victims if score.certified is not None]
    if not stated:
        return None
    speaking = [one for one in stated if one.residual is not None and one.residual <= REPRODUCED]
    return Certification(
        images=len(stated),
        reproducing=len(speaking),
        # One that misses the representation by a share of what the defense changed may be nearer by as much.
        kept=sum(one.bound * (1 - (one.residual or 0)) <= one.distance * (1 + SLACK) for one in speaking),
        bound=float(np.median([one.bound for one in stated])),
        distance=float(np.median([one.distance for one in stated])),
    )


def _score(group: Group, gated: Gated, attack: str, moment: Moment, found: Sequence[Reconstructed]) -> AttackScore:
    images = [score for done in found for score in sorted(done.victims, key=lambda score: score.victim)]
    return AttackScore(
        attack=group.attacks[attack],
        moment=moment,
        mean=mean([score.mse for score in images]) if images else None,
        baseline_share=gated.shares.get((attack, moment)),
        passed=gated.passes(attack, moment),
        diverged=sum(score.diverged for score in images),
        label_accuracy=mean_known([done.label_accuracy for done in found]),
        correlations=by_layer([done.correlations for done in found]),
        blind=by_layer([done.blind for done in found]),
        classes_found=mean_known([done.classes_found for done in found]),
        certified=certification(found),
    )


def by_layer(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By layer, the mean over those that name it."""
    layers = sorted({layer for one in found for layer in one})
    return {layer: mean([one[layer] for one in found if layer in one]) for layer in layers}
