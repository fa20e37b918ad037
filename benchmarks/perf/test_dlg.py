"""DLG and iDLG on 32 victims: all in one batch against one after the other with torch.optim.LBFGS, the same steps each.

The loop is written the way the published attacks are: plain autograd with ``create_graph`` and torch's optimiser. Both
take 15 iterations of up to 20 steps from the same starts with the same history and line search; no early stop. The
benchmark compares whole rounds, one of each in turn, so that the ratio holds when the machine's speed drifts.

The floor is the time that the products of an evaluation's layers would take at the speed of one large product: seven
products a layer, five in the first, which neither waits for a gradient nor has an input that moves.
"""

import resource
import statistics
import time
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.inversion import lbfgs
from fl_attack_bench.inversion.matching import L2Matching, Seen, Unknowns, value_and_gradient
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy

VICTIMS = 32
ITERATIONS = 15
ROUNDS = 3
SHAPE = (1, 28, 28)


@dataclass
class Contest:
    """What both sides attack: observed gradients, the labels where they are known, and how long.

    Args:
        model: the victims' network.
        seen: shape ``(V, n)``.
        labels: shape ``(V,)`` for iDLG, None for DLG.
        line_search: of L-BFGS.
        evaluations: how many problems the batch has evaluated.
    """

    model: FlatModel
    seen: Tensor
    labels: Tensor | None
    line_search: lbfgs.LineSearch
    evaluations: int = 0

    @classmethod
    def of(cls, model: FlatModel, data: Dataset, attack: str, line_search: lbfgs.LineSearch) -> "Contest":
        victims = zip(data.x_test[:VICTIMS].split(1), data.y_test[:VICTIMS].split(1), strict=True)
        seen = torch.stack([model.gradient(image, label).clone() for image, label in victims])
        return cls(model, seen, data.y_test[:VICTIMS] if attack == "idlg" else None, line_search)

    def start(self, size: int) -> Tensor:
        return torch.randn(VICTIMS, size, generator=torch.Generator().manual_seed(2))

    def one_batch(self) -> Tensor:
        known = None if self.labels is None else F.one_hot(self.labels, 10).float().unsqueeze(1)
        unknowns = Unknowns((1, *SHAPE), 10, known)
        gradients = VictimGradients(self.model.module, self.model.layout, cross_entropy)
        objective = L2Matching([Seen(gradients, self.seen)], torch.ones(VICTIMS), torch.arange(VICTIMS))

        def evaluate(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
            self.evaluations += len(which)
            return value_and_gradient(objective, unknowns, points, which)

        options = lbfgs.Options(iterations=ITERATIONS, line_search=self.line_search)
        return lbfgs.minimise(evaluate, self.start(unknowns.size), options).value

    def one_after_the_other(self) -> Tensor:
        size = torch.Size(SHAPE).numel() + (10 if self.labels is None else 0)
        return torch.stack([self._alone(row, begin) for row, begin in enumerate(self.start(size))])

    def _alone(self, row: int, begin: Tensor) -> Tensor:
        module, parameters = self.model.module, list(self.model.module.parameters())
        image = begin[:784].view(1, *SHAPE).clone().requires_grad_()
        logits = begin[784:].view(1, -1).clone().requires_grad_()
        unknown = [image, logits] if self.labels is None else [image]
        wanted = self.model.layout.views(self.seen[row]).values()
        search = None if self.line_search == "none" else self.line_search
        optimiser = torch.optim.LBFGS(unknown, line_search_fn=search)

        def closure() -> Tensor:
            optimiser.zero_grad()
            target = logits.softmax(-1) if self.labels is None else self.labels[row : row + 1]
            found = torch.autograd.grad(F.cross_entropy(module(image), target), parameters, create_graph=True)
            distance = sum(((a - b) ** 2).sum() for a, b in zip(found, wanted, strict=True))
            for one, gradient in zip(unknown, torch.autograd.grad(distance, unknown), strict=True):
                one.grad = gradient
            return distance.detach()

        for _ in range(ITERATIONS):
            optimiser.step(closure)
        return closure().detach()


def floor_seconds(module: nn.Module) -> float:
    """Seconds that the products of one victim's evaluation take at the speed of a large product."""
    products: list[int] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            products.append(output.numel() * layer.weight[0].numel())

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    module(torch.zeros(1, *SHAPE))
    for hook in hooks:
        hook.remove()
    square, tries = torch.randn(1024, 1024), []
    for _ in range(20):
        began = time.perf_counter()
        square @ square
        tries.append(time.perf_counter() - began)
    return (7 * sum(products) - 2 * products[0]) * min(tries) / 1024**3


@pytest.mark.parametrize("line_search", ["none", "strong_wolfe"])
@pytest.mark.parametrize("attack", ["dlg", "idlg"])
def test_32_victims(benchmark, lenet: FlatModel, digits: Dataset, attack: str, line_search: lbfgs.LineSearch) -> None:
    contest = Contest.of(lenet, digits, attack, line_search)
    loops, batches = [], []

    def loop() -> None:
        began = time.perf_counter()
        loops.append((contest.one_after_the_other(), time.perf_counter() - began)[1])

    def batch() -> Tensor:
        began, contest.evaluations = time.perf_counter(), 0
        values = contest.one_batch()
        batches.append(time.perf_counter() - began)
        return values

    values = benchmark.pedantic(batch, setup=loop, rounds=ROUNDS, warmup_rounds=0)
    seconds = statistics.median(batches)
    found = {
        "loop_seconds": statistics.median(loops),
        "ratio": statistics.median(loop / batch for loop, batch in zip(loops, batches, strict=True)),
        "victim_iterations_per_second": VICTIMS * ITERATIONS / seconds,
        "evaluations_per_second": contest.evaluations / seconds,
        "floor_seconds": contest.evaluations * floor_seconds(lenet.module),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    benchmark.extra_info |= found
    print(f"\n{attack}, {line_search}, {seconds:.2f} s:", {name: round(value, 2) for name, value in found.items()})
    assert values.median() < 1e-3
    assert found["ratio"] > 1
