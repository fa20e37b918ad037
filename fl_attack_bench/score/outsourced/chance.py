"""Reconstructive privacy: the chance to recover a sample within an error (rtas-2021, Definitions 3.1 and 3.2)."""

import math
from collections.abc import Sequence

import numpy as np

EXACT = 1 / 512  # half a step of 8 bits: below it a sample counts as recovered as it was (Definition 3.1)
NEAR = 0.1  # a mean squared error of 0.01: the horizontal track's usual gate for a broken image
WIDEST = 0.5
_STEPS = 4  # points an octave
DELTAS = tuple(EXACT * 2 ** (step / _STEPS) for step in range(1 + round(_STEPS * math.log2(WIDEST / EXACT))))


def chance(errors: Sequence[float], delta: float) -> float:
    """``epsilon(delta) = mean([sqrt(MSE) < delta])``: the share of samples that are recovered within ``delta``.

    Args:
        errors: mean squared error of each sample, features in [0, 1]; at least one.
        delta: root mean squared error, in the features' unit.

    Returns:
        In [0, 1]; lower is better for the defense.
    """
    return _shares(errors, (delta,))[0]


def chances(errors: Sequence[float]) -> tuple[float, ...]:
    """:func:`chance` at each of :data:`DELTAS`; it never falls."""
    return _shares(errors, DELTAS)


def _shares(errors: Sequence[float], deltas: Sequence[float]) -> tuple[float, ...]:
    roots = np.sort(np.sqrt(np.asarray(errors, dtype=float)))
    below = np.searchsorted(roots, np.asarray(deltas), side="left")  # how many are less, not equal
    return tuple(float(count) / len(errors) for count in below)
