"""The paired test over seeds, against SciPy's and against its own promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fl_attack_bench.compare.paired import over_seeds, paired

FIGURES = st.lists(st.floats(0, 1), min_size=6, max_size=6)


def by_pair(values, victims=2):
    return {divmod(place, victims): value for place, value in enumerate(values)}


@given(FIGURES, FIGURES)
def test_it_is_students_paired_test_over_the_seeds_means(first, other):
    found = paired(by_pair(first), by_pair(other))
    means = [np.reshape(values, (3, 2)).mean(axis=1) for values in (first, other)]
    assert found.value == pytest.approx(np.mean(other) - np.mean(first), abs=1e-12)
    assert (found.pairs, found.seeds) == (6, 3)
    if np.std(means[1] - means[0]) > 1e-6:
        reference = stats.ttest_rel(means[1], means[0])
        assert found.p == pytest.approx(reference.pvalue, rel=1e-6)
        assert (found.low, found.high) == pytest.approx(reference.confidence_interval(0.95), abs=1e-9)
        assert found.beyond_noise == (reference.pvalue < 0.05) == (found.low > 0 or found.high < 0)


@given(FIGURES, st.floats(0.01, 0.5))
def test_a_defense_against_itself_is_equal_and_a_constant_apart_is_no_noise(figures, constant):
    same = paired(by_pair(figures), by_pair(figures))
    assert (same.value, same.p, same.beyond_noise) == (0, 1, False)
    apart = paired(by_pair(figures), by_pair([one + constant for one in figures]))
    assert apart.beyond_noise
    assert apart.value == pytest.approx(constant)


def test_false_alarms_are_as_rare_as_it_says_where_the_victims_of_a_seed_go_together():
    rng = np.random.default_rng(1)
    alarms = {"seeds": 0, "victims": 0}
    for _ in range(1000):
        apart = rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=(3, 8))
        found = paired(dict.fromkeys(np.ndindex(3, 8), 0.0), {pair: apart[pair] for pair in np.ndindex(3, 8)})
        alarms["seeds"] += found.beyond_noise
        alarms["victims"] += stats.ttest_1samp(apart.ravel(), 0).pvalue < 0.05
    assert 30 <= alarms["seeds"] <= 70  # of 1000, at the 5% level
    assert alarms["victims"] > 400  # what counting every victim by itself would say


def test_only_what_both_hold_counts():
    found = paired({(0, 1): 0.1, (0, 2): 0.2, (1, 1): 0.3}, {(0, 1): 0.2, (1, 1): 0.5, (2, 1): 0.9})
    assert (found.pairs, found.seeds) == (2, 2)
    assert found.value == pytest.approx(0.15)
    assert paired({(0, 1): 0.1}, {(1, 1): 0.1}) is None
    assert paired({(0,): float("inf")}, {(0,): 1.0}) is None


def test_one_seed_cannot_tell():
    found = paired({(0, 1): 0.1, (0, 2): 0.2}, {(0, 1): 0.4, (0, 2): 0.5})
    assert found.value == pytest.approx(0.3)
    assert (found.p, found.low, found.beyond_noise) == (None, None, None)


def test_the_interval_of_a_mean_over_seeds():
    values = [0.8, 0.9, 0.85]
    reference = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert over_seeds({(seed,): value for seed, value in enumerate(values)}) == pytest.approx(reference)
    assert over_seeds({(0,): 0.5}) == (None, None)
