"""Masks are normal, come of the key alone and never twice."""

from math import nan

import numpy as np
import pytest
import torch
from scipy import stats

from fl_attack_bench.crypto.gaussian_masks import gaussian
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.errors import UserError


def stream() -> Secrets:
    return Secrets.seeded(b"masks")


@pytest.mark.parametrize(("std", "dtype"), [(1.0, torch.float64), (100.0, torch.float64), (10.0, torch.float32)])
def test_masks_are_normal(std, dtype):
    drawn = gaussian(stream(), (300, 401), std, dtype)
    assert drawn.dtype == dtype
    values = drawn.double().numpy().ravel() / std
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert stats.kstest(values**2, "chi2", args=(1,)).pvalue > 1e-3  # the tails, both sides together


def test_masks_are_independent_of_each_other():
    drawn = gaussian(stream(), (2**16,), 1.0, torch.float64).numpy()
    for gap in (1, 2, 2**14):  # neighbours, and the two numbers of a pair
        for values in (drawn, drawn**2):
            assert abs(np.corrcoef(values[:-gap], values[gap:])[0, 1]) < 5 / np.sqrt(len(drawn) - gap)


def test_masks_are_what_box_and_muller_say():
    words = stream().words(2).view(np.uint64)
    u, v = (float((int(word) >> 11) + 0.5) * 2.0**-53 for word in words)
    radius = np.sqrt(-2 * np.log(u))
    expected = [3 * radius * np.cos(2 * np.pi * v), 3 * radius * np.sin(2 * np.pi * v)]
    assert gaussian(stream(), (2,), 3.0, torch.float64).tolist() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0, 4), (2**15 + 3,)])
def test_one_seed_gives_the_same_masks_and_the_stream_goes_on(shape):
    secrets = stream()
    first, second = (gaussian(secrets, shape, 2.0, torch.float64) for _ in range(2))
    assert first.shape == second.shape == shape
    assert torch.equal(first, gaussian(stream(), shape, 2.0, torch.float64))
    assert not set(first.flatten().tolist()) & set(second.flatten().tolist())
    behind = stream()
    behind.words(2 * 2 * ((first.numel() + 1) // 2))
    assert secrets.words(4).tolist() == behind.words(4).tolist()


def test_the_extremes_of_the_keystream_stay_finite():
    class Extreme(Secrets):
        def words(self, count):
            return np.resize(np.array([0, -1], dtype=np.int64), count)

    drawn = gaussian(Extreme(bytes(32)), (8,), 1.0, torch.float64)
    assert torch.isfinite(drawn).all()
    assert drawn.abs().max() < 8.66


@pytest.mark.parametrize("std", [-1.0, nan, float("inf")])
def test_a_standard_deviation_that_is_none(std):
    with pytest.raises(UserError, match=f"not {std}"):
        gaussian(stream(), (2,), std, torch.float64)


def test_another_dtype_is_refused():
    with pytest.raises(ValueError, match=r"not torch\.float16"):
        gaussian(stream(), (2,), 1.0, torch.float16)
