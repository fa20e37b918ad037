"""Which of two rows is better on the whole triple."""

import math
from collections.abc import Sequence

from fl_attack_bench.score.row import Row

MSE_TOLERANCE = 0.01
ACCURACY_TOLERANCE = 0.001
SECONDS_TOLERANCE = 0.10
_TINY = 1e-12  # below it, an MSE or a duration is nothing
_ROUNDING = 1e-9  # a difference of exactly the tolerance is none


def dominates(a: Row, b: Row) -> bool:
    """Whether ``a`` is at least as good as ``b`` on all four measures and better on one. Both rows must compete.

    Bytes a round (down) are exact and compared exactly. The others are measured, and count as equal within a tolerance:
    mean worst-case MSE (up) within 1%, accuracy (up) within 0.1 points, seconds a round (down) within 10% on each link
    that both rows have. Better means by more than the tolerance, worse likewise.

    What is equal only within a tolerance is not transitive, and rows could dominate each other in a circle, which would
    leave none. So at equal bytes the differences, each in units of its tolerance, must also add up in favour of ``a``:
    of rows with the same links at least one is dominated by no other.
    """
    if not (a.competes and b.competes and a.cost and b.cost):
        return False
    links = sorted(a.cost.seconds.keys() & b.cost.seconds.keys())
    gains = [mine - other for mine, other in zip(_levels(a, links), _levels(b, links), strict=True)]
    return outdoes(a.cost.bytes_round, b.cost.bytes_round, gains)


def outdoes(mine: float, other: float, gains: Sequence[float]) -> bool:
    """Whether a row is at least as good as another and better on one measure, of any track.

    Args:
        mine: its bytes, which are compared exactly.
        other: the other's.
        gains: by which it is better on each measured figure, in units of the figure's tolerance.
    """
    if mine > other or any(gain < -1 - _ROUNDING for gain in gains):
        return False
    if mine < other:
        return True
    return any(gain > 1 + _ROUNDING for gain in gains) and sum(gains) > 0


def _levels(row: Row, links: list[str]) -> list[float]:
    """The measured figures in units of their tolerances, all higher for better."""
    if not (row.privacy and row.utility and row.cost):
        return []
    return [
        steps(row.privacy.mean.value, MSE_TOLERANCE),
        row.utility.accuracy / ACCURACY_TOLERANCE,
        *(-steps(row.cost.seconds[link], SECONDS_TOLERANCE) for link in links),
    ]


def steps(value: float, tolerance: float) -> float:
    """How many times a figure above 0 is the tolerance's factor."""
    return math.log(max(value, _TINY)) / math.log1p(tolerance)
