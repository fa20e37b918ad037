"""Whether two methods differ by more than seed noise: a paired test over the same victims and seeds."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from fl_attack_bench.score.estimates import deviation, mean

LEVEL = 0.05
Pair = tuple[int, ...]  # the seed first, then what tells the victims of one seed apart
_ROUNDING = 1e-12  # relative: a spread below it is what adding up floats leaves


@dataclass(frozen=True)
class Difference:
    """``other - first`` over the pairs that both hold, in the figure's own unit.

    Args:
        value: mean over seeds of each seed's mean over victims.
        low: lower end of the 95% interval; None for a single seed.
        high: upper end, likewise.
        p: two-sided, in [0, 1]; None for a single seed.
        pairs: how many there are.
        seeds: over how many seeds.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int
    seeds: int

    @property
    def beyond_noise(self) -> bool | None:
        """Whether it is more than seed noise at the 5% level; None where one seed cannot tell."""
        return None if self.p is None else self.p < LEVEL


def paired(first: Mapping[Pair, float], other: Mapping[Pair, float]) -> Difference | None:
    """Compare figures of the same victims and seeds by Student's paired test over the seeds' mean differences.

    With ``d_s`` the mean over the victims of seed ``s`` of ``other - first``, ``n`` seeds, mean ``m`` and sample
    standard deviation ``sd``: ``t = m / (sd / sqrt(n))`` with ``n - 1`` degrees of freedom, and the interval
    ``m ± t_0.975 sd / sqrt(n)``.

    The seed is the unit, not the victim, because all victims of a seed meet the same weights and succeed or fail
    together. Neither of two other tests serves the three to five seeds of a suite: the exact sign-flip test over seeds
    cannot go below p = 2 / 2^n, which is 0.25 for three, and the bootstrap over three seeds covers 73% where it says
    95%. Student's test assumes that the seeds' means are about normal, which a mean over victims is more than a single
    one. Figures that are equal but for a constant have no noise: p is 0.

    Args:
        first: by pair; all finite.
        other: likewise; what only one of both holds does not count.

    Returns:
        None where no pair is on both sides, or a figure of one is not finite.

    Source:
        A. Donner and N. Klar, Design and Analysis of Cluster Randomization Trials, 2000.
    """
    shared = sorted(first.keys() & other.keys())
    if not shared or not all(math.isfinite(first[pair]) and math.isfinite(other[pair]) for pair in shared):
        return None
    by_seed: dict[int, list[float]] = defaultdict(list)
    for pair in shared:
        by_seed[pair[0]].append(other[pair] - first[pair])
    means = [mean(values) for values in by_seed.values()]
    value, seeds = mean(means), len(means)
    spread = deviation(means)
    if spread is None:
        return Difference(value, None, None, None, len(shared), seeds)
    scale = max(abs(first[pair]) + abs(other[pair]) for pair in shared)
    if spread <= _ROUNDING * scale:
        return Difference(value, value, value, 1.0 if abs(value) <= _ROUNDING * scale else 0.0, len(shared), seeds)
    error = spread / math.sqrt(seeds)
    half = _quantile(seeds - 1) * error
    return Difference(value, value - half, value + half, _two_sided(value / error, seeds - 1), len(shared), seeds)


def over_seeds(values: Mapping[Pair, float]) -> tuple[float | None, float | None]:
    """The 95% interval of a mean over seeds, by Student's distribution; None for a single seed or infinite values."""
    found = list(values.values())
    spread = deviation(found) if all(map(math.isfinite, found)) else None
    if spread is None:
        return None, None
    half = _quantile(len(found) - 1) * spread / math.sqrt(len(found))
    return mean(found) - half, mean(found) + half


def _quantile(freedom: int) -> float:
    """Student's 97.5% point."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - LEVEL / 2))


def _two_sided(t: float, freedom: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))
