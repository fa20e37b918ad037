"""Norms of every feature's gradient for a batch of 32, as Soteria's mask needs them, against a loop.

The loop is written the way the published code is: one backward pass a feature, on the whole batch at once, with the
graph retained; it also fills the gradients of all weights, because the published code does not switch them off. Both
work on the same 32 images and end with the same norms, which is asserted. On ConvNet neither runs to its end: the loop
does two features, the patches every twentieth chunk, and the times are those of all features at the measured pace.
"""

import resource
import statistics
import time

import pytest
import torch
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.representation import chain, row_norms
from fl_attack_bench.representation.backward import Backward
from fl_attack_bench.tasks.horizontal import Model

BATCH = 32
ROUNDS = 3


def network(name: str, shape: tuple[int, int, int]) -> nn.Module:
    return models.build(Model(name=name), shape, 10, torch.Generator().manual_seed(1)).eval()


def pictures(shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(2))


def one_after_the_other(model: nn.Module, images: Tensor, features: range) -> Tensor:
    pixels = images.clone().requires_grad_()
    representation = model.features(pixels).flatten(1)
    cotangent = torch.zeros_like(representation)
    norms = torch.zeros(len(images), len(features))
    for column, feature in enumerate(features):
        cotangent[:, feature] = 1
        representation.backward(cotangent, retain_graph=True)
        norms[:, column] = pixels.grad.flatten(1).norm(dim=1)
        model.zero_grad()
        pixels.grad.zero_()
        cotangent[:, feature] = 0
    return norms


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_mask_lenet(benchmark, shape: tuple[int, int, int]) -> None:
    model, images = network("lenet_dlg", shape), pictures(shape)
    count = model.classifier.in_features
    loops: list[float] = []
    ratios: list[float] = []
    wanted: list[Tensor] = []

    def loop() -> None:
        began = time.perf_counter()
        wanted[:] = [one_after_the_other(model, images, range(count))]
        loops.append(time.perf_counter() - began)

    def patches() -> Tensor:
        began = time.perf_counter()
        norms = row_norms(model, "classifier", images).norms
        ratios.append(loops[-1] / (time.perf_counter() - began))
        return norms

    row_norms(model, "classifier", images)
    norms = benchmark.pedantic(patches, setup=loop, rounds=ROUNDS, warmup_rounds=0)
    assert torch.allclose(norms, wanted[0], rtol=1e-3, atol=1e-6 * float(norms.max()))
    benchmark.extra_info |= {"loop_seconds": statistics.median(loops), "ratio": statistics.median(ratios)}
    print(f"\nlenet_dlg {shape}: {count} features of {BATCH} samples, loop {statistics.median(loops):.2f} s, patches")
    print(f"{statistics.median(ratios):.1f} times as fast, rounds {ratios}")
    assert statistics.median(ratios) > 1


def test_mask_convnet(benchmark) -> None:
    model, images = network("convnet", (3, 32, 32)), pictures((3, 32, 32))
    count = model.classifier.in_features
    found = chain.trace(model, "classifier", images)
    assert found is not None
    whole = Backward(found, images)
    chunks = list(whole._chunks())
    live = sum(len(sample) for sample, _ in chunks)
    some = chunks[:: max(1, len(chunks) // 20)]
    share = sum(len(sample) for sample, _ in some) / live
    whole._chunks = lambda: iter(some)
    loops: list[float] = []
    times: list[float] = []
    wanted: list[Tensor] = []

    def loop() -> None:
        began = time.perf_counter()
        wanted[:] = [one_after_the_other(model, images, range(2))]
        loops.append((time.perf_counter() - began) / 2 * count)

    def patches() -> Tensor:
        began = time.perf_counter()
        norms = whole.norms()
        times.append((time.perf_counter() - began) / share)
        return norms

    norms = benchmark.pedantic(patches, setup=loop, rounds=1, warmup_rounds=0)
    done = norms[:, :2] > 0
    assert torch.allclose(norms[:, :2][done], wanted[0][done], rtol=1e-3)
    benchmark.extra_info |= {"loop_seconds": loops[0], "patches_seconds": times[0], "ratio": loops[0] / times[0]}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nconvnet: {live} of {count * BATCH} pairs live; all at the pace of {share:.1%} of them: {times[0]:.0f} s,")
    print(
        f"loop at the pace of 2 features: {loops[0]:.0f} s, {loops[0] / times[0]:.1f} times as long; {memory:.2f} GiB"
    )
    assert loops[0] / times[0] > 1
