"""Figures over seeds and victims: mean, spread, and the bootstrap's interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CHUNK = 1 << 20  # values resampled at a time


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95% bootstrap interval, all in the figure's own unit."""

    value: float
    low: float
    high: float


def bootstrap(seeds: Sequence[Sequence[float]]) -> tuple[Estimate, Estimate]:
    """Mean and median over all values, each with its 95% interval.

    The bootstrap has two stages, seeds first and victims within each drawn seed, because an attack's success belongs
    to the network's weights more than to the image. It uses a fixed stream: the same values give the same interval.
    Values are resampled in chunks, so that memory does not grow with the number of victims.

    Args:
        seeds: one sequence of values a seed, none of them empty; a ragged set weighs seeds alike in the interval.

    Returns:
        The mean and the median, in the values' unit.
    """
    lengths = np.array([len(values) for values in seeds])
    padded = np.zeros((len(seeds), lengths.max()))
    for index, values in enumerate(seeds):
        padded[index, : len(values)] = values
    rng = np.random.default_rng(20_240_229)
    drawn = rng.integers(0, len(seeds), size=(RESAMPLES, len(seeds)))
    means, medians = np.empty(RESAMPLES), np.empty(RESAMPLES)
    step = max(1, CHUNK // padded.size)
    for start in range(0, RESAMPLES, step):
        part = slice(start, start + step)
        chosen = drawn[part]
        picks = (rng.random((len(chosen), *padded.shape)) * lengths[chosen][..., None]).astype(np.int64)
        samples = padded[chosen[..., None], picks].reshape(len(chosen), -1)
        means[part], medians[part] = samples.mean(axis=1), np.median(samples, axis=1)
    pooled = np.concatenate([np.asarray(values, dtype=float) for values in seeds])
    return (
        _interval(float(pooled.mean()), means),
        _interval(float(np.median(pooled)), medians),
    )


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return float(np.mean(np.asarray(values, dtype=float)))


def mean_known(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None for fewer than two values."""
    return float(np.std(np.asarray(values, dtype=float), ddof=1)) if len(values) > 1 else None


def _interval(value: float, samples: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
