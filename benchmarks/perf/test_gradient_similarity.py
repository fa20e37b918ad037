"""Gradient similarity: victims in batches against one after the other, the same steps each.

The loop is written the way the published attack is: plain autograd with ``create_graph``, a list of parameter tensors,
``torch.optim.Adam`` on the gradient's signs, ``MultiStepLR``, a projection. Both start at the same images and take the
same iterations. The benchmark compares whole rounds, one of each in turn, so that the ratio holds when the machine's
speed drifts. It prints how fast both are, what memory they hold at most, and the floor: seven convolution-sized
products a layer and iteration (forward, backward, weight gradient, four in the second backward) at the speed of a
large matrix product that is measured on the spot.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.api import LocalPlan, Observation, SeenRound
from fl_attack_bench.data import datasets
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.inversion import adam, similarity
from fl_attack_bench.tasks.horizontal import Model

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SHAPE, TV, RATE = (3, 32, 32), 1e-3, 0.025


@dataclass(frozen=True)
class Case:
    """So many victims of a network, so many iterations."""

    network: Model
    victims: int
    iterations: int
    rounds: int
    faster: float


CASES = {
    "lenet_dlg": Case(Model(name="lenet_dlg"), victims=32, iterations=40, rounds=5, faster=3),
    "convnet": Case(Model(name="convnet"), victims=8, iterations=2, rounds=3, faster=0.5),  # the loop runs at the floor
}


def victims(count: int) -> tuple[Tensor, Tensor]:
    """CIFAR-10 where it lies beside the checkout, else noise: nothing here takes longer on real images."""
    if (SHARED / "cifar10.npz").is_file():
        data = datasets.load("npz:cifar10", SHARED)
        return data.x_test[:count], data.y_test[:count]
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *SHAPE, generator=generator), torch.arange(count) % 10


def start(count: int) -> Tensor:
    return torch.rand(count, 1, *SHAPE, generator=torch.Generator().manual_seed(2))


def in_batches(model: FlatModel, seen: Tensor, labels: Tensor, iterations: int) -> Tensor:
    round = SeenRound(model.module, (), Observation.exact(seen))
    plan = LocalPlan(1, 1, 1, 0.1)
    view = SimpleNamespace(
        rounds=(round,),
        observed=round.observed,
        model=model.module,
        layout=model.layout,
        local=plan,
        batch_size=1,
        image_shape=SHAPE,
        classes=10,
    )
    problem = similarity.problem(view, labels.unsqueeze(1), 1, TV, adaptive=True)
    options = adam.Options(iterations=iterations, learning_rate=RATE, box=(0.0, 1.0))
    return adam.minimise(problem.evaluate, start(len(seen)).flatten(1), options).curve[:, -1]


def one_after_the_other(model: FlatModel, seen: Tensor, labels: Tensor, iterations: int) -> Tensor:
    parameters = list(model.module.parameters())
    ends = []
    for row, begin in enumerate(start(len(seen))):
        wanted = list(model.layout.views(seen[row]).values())
        image = begin.clone().requires_grad_()
        optimiser = torch.optim.Adam([image], lr=RATE)
        milestones = [iterations * k // 8 for k in (3, 5, 7)]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)

        def cost(image: Tensor = image, wanted: list[Tensor] = wanted, label: Tensor = labels[row : row + 1]) -> Tensor:
            loss = F.cross_entropy(model.module(image), label)
            found = torch.autograd.grad(loss, parameters, create_graph=True)
            scalar, one, other = 0.0, 0.0, 0.0
            for ours, theirs in zip(found, wanted, strict=True):
                scalar = scalar + (ours * theirs).sum()
                one = one + ours.pow(2).sum()
                other = other + theirs.pow(2).sum()
            down, across = (image.diff(dim=d).abs().mean() for d in (-2, -1))
            return 1 - scalar / one.sqrt() / other.sqrt() + TV * (down + across)

        for _ in range(iterations):
            optimiser.zero_grad()
            (image.grad,) = torch.autograd.grad(cost(), image)
            image.grad.sign_()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                image.clamp_(0, 1)
        ends.append(cost().detach())
    return torch.stack(ends)


class Peak(threading.Thread):
    """The most memory that the process held while this ran, in MB above what it held before."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process, self._done = psutil.Process(), threading.Event()
        self._before = self.highest = self._process.memory_info().rss

    def run(self) -> None:
        while not self._done.wait(0.01):
            self.highest = max(self.highest, self._process.memory_info().rss)

    def megabytes(self) -> int:
        self._done.set()
        self.join()
        return (self.highest - self._before) >> 20


def floor_seconds(module: nn.Module, evaluations: int) -> float:
    """Seven products of every layer, at the speed of one large product."""
    products = 0

    def count(layer: nn.Module, arguments: object, output: Tensor) -> None:
        nonlocal products
        products += output[0].numel() * layer.weight[0].numel()

    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module(torch.zeros(1, *SHAPE))
    for hook in hooks:
        hook.remove()
    one, other = torch.zeros(1024, 1024), torch.zeros(1024, 1024)
    torch.mm(one, other)
    began = time.perf_counter()
    for _ in range(5):
        torch.mm(one, other)
    return 7 * products * evaluations * (time.perf_counter() - began) / (5 * 1024**3)


def timed(run: Callable[[], Tensor]) -> tuple[Tensor, float, int]:
    peak = Peak()
    peak.start()
    began = time.perf_counter()
    values = run()
    return values, time.perf_counter() - began, peak.megabytes()


@pytest.mark.parametrize("name", CASES)
def test_gradient_similarity(benchmark, name: str) -> None:
    case = CASES[name]
    network = models.build(case.network, SHAPE, 10, torch.Generator().manual_seed(1))
    model = FlatModel(network.eval(), torch.device("cpu"))
    images, labels = victims(case.victims)
    seen = torch.stack([model.gradient(images[n : n + 1], labels[n : n + 1]).clone() for n in range(case.victims)])
    loops, batches = [], []

    def loop() -> None:
        loops.append(timed(lambda: one_after_the_other(model, seen, labels, case.iterations)))

    def batch() -> None:
        batches.append(timed(lambda: in_batches(model, seen, labels, case.iterations)))

    # The first to run would pay for the memory of both.
    in_batches(model, seen, labels, 1)
    benchmark.pedantic(batch, setup=loop, rounds=case.rounds, warmup_rounds=0)
    ratios = [slow / fast for (_, slow, _), (_, fast, _) in zip(loops, batches, strict=True)]
    ratio, evaluations = statistics.median(ratios), case.victims * (case.iterations + 1)
    floor = floor_seconds(model.module, evaluations)
    print(f"\n{name}, {case.victims} victims, {case.iterations} iterations: {ratio:.1f} times as fast, rounds {ratios}")
    for title, runs in (("loop", loops), ("batches", batches)):
        seconds = statistics.median(took for _, took, _ in runs)
        memory = max(peak for _, _, peak in runs)
        rate, above = evaluations / seconds, seconds / floor
        print(f"  {title}: {rate:.1f} victim iterations/s, {above:.1f} times the floor, {memory} MB more at most")
    benchmark.extra_info |= {"ratio": ratio, "loop_seconds": statistics.median(t for _, t, _ in loops), "floor": floor}
    difference = (loops[0][0] - batches[0][0]).abs() / loops[0][0]
    assert difference.median() < 0.2
    assert ratio > case.faster
