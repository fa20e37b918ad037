"""A step of every defense that the registry finds, on real digits; a new defense is timed without being named here.

* Horizontal, LeNet-5 among seven clients with 32 digits each. ``client``: all that one client computes in a round, from
  its local step to its last encoded message, with what it decodes of others; how much of it is the defense stands in
  the extra information. ``server``: the same for the server, to the mean. ``round``: everybody's.
* Vertical, two parties, batches of 32. ``active``: what one batch costs the active party. ``epoch``: all of it.
* Outsourced, the paper's CNN. ``training``: one step on 32 images, all parties one after the other on the CPU;
  ``inference``: one batch of 32.
"""

import operator
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count

import delegated
import pytest
import worlds
from measured import PROFILE, clock, reported, series
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench.aggregation import Stopwatch
from fl_attack_bench.api import ACTIVE, SERVER, HorizontalDefense, OutsourcedDefense, VerticalDefense
from fl_attack_bench.method import Method, build
from fl_attack_bench.wire import Wire, client

Seconds = Mapping[str, list[float]]


def read(watch: Stopwatch, parties: Mapping[str, str]) -> dict[str, float]:
    """Seconds so far: everybody's, and those of some parties."""
    return {"all": clock(), **{part: watch.total.get(party, 0.0) for part, party in parties.items()}}


def measured(work: Callable[[], object], readings: Callable[[], dict[str, float]]) -> Seconds:
    """Seconds of each call by part."""
    taken = series(work, readings, lambda after, before: {part: after[part] - before[part] for part in after})
    return {part: [one[part] for one in taken] for part in taken[0]}


@cache
def horizontal(cls: type[Method]) -> tuple[Seconds, dict[str, float]]:
    """Rounds of a federation."""
    played = worlds.Federation(build(cls, {}), PROFILE.device, clock)
    seconds = measured(played.play, lambda: read(played.watch, {"client": client(0), "server": SERVER}))
    defending = played.watch.speaking[client(0)] / played.rounds
    told = {"clients": worlds.CLIENTS, "batch": worlds.BATCH, "defense_seconds": defending}
    return {**seconds, "round": seconds["all"]}, told


@cache
def vertical(cls: type[Method]) -> tuple[Seconds, dict[str, float]]:
    """Epochs of a training."""
    parties, watch = worlds.aligned(10).parties(build(cls, {}), Wire(), PROFILE.device), Stopwatch(clock)
    batches = len(parties.batches(0))

    def epoch() -> None:
        if not parties.epoch(0, watch):
            raise RuntimeError("the training ran off")

    seconds = measured(epoch, lambda: read(watch, {"active": ACTIVE}))
    each = [one / batches for one in seconds["active"]]
    return {"active": each, "epoch": seconds["all"]}, {"batches": batches, "batch": worlds.BATCH}


@cache
def outsourced(cls: type[Method]) -> tuple[Seconds, dict[str, float]]:
    """Steps, where the protocol trains, and predictions."""
    played, numbers = delegated.Played(build(cls, {}), clock, delegated.BATCH), count()
    works = {"inference": lambda: played.predict(number=next(numbers))}
    if played.plan.samples:
        works["training"] = lambda: played.step(next(numbers))
    seconds = {part: series(work, clock, operator.sub) for part, work in works.items()}
    return seconds, {"batch": delegated.BATCH}


PLAYED = {HorizontalDefense: horizontal, VerticalDefense: vertical, OutsourcedDefense: outsourced}
PARTS = {
    HorizontalDefense: ("client", "server", "round"),
    VerticalDefense: ("active", "epoch"),
    OutsourcedDefense: ("training", "inference"),
}
FOUND = [
    (f"{name}-{base.__name__}-{part}", cls, base, part)
    for name, cls, base in worlds.registered("defense", PARTS)
    for part in PARTS[base]
    if part != "training" or build(cls, {}).trains
]


@pytest.mark.parametrize(("cls", "base", "part"), [found[1:] for found in FOUND], ids=[found[0] for found in FOUND])
def test_defense(benchmark: BenchmarkFixture, cls: type[Method], base: type[Method], part: str) -> None:
    """All parts are of the same calls."""
    seconds, told = PLAYED[base](cls)
    benchmark.group = f"{base.__name__}: {part}"
    benchmark.extra_info |= told
    reported(benchmark, seconds[part])
