"""Share generation and aggregation for VGG-16 among 10 parties: the whole update against the first layer alone.

The paper (pempc-2021, section 4.2; Xeon 5115 and 2080Ti) needs 2.7081 s and 0.6951 s for all layers, 0.0019 s and
0.0008 s for the first. Here each party's update of 14,728,266 parameters, or the 1,792 of its first layer, is split
into 10 shares under a fresh key, and 10 received shares are summed. Arrays are allocated and touched beforehand.

Each timed call follows a plain copy of the ten shares by the same number of threads: what the memory can move. Sharing
writes as many bytes as the copy and reads a tenth, summing reads as many and writes a tenth. Ratios are those of
neighbours in time, so that they hold when the machine's speed drifts. The processor's seconds, summed over the threads,
stand beside those of the clock, because they hold on a machine that others use as well.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fl_attack_bench import models
from fl_attack_bench.crypto.additive import combine, split
from fl_attack_bench.crypto.ring import FixedPoint, Ring
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

PARTIES = 10
FIRST_LAYER = 2  # its weight and its bias
PAPER = {("full", "share"): 2.7081, ("full", "sum"): 0.6951, ("first", "share"): 0.0019, ("first", "sum"): 0.0008}
ROUNDS = {"full": 7, "first": 300}


@dataclass
class Arrays:
    """What the contestants read and write: a party's update, its ten shares, room for a copy of them and for a sum."""

    secret: Ring
    shares: Ring
    copied: Ring
    total: Ring

    @classmethod
    def of(cls, parameters: int) -> "Arrays":
        update = torch.randn(parameters, generator=torch.Generator().manual_seed(1))
        shares = np.ones((PARTIES, parameters), dtype=np.int64)
        return cls(FixedPoint().encode(update, PARTIES), shares, np.ones_like(shares), np.ones_like(shares[0]))

    def copy(self) -> None:
        torch.from_numpy(self.copied).copy_(torch.from_numpy(self.shares))

    def share(self) -> None:
        split(self.secret, PARTIES, Secrets.fresh(), self.shares)

    def sum(self) -> None:
        combine(self.shares, self.total)


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    network = models.build(Model(name="vgg16"), (3, 32, 32), 10, torch.Generator().manual_seed(1))
    layout = Layout.of(network)
    return {"full": layout.size, "first": sum(layout.sizes[:FIRST_LAYER])}


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    print(f"\nVGG-16, {PARTIES} parties, {torch.get_num_threads()} threads: median (best), GB of shares a second")
    titles = f"{'paper':>9}{'GB/s':>7}{'copy GB/s':>11}{'of a copy':>11}"
    print(f"{'layers':7}{'work':7}{'seconds':>22}{'processor':>11}{titles}")
    print("\n".join(lines))


@pytest.mark.parametrize("layers", ["full", "first"])
@pytest.mark.parametrize("work", ["share", "sum"])
def test_additive_sharing(benchmark, sizes: dict[str, int], table: list[str], work: str, layers: str) -> None:
    arrays = Arrays.of(sizes[layers])
    task: Callable[[], None] = {"share": arrays.share, "sum": arrays.sum}[work]
    copies: list[float] = []
    times: list[float] = []
    processor: list[float] = []

    def copy() -> None:
        began = time.perf_counter()
        arrays.copy()
        copies.append(time.perf_counter() - began)

    def timed() -> None:
        began, used = time.perf_counter(), time.process_time()
        task()
        times.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)

    arrays.share()
    arrays.sum()
    arrays.copy()
    benchmark.pedantic(timed, setup=copy, rounds=ROUNDS[layers], warmup_rounds=0)
    arrays.sum()
    assert np.array_equal(arrays.total, arrays.secret)
    assert not np.array_equal(arrays.shares[-1], arrays.secret)

    gigabytes, median = arrays.shares.nbytes / 1e9, statistics.median(times)
    ratio = statistics.median(copied / taken for copied, taken in zip(copies, times, strict=True))
    seconds = statistics.median(processor)
    benchmark.extra_info |= {"bytes_per_second": gigabytes * 1e9 / median, "of_a_copy": ratio, "processor": seconds}
    table.append(
        f"{layers:7}{work:7}{f'{median:.6f} ({min(times):.6f})':>22}{seconds:>11.6f}{PAPER[layers, work]:>9.4f}"
        f"{gigabytes / median:>7.1f}{gigabytes / statistics.median(copies):>11.1f}{ratio:>11.2f}"
    )
