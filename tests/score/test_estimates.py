"""The bootstrap: the same interval however it is cut, in little memory."""

import tracemalloc

import numpy as np
import pytest

from fl_attack_bench.score import estimates
from fl_attack_bench.score.estimates import RESAMPLES, bootstrap


def values(*lengths):
    rng = np.random.default_rng(1)
    return [rng.random(length).tolist() for length in lengths]


def at_once(seeds):
    """The same bootstrap without chunks."""
    lengths = np.array([len(part) for part in seeds])
    padded = np.zeros((len(seeds), lengths.max()))
    for index, part in enumerate(seeds):
        padded[index, : len(part)] = part
    rng = np.random.default_rng(20_240_229)
    drawn = rng.integers(0, len(seeds), size=(RESAMPLES, len(seeds)))
    picks = (rng.random((RESAMPLES, *padded.shape)) * lengths[drawn][..., None]).astype(np.int64)
    samples = padded[drawn[..., None], picks].reshape(RESAMPLES, -1)
    return [np.quantile(found, [0.025, 0.975]).tolist() for found in (samples.mean(axis=1), np.median(samples, axis=1))]


@pytest.mark.parametrize("chunk", [1, 1000, 1 << 20, 1 << 30])
@pytest.mark.parametrize("lengths", [(1,), (7,), (64, 64, 64), (3, 50)])
def test_chunks_change_nothing(chunk, lengths, monkeypatch):
    monkeypatch.setattr(estimates, "CHUNK", chunk)
    seeds = values(*lengths)
    assert [[found.low, found.high] for found in bootstrap(seeds)] == at_once(seeds)


def test_the_largest_row_that_a_suite_may_have_fits_into_little_memory():
    seeds = values(4096, 4096, 4096)
    tracemalloc.start()
    try:
        bootstrap(seeds)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
