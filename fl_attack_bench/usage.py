"""Who uses the processors: this program with all that it started, or others."""

import os
import time
from typing import NamedTuple

import psutil

# The operating system counts in ticks of 10 ms: of a shorter time a share is a guess.
_SHORTEST_SECONDS = 0.5
_IDLE = frozenset({"idle", "iowait"})
_COUNTED_ELSEWHERE = frozenset({"guest", "guest_nice"})  # they are in user and nice already
_DIGITS = 3


class Usage(NamedTuple):
    """Seconds up to now.

    Args:
        wall: on the clock.
        busy: that the cores which this process may use were not idle, summed over them. What a hypervisor gave to
            other machines counts as busy.
        own: of the processor, by this process, its descendants and those of them that have ended.
        cores: how many it may use.
    """

    wall: float
    busy: float
    own: float
    cores: int


def now() -> Usage:
    """The counters as they stand."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    cores = [core for number, core in enumerate(psutil.cpu_times(percpu=True)) if allowed is None or number in allowed]
    busy = sum(
        seconds for core in cores for name, seconds in core._asdict().items() if name not in _IDLE | _COUNTED_ELSEWHERE
    )
    return Usage(time.perf_counter(), busy, _own(), max(1, len(cores)))


def others(begun: Usage, ended: Usage) -> float | None:
    """Share of the cores' time that was spent on others between two readings, in [0, 1]; None if that was too short."""
    wall = ended.wall - begun.wall
    if wall < _SHORTEST_SECONDS:
        return None
    foreign = (ended.busy - begun.busy) - (ended.own - begun.own)
    return round(min(1.0, max(0.0, foreign / (wall * begun.cores))), _DIGITS)


def _own() -> float:
    """Descendants that ended and were waited for are in their parents' counters."""
    this = psutil.Process()
    total = 0.0
    for process in [this, *this.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended just now
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
