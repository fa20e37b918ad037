"""An epoch of feature-partitioned training against a plain loop that sends nothing."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fl_attack_bench import registry
from fl_attack_bench.method import build
from fl_attack_bench.scenarios.vertical import Aligned, Collaboration
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.vertical import Bottom, VerticalTraining
from fl_attack_bench.wire import Wire

SAMPLES = 17_435  # training images of the MNIST subset
PLACES = {"upper": torch.arange(392), "lower": torch.arange(392, 784)}
ROUNDS = 5
AIM_SECONDS = 3.0


def plain(images: Tensor, labels: Tensor, *, trainable: bool) -> Callable[[], None]:
    """What one writes without a second thought: modules, optimisers, a loader, one backward pass through all."""
    bottoms = [nn.Sequential(nn.Linear(392, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in PLACES]
    top = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)) if trainable else None
    optimisers = [torch.optim.SGD(net.parameters(), lr=0.01) for net in (*bottoms, *([top] if top else []))]
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)

    def epoch() -> None:
        for some, target in loader:
            flat = some.flatten(1)
            sent = [net(flat[:, held]) for net, held in zip(bottoms, PLACES.values(), strict=True)]
            received = [one.detach().requires_grad_() for one in sent]
            logits = top(torch.cat(received, 1)) if top else received[0] + received[1]
            for optimiser in optimisers:
                optimiser.zero_grad()
            F.cross_entropy(logits, target).backward()
            for one, other in zip(sent, received, strict=True):
                one.backward(other.grad)
            for optimiser in optimisers:
                optimiser.step()

    return epoch


def ours(images: Tensor, labels: Tensor, *, trainable: bool) -> Callable[[], None]:
    """The real exchange: every message encoded, metered, decoded."""
    name = "trainable_top" if trainable else "none"
    defense = build(registry.find("defense", name).cls, {})
    training, train = VerticalTraining(epochs=1), Aligned.split(images, labels, PLACES)
    parties = Collaboration(train, 10, Bottom(), training, defense, Streams(0), Wire())  # type: ignore[arg-type]
    return lambda: bool(parties.epoch(0)) and None


@pytest.mark.parametrize("trainable", [False, True], ids=["sum", "trainable top"])
def test_epoch(benchmark: BenchmarkFixture, trainable: bool) -> None:
    """An epoch of 17,435 samples in batches of 64, interleaved with the plain loop."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(SAMPLES, 1, 28, 28, generator=draw)
    labels = torch.randint(10, (SAMPLES,), generator=draw)
    fast, slow = ours(images, labels, trainable=trainable), plain(images, labels, trainable=trainable)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for round in range(ROUNDS + 1):
        for name, play in (("ours", fast), ("plain", slow)):
            began = time.perf_counter()
            play()
            if round:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratio = medians["plain"] / medians["ours"]
    print(f"\n{medians['ours']:.3f} s an epoch, plain loop {medians['plain']:.3f} s: {ratio:.2f} times as fast")
    benchmark.extra_info.update(medians)
    benchmark.pedantic(fast, rounds=3)
    assert medians["ours"] < AIM_SECONDS
