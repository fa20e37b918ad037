"""The paper's CNN outsourced: a training step on 32 samples and a prediction of 8,192, beside the same in the clear.

All parties play in one process on one thread. Seconds are those that the thread computed: on a shared machine the time
on the wall includes the turns of others. Shown are those of the slowest party, summed over the turns (online), those of
the party that deals out random numbers ahead of the data (ahead), bytes, and ratios to the clear. CryptoNets only
predicts. The aim for a training step is 0.1 s online.
"""

import statistics
import time
from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench import registry
from fl_attack_bench.api import LABELS, OWNER, Holding, OutsourcedDefense, Plan
from fl_attack_bench.method import build
from fl_attack_bench.models import stack
from fl_attack_bench.scenarios.outsourced import OFFLINE, Gathering, Spent
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.wire import Wire

SAMPLES, BATCH, INFERENCE = 1024, 32, 8192
STEPS = 12
AIM_SECONDS = 0.1
LAYERS = (
    Layer(kind="convolution", outputs=4, kernel=4, stride=2, activation="relu"),
    Layer(kind="dense", outputs=100, activation="sigmoid"),
    Layer(kind="dense", outputs=10, activation="sigmoid"),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Played:
    """The parties of one protocol after their setup, with random images."""

    def __init__(self, name: str) -> None:
        defense = build(registry.find("defense", name).cls, {})
        assert isinstance(defense, OutsourcedDefense)
        draw = torch.Generator().manual_seed(0)
        plan = Plan(stack.plan(defense.layers(LAYERS), (1, 28, 28)), SAMPLES if defense.trains else 0, BATCH, 1.0)
        images = torch.rand(SAMPLES, 1, 28, 28, generator=draw)
        targets = stack.targets(torch.randint(10, (SAMPLES,), generator=draw), 10, None)
        weights = stack.initial(plan.layers, draw)
        holdings = {OWNER: Holding(features=images, weights=weights), LABELS: Holding(targets=targets)}
        if defense.model_holder != OWNER:
            holdings = {defense.model_holder: Holding(weights=weights)}
        self.predicted = torch.rand(INFERENCE, 1, 28, 28, generator=draw)
        self.expected = stack.forward(plan.layers, weights, self.predicted.double())
        self.wire = Wire()
        self.gathering = Gathering(defense.parties(plan), holdings, self.wire, time.thread_time)
        self._run("setup", 0, lambda name, party: party.setup())

    def _run(self, topic: str, number: int, call) -> tuple[Spent, object]:
        parties = self.gathering.parties.items()
        found = self.gathering.run(topic, number, {name: call(name, party) for name, party in parties})
        return self.gathering.spent[topic, number], found.get(OWNER)

    def step(self, number: int) -> Spent:
        rows = (torch.arange(BATCH) + BATCH * number) % SAMPLES
        return self._run("training", number, lambda name, party: party.step(rows))[0]

    def predict(self) -> tuple[Spent, torch.Tensor]:
        images = {OWNER: self.predicted}
        spent, outputs = self._run("inference", 0, lambda name, party: party.predict(INFERENCE, images.get(name)))
        assert isinstance(outputs, torch.Tensor)
        return spent, outputs

    def megabytes(self, topic: str) -> float:
        sent = [each.sent for phase in self.wire.phases if phase.topic == topic for each in phase.traffic.values()]
        return sum(sent) / 1e6


def shown(name: str, spent: Spent, played: Played, topic: str, batches: int, clear: float) -> str:
    online, ahead = (played.megabytes(each) / batches for each in (topic, topic + OFFLINE))
    return (
        f"{name:13} {topic:9}  online {spent.online:8.4f} s ({spent.online / clear:7.1f} x the clear)  ahead "
        f"{spent.ahead:7.4f} s  {online:8.2f} MB online  {ahead:8.2f} MB ahead"
    )


def median(steps: list[Spent]) -> Spent:
    return Spent(statistics.median(one.online for one in steps), statistics.median(one.ahead for one in steps))


@pytest.mark.parametrize("name", ["rtas", "rtas_fast", "ring_sharing"])
def test_training_step(benchmark: BenchmarkFixture, name: str) -> None:
    """Steps of the protocol and of the clear in turns; medians without the first two."""
    ours, clear = Played(name), Played("none")
    pairs = [(ours.step(number), clear.step(number)) for number in range(STEPS)][2:]
    found, plain = median([one for one, _ in pairs]), median([other for _, other in pairs])
    print("\n" + shown(name, found, ours, "training", STEPS, plain.online))
    benchmark.extra_info |= {"online": found.online, "ahead": found.ahead, "clear": plain.online}
    numbers = iter(range(STEPS, 1000))
    benchmark.pedantic(lambda: ours.step(next(numbers)), rounds=3)
    assert name == "ring_sharing" or found.online < AIM_SECONDS


@pytest.mark.parametrize("name", ["rtas", "rtas_fast", "ring_sharing", "cryptonets"])
def test_inference(benchmark: BenchmarkFixture, name: str) -> None:
    """One batch of 8,192, once: it takes seconds."""
    ours, clear = Played(name), Played("none")
    plain, _ = clear.predict()
    found, outputs = benchmark.pedantic(ours.predict, rounds=1)
    error = float((outputs - ours.expected).abs().max())
    print("\n" + shown(name, found, ours, "inference", 1, plain.online) + f"  error {error:.1e}")
    benchmark.extra_info |= {"online": found.online, "ahead": found.ahead, "clear": plain.online, "error": error}
    assert name == "ring_sharing" or error < 2e-3
