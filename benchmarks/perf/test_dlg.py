"""DLG on 32 victims: all in one batch against one after the other with torch.optim.LBFGS, the same steps each.

The loop is written the way the published attacks are: plain autograd with ``create_graph`` and torch's optimiser. Both
take 15 iterations of up to 20 steps from the same starts with the same history and line search; no early stop. The
benchmark compares whole rounds, one of each in turn, so that the ratio holds when the machine's speed drifts.
"""

import statistics
import time

import pytest
import torch
from torch import Tensor, nn

from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.inversion import lbfgs
from fl_attack_bench.inversion.matching import L2Matching, Unknowns, value_and_gradient
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy

VICTIMS = 32
ITERATIONS = 15
ROUNDS = 3


def start(size: int) -> Tensor:
    return torch.randn(VICTIMS, size, generator=torch.Generator().manual_seed(2))


def observed(model: FlatModel, data: Dataset) -> Tensor:
    rows = [model.gradient(data.x_test[n : n + 1], data.y_test[n : n + 1]).clone() for n in range(VICTIMS)]
    return torch.stack(rows)


def one_batch(model: FlatModel, seen: Tensor, line_search: lbfgs.LineSearch) -> Tensor:
    unknowns = Unknowns((1, 1, 28, 28), 10, None)
    gradients = VictimGradients(model.module, model.layout, cross_entropy)
    objective = L2Matching(gradients, seen, None, torch.ones(VICTIMS), torch.arange(VICTIMS))
    options = lbfgs.Options(iterations=ITERATIONS, line_search=line_search)
    found = lbfgs.minimise(
        lambda points, which: value_and_gradient(objective, unknowns, points, which), start(unknowns.size), options
    )
    return found.value


def one_after_the_other(model: FlatModel, seen: Tensor, line_search: lbfgs.LineSearch) -> Tensor:
    parameters = list(model.module.parameters())
    ends = []
    for row, begin in enumerate(start(794)):
        image = begin[:784].view(1, 1, 28, 28).clone().requires_grad_()
        logits = begin[784:].view(1, 10).clone().requires_grad_()
        wanted = model.layout.views(seen[row]).values()
        search = None if line_search == "none" else line_search
        optimiser = torch.optim.LBFGS([image, logits], line_search_fn=search)

        def closure(image=image, logits=logits, wanted=wanted, optimiser=optimiser) -> Tensor:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model.module(image), logits.softmax(-1))
            found = torch.autograd.grad(loss, parameters, create_graph=True)
            distance = sum(((a - b) ** 2).sum() for a, b in zip(found, wanted, strict=True))
            image.grad, logits.grad = torch.autograd.grad(distance, (image, logits))
            return distance.detach()

        for _ in range(ITERATIONS):
            optimiser.step(closure)
        ends.append(closure().detach())
    return torch.stack(ends)


@pytest.mark.parametrize("line_search", ["none", "strong_wolfe"])
def test_dlg_32_victims(benchmark, lenet: FlatModel, digits: Dataset, line_search: lbfgs.LineSearch) -> None:
    seen = observed(lenet, digits)
    ratios, loops = [], []

    def loop() -> None:
        began = time.perf_counter()
        loops.append((one_after_the_other(lenet, seen, line_search), time.perf_counter() - began)[1])

    def batch() -> Tensor:
        began = time.perf_counter()
        values = one_batch(lenet, seen, line_search)
        ratios.append(loops[-1] / (time.perf_counter() - began))
        return values

    values = benchmark.pedantic(batch, setup=loop, rounds=ROUNDS, warmup_rounds=0)
    benchmark.extra_info |= {"loop_seconds": statistics.median(loops), "ratio": statistics.median(ratios)}
    print(f"\n{line_search}: one batch is {statistics.median(ratios):.1f} times as fast as the loop, rounds {ratios}")
    assert values.median() < 1e-3
    assert statistics.median(ratios) > 1
