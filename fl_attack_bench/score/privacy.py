"""Privacy: the worst case over the attacks that count, and what is guaranteed."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from fl_attack_bench.record import Privacy, Record, VictimScore
from fl_attack_bench.score.estimates import bootstrap, mean
from fl_attack_bench.score.gate import Gated, broken
from fl_attack_bench.score.group import Group, Image
from fl_attack_bench.score.triple import Moment, WorstCase


def worst_case(group: Group, gated: Gated, played: Sequence[Record], moment: Moment) -> WorstCase | None:
    """Each image by the attack that came closest, over all seeds; None where no attack counts.

    An image on which the closest attack ran off counts as broken if another counting attack breaks it.
    """
    best = _closest(group, gated, played, moment)
    fallen = {
        image
        for attack in gated.counting(moment)
        for image, score in group.victim_scores(played, attack, moment).items()
        if broken(score, gated.gate)
    }
    if not best:
        return None
    by_seed: dict[int, list[float]] = defaultdict(list)
    for image in sorted(best):
        by_seed[image[0]].append(best[image][0].mse)
    mean_mse, median_mse = bootstrap([by_seed[seed] for seed in sorted(by_seed)])
    scores = [best[image][0] for image in sorted(best)]
    psnr = float(np.median([np.inf if score.psnr is None else score.psnr for score in scores]))
    wins = Counter(attack for _, attack in best.values())
    return WorstCase(
        moment=moment,
        mean=mean_mse,
        median=median_mse,
        ssim=mean([score.ssim for score in scores]),
        psnr=psnr if np.isfinite(psnr) else None,
        broken=len(fallen) / len(scores),
        reconstructions=len(scores),
        strongest=tuple(sorted(wins.items(), key=lambda item: (-item[1], item[0]))),
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
) -> dict[Image, tuple[VictimScore, str]]:
    """By image, the lowest MSE of all counting attacks and the label of the attack that reached it."""
    best: dict[Image, tuple[VictimScore, str]] = {}
    for attack in gated.counting(moment):
        for image, score in group.victim_scores(played, attack, moment).items():
            if image not in best or score.mse < best[image][0].mse:
                best[image] = (score, group.attacks[attack])
    return best
