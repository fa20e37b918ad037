"""Verdicts of samples: what is alike raises no alarm, what was planted does."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench.compare.verdict import MSE_FLOOR, Tolerances, timing, worse

SECONDS = st.floats(1e-6, 1e3)
ROUNDS = st.lists(SECONDS, min_size=3, max_size=9)
TOLERANCE = st.floats(0, 1)
DEFAULT = Tolerances()


@given(ROUNDS, TOLERANCE)
def test_identical_samples_never_raise_an_alarm(samples, tolerance):
    assert not timing(samples, samples, tolerance).slower


@given(ROUNDS, TOLERANCE, st.randoms())
def test_the_order_of_the_rounds_does_not_matter(samples, tolerance, random):
    mixed = random.sample(samples, len(samples))
    assert timing(mixed, samples, tolerance).slower is timing(samples, mixed, tolerance).slower is False


@given(st.lists(st.floats(0.97, 1.03), min_size=3, max_size=6), st.lists(st.floats(0.97, 1.03), min_size=3), SECONDS)
def test_a_slowdown_of_a_fifth_is_caught_under_three_per_cent_of_noise(base, head, scale):
    found = timing([scale * noise for noise in base], [1.2 * scale * noise for noise in head], 0.10)
    assert found.slower  # 1.2 * 0.97 / 1.03 = 1.13
    assert not timing(found.head, found.base, 0.10).slower


@pytest.mark.parametrize("rounds", [3, 5])
def test_ten_runs_of_the_same_code_raise_none(rounds):
    rng = np.random.default_rng(7)
    for _ in range(10):
        spiked = 1 + rng.exponential(0.05, size=(2, rounds)) + (rng.random((2, rounds)) < 0.2) * rng.random((2, rounds))
        assert not timing(*spiked, 0.10).slower


def test_one_slow_round_of_the_head_is_no_regression_and_one_of_the_base_is_said_to_hide_some():
    assert not timing([1, 1, 1], [1, 9, 9], 0.1).slower
    hidden = timing([1, 1, 2], [1.2, 1.2, 1.2], 0.1)
    assert (hidden.slower, hidden.unsure) == (False, True)
    assert not timing([1, 1, 1.05], [1, 1, 1], 0.1).unsure
    assert not timing([1, 1, 1.2], [2, 2, 2], 0.1).unsure


def test_exactly_the_tolerance_is_none_and_medians_are_reported():
    found = timing([1.0, 2.0, 3.0], [3.3, 3.4, 9.0], 0.1)
    assert not found.slower
    assert (found.base_median, found.head_median) == (2.0, 3.4)
    assert found.ratio == pytest.approx(1.7)
    assert timing([1.0, 2.0, 3.0], [3.301, 3.4, 9.0], 0.1).slower
    assert timing([0.0] * 3, [0.0] * 3, 0.1).ratio is None


@given(ROUNDS, ROUNDS, TOLERANCE, TOLERANCE)
def test_a_wider_tolerance_never_raises_an_alarm_that_a_narrower_one_does_not(base, head, one, other):
    low, high = sorted((one, other))
    assert timing(base, head, low).slower or not timing(base, head, high).slower
    assert timing(base, head, low).base_median == statistics.median(base)


@pytest.mark.parametrize(
    ("base", "head", "tolerance"),
    [([1, 1], [1, 1, 1], 0.1), ([1, 1, 1], [1], 0.1), ([1, 1, math.nan], [1, 1, 1], 0.1), ([1, 1, 1], [1, 1, -1], 0.1),
     ([1, 1, 1], [1, 1, math.inf], 0.1), ([1, 1, 1], [1, 1, 1], -0.1)],
)  # fmt: skip
def test_what_is_no_timing_is_refused(base, head, tolerance):
    with pytest.raises(ValueError, match=r"rounds|finite"):
        timing(base, head, tolerance)


@pytest.mark.parametrize("quantity", ["share", "mse", "bytes", "epsilon"])
@given(value=st.floats(0, 1e9), higher=st.booleans())
def test_equal_figures_are_never_worse(quantity, value, higher):
    assert not worse(quantity, value, value, Tolerances(0, 0, 0, 0), higher=higher)


@given(st.floats(0.02, 1), st.booleans())
def test_two_points_of_a_share_are_worse_in_one_direction_only(share, higher):
    good, bad = (share, share - 0.02) if higher else (share - 0.02, share)
    assert worse("share", good, bad, DEFAULT, higher=higher)
    assert not worse("share", bad, good, DEFAULT, higher=higher)
    assert not worse("share", good, bad, Tolerances(points=0.02), higher=higher)


@given(st.floats(3 * MSE_FLOOR, 1))
def test_half_the_mse_is_worse_and_twice_is_not(mse):
    assert worse("mse", mse, mse / 2, DEFAULT, higher=True)
    assert not worse("mse", mse, 2 * mse, DEFAULT, higher=True)
    assert not worse("mse", mse, mse / 2, Tolerances(mse=0.5), higher=True)


def test_an_image_that_was_as_good_as_the_original_cannot_lose_privacy():
    assert not worse("mse", 1e-7, 1e-9, DEFAULT, higher=True)
    assert not worse("mse", MSE_FLOOR, 0.0, DEFAULT, higher=True)


def test_bytes_and_epsilons_are_nearly_exact():
    assert worse("bytes", 100.0, 101.1, DEFAULT, higher=False)
    assert not worse("bytes", 100.0, 101.0, DEFAULT, higher=False)
    assert worse("bytes", 0.0, 1.0, DEFAULT, higher=False)
    assert worse("epsilon", 3.0, math.inf, DEFAULT, higher=False)
    assert not worse("epsilon", math.inf, math.inf, DEFAULT, higher=False)
    assert not worse("epsilon", math.inf, 3.0, DEFAULT, higher=False)
    with pytest.raises(ValueError, match="not a number"):
        worse("mse", math.nan, 0.0, DEFAULT, higher=True)
