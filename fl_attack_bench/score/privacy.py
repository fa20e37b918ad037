"""Privacy: the worst case over the attacks that count, and every attack by itself."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from fl_attack_bench.record import Privacy, Record, VictimScore
from fl_attack_bench.score.estimates import bootstrap, mean
from fl_attack_bench.score.gate import Gated
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.triple import MOMENTS, AttackScore, Moment, WorstCase


def worst_case(group: Group, gated: Gated, played: Sequence[Record], moment: Moment) -> WorstCase | None:
    """Each image by the attack that came closest, over all seeds; None where no attack counts."""
    best = _closest(group, gated, played, moment)
    if not best:
        return None
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, victim in sorted(best):
        by_seed[seed].append(best[seed, victim][0].mse)
    mean_mse, median_mse = bootstrap([by_seed[seed] for seed in sorted(by_seed)])
    scores = [best[pair][0] for pair in sorted(best)]
    psnr = float(np.median([np.inf if score.psnr is None else score.psnr for score in scores]))
    wins = Counter(attack for _, attack in best.values())
    return WorstCase(
        moment=moment,
        mean=mean_mse,
        median=median_mse,
        ssim=mean([score.ssim for score in scores]),
        psnr=psnr if np.isfinite(psnr) else None,
        broken=sum(score.mse < gated.gate.mse for score in scores) / len(scores),
        reconstructions=len(scores),
        strongest=tuple(sorted(wins.items(), key=lambda item: (-item[1], item[0]))),
    )


def attack_scores(group: Group, gated: Gated, played: Sequence[Record]) -> tuple[AttackScore, ...]:
    """Every attack by itself at every moment that the records hold, by label."""
    return tuple(
        AttackScore(
            attack=group.attacks[attack],
            moment=moment,
            mean=mean([scores[pair].mse for pair in sorted(scores)]),
            baseline_share=gated.shares.get((attack, moment)),
            passed=gated.passes(attack, moment),
        )
        for attack in group.attacks_by_label()
        for moment in MOMENTS
        if (scores := group.victim_scores(played, attack, moment))
    )


def guarantee(sound: Sequence[Record]) -> Privacy | None:
    """The weakest statement over seeds: the largest epsilon, none where one seed has none."""
    found = [record.privacy for record in sound if record.status == "ok" and record.privacy is not None]
    if not found:
        return None

    def weakness(privacy: Privacy) -> tuple[float, float, float, str]:
        server, model = privacy.epsilon_server, privacy.epsilon_model
        return (
            np.inf if server is None else server,
            np.inf if model is None else model,
            privacy.delta or 0.0,
            privacy.statement,
        )

    return max(found, key=weakness)


def _closest(
    group: Group, gated: Gated, played: Sequence[Record], moment: Moment
) -> dict[tuple[int, int], tuple[VictimScore, str]]:
    """By (seed, victim), the lowest MSE of all counting attacks and the label of the attack that reached it."""
    best: dict[tuple[int, int], tuple[VictimScore, str]] = {}
    for attack in gated.counting(moment):
        for pair, score in group.victim_scores(played, attack, moment).items():
            if pair not in best or score.mse < best[pair][0].mse:
                best[pair] = (score, group.attacks[attack])
    return best
