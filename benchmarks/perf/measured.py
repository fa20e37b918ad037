"""What all speed tests are measured with: the hardware profile of this machine, and its clock.

``FLAB_HARDWARE`` names the profile as ``flab run --hardware`` does; without it the most particular one that matches is
taken. The clock waits for the profile's device, so that a kernel that was only queued does not count as done.
"""

import operator
import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench import hardware

PROFILE, _ = hardware.choose(os.environ.get("FLAB_HARDWARE") or hardware.AUTO, hardware.detect())
clock = hardware.clock(PROFILE.device)
_SECONDS, _FEWEST, _MOST, _LONG = 1.0, 2, 30, 5.0
Read = TypeVar("Read")


def series(work: Callable[[], object], readings: Callable[[], Read], apart: Callable[[Read, Read], Read]) -> list[Read]:
    """What some work took: after one call to warm up as often as fits into about a second, 2 to 30 times.

    Of work that takes five seconds the only call is the measurement.

    Args:
        work: what is timed.
        readings: of one or more clocks.
        apart: the later reading less the earlier one.
    """
    taken: list[Read] = []
    wanted = 1
    while len(taken) < wanted:
        began, before = clock(), readings()
        work()
        taken.append(apart(readings(), before))
        once = clock() - began
        if wanted == 1 and once < _LONG:
            wanted = 1 + max(_FEWEST, min(_MOST, int(_SECONDS / max(once, 1e-9))))
    return taken[1:] or taken


def repeated(benchmark: BenchmarkFixture, work: Callable[[], object]) -> None:
    """A benchmark of some work, as often as :func:`series` has it; where benchmarks are switched off, once."""
    if benchmark.disabled:
        benchmark.pedantic(work)
        return
    reported(benchmark, series(work, clock, operator.sub))


def reported(benchmark: BenchmarkFixture, seconds: Sequence[float]) -> None:
    """A benchmark of seconds that were read off :data:`clock` before: one party's, of a call that plays many."""
    readings = chain.from_iterable((0.0, one) for one in seconds)
    benchmark._timer = lambda: next(readings)
    benchmark.pedantic(lambda: None, rounds=len(seconds))
