"""Which of two rows of an outsourced task is better on privacy, utility and cost."""

import math

from fl_attack_bench.score.outsourced.row import STAGES, OutsourcedRow, StageScore
from fl_attack_bench.score.pareto import ACCURACY_TOLERANCE, MSE_TOLERANCE, SECONDS_TOLERANCE, outdoes, steps


def dominates(a: OutsourcedRow, b: OutsourcedRow) -> bool:
    """Whether ``a`` is at least as good as ``b`` on every measure and better on one. Both rows must compete.

    Measures: mean worst-case MSE (up) within 1%, accuracy (up) within 0.1 points, and of a training step and of a
    predicted batch the bytes (down), online and offline, exactly, and the seconds (down) within 10% on each link that
    both rows have. A protocol that does not train is no match for one that does. Equality within a tolerance is treated
    as on the horizontal track.
    """
    if not (a.competes and b.competes):
        return False
    sizes = list(zip(_bytes(a), _bytes(b), strict=True))
    if any(mine > other for mine, other in sizes):
        return False
    fewer = any(mine < other for mine, other in sizes)
    return outdoes(0.0 if fewer else 1.0, 1.0, _gains(a, b))


def _bytes(row: OutsourcedRow) -> list[float]:
    stages = [row.cost.stage(name) if row.cost else None for name in STAGES]
    return [math.inf if stage is None else stage.bytes for stage in stages]


def _gains(a: OutsourcedRow, b: OutsourcedRow) -> list[float]:
    """By how many tolerances ``a`` is better on each measured figure."""
    found = []
    if a.privacy and b.privacy:
        found.append(steps(a.privacy.mean.value, MSE_TOLERANCE) - steps(b.privacy.mean.value, MSE_TOLERANCE))
    if a.utility and b.utility:
        found.append((a.utility.accuracy - b.utility.accuracy) / ACCURACY_TOLERANCE)
    for name in STAGES:
        mine, other = (row.cost.stage(name) if row.cost else None for row in (a, b))
        found += _faster(mine, other)
    return found


def _faster(mine: StageScore | None, other: StageScore | None) -> list[float]:
    if mine is None or other is None:
        return []
    links = sorted(mine.seconds.keys() & other.seconds.keys())
    return [
        steps(other.seconds[link], SECONDS_TOLERANCE) - steps(mine.seconds[link], SECONDS_TOLERANCE) for link in links
    ]
