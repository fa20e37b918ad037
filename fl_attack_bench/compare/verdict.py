"""Whether a head is worse than its base: pure functions of samples. Equal samples never raise an alarm."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MIN_ROUNDS = 3
MSE_FLOOR = 1e-4  # a root mean squared error of 0.01 of the pixel range: below it an image is as good as the original
_ROUNDING = 1e-9  # relative: a difference of exactly the tolerance is none
Quantity = Literal["mse", "share", "bytes", "epsilon"]


@dataclass(frozen=True)
class Tolerances:
    """By how much a head may be worse before that is a regression.

    Args:
        seconds: the fraction by which the fastest head round may be slower than the slowest base round.
        points: shares (accuracy, attack success) in [0, 1]: the loss of their mean over seeds; 0.01 is one point.
        mse: the fraction by which a mean MSE may fall.
        exact: the fraction by which bytes and epsilons may grow.
    """

    seconds: float = 0.10
    points: float = 0.01
    mse: float = 0.10
    exact: float = 0.01


@dataclass(frozen=True)
class Timing:
    """One timed cell, run in turns.

    Args:
        base: seconds of each round.
        head: likewise, as many.
        base_median: of the base's rounds.
        head_median: of the head's.
        slower: whether that is a regression.
        unsure: whether it is none, but the base's own rounds differ by more than the tolerance: on a machine that busy
            a slowdown of this size could hide.
        overlapping: whether it is none, but the head's median is slower by more than the tolerance: the rounds are not
            apart.
    """

    base: tuple[float, ...]
    head: tuple[float, ...]
    base_median: float
    head_median: float
    slower: bool
    unsure: bool
    overlapping: bool

    @property
    def settled(self) -> bool:
        """Whether nothing is left open that more plays a round could settle."""
        return self.slower or not (self.unsure or self.overlapping)

    @property
    def ratio(self) -> float | None:
        """Head's median over base's; None where the base takes no time at all."""
        return self.head_median / self.base_median if self.base_median else None


def timing(base: Sequence[float], head: Sequence[float], tolerance: float) -> Timing:
    """Hold the rounds of a head against those of its base, run in turns in one job.

    Slower means ``min(head) > (1 + tolerance) max(base)``: the two sets of rounds lie apart by more than the tolerance.
    One slow round, as other load on the machine brings about, raises no alarm: on the head it is not the fastest, and
    on the base it can only hide something until the next run.

    Args:
        base: seconds, at least :data:`MIN_ROUNDS`.
        head: likewise.
        tolerance: a fraction of at least 0.

    Raises:
        ValueError: too few rounds, or seconds or a tolerance that are negative or not finite.
    """
    if min(len(base), len(head)) < MIN_ROUNDS:
        raise ValueError(f"{min(len(base), len(head))} rounds: at least {MIN_ROUNDS} of each side are needed")
    if any(not math.isfinite(value) or value < 0 for value in (*base, *head, tolerance)):
        raise ValueError("seconds and the tolerance are finite and at least 0")
    slower = min(head) > (1 + tolerance) * max(base) * (1 + _ROUNDING)
    unsure = not slower and max(base) > (1 + tolerance) * min(base) * (1 + _ROUNDING)
    medians = statistics.median(base), statistics.median(head)
    overlapping = not slower and medians[1] > (1 + tolerance) * medians[0] * (1 + _ROUNDING)
    return Timing(tuple(base), tuple(head), *medians, slower, unsure, overlapping)


def worse(quantity: Quantity, base: float, head: float, tolerances: Tolerances, *, higher: bool) -> bool:
    """Whether a mean over the same seeds and victims has become worse by more than its tolerance.

    ===========  ======================================================================
    quantity     worse
    ===========  ======================================================================
    ``share``    ``base - head > points`` where higher is better, else ``head - base``
    ``mse``      ``head < (1 - mse) base``, and by more than :data:`MSE_FLOOR`
    ``bytes``    ``head > (1 + exact) base``
    ``epsilon``  likewise; infinite is worse than any
    ===========  ======================================================================

    Args:
        quantity: what the means are of.
        base: the base's.
        head: the head's.
        tolerances: see there.
        higher: whether a higher share is better; the other quantities have one direction.

    Raises:
        ValueError: a figure is not a number.
    """
    if math.isnan(base) or math.isnan(head):
        raise ValueError("a figure is not a number")
    if quantity == "share":
        return (base - head if higher else head - base) > tolerances.points + _ROUNDING
    if quantity == "mse":
        return base - head > max(tolerances.mse * base * (1 + _ROUNDING), MSE_FLOOR)
    return head > (1 + tolerances.exact) * base * (1 + _ROUNDING)
