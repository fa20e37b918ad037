"""How entries, rounds and the prior are weighed, against the formulas and on synthetic noise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.api import Observation
from fl_attack_bench.inversion.weights import entry_weights, estimate_noise, prior_weight, round_shares
from fl_attack_bench.update import Layout

LAYOUT = Layout(("weight", "bias"), ((40, 50), (600,)))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noisy(noise: list[list[float]], values: Tensor | None = None) -> Observation:
    deviations = torch.tensor(noise, dtype=torch.float64)
    values = torch.ones_like(deviations) if values is None else values
    return Observation(values, deviations.isfinite(), deviations)


def test_exact_entries_and_uniform_noise_need_no_weights() -> None:
    assert entry_weights(noisy([[0, 0], [0, 0]])) is None
    assert entry_weights(noisy([[0.5, 0.5], [2, 2]])) is None


def test_noise_that_is_not_stated_counts_as_none() -> None:
    assert entry_weights(noisy([[torch.nan, torch.nan]])) is None


def test_an_unknown_entry_weighs_nothing_and_an_exact_one_everything() -> None:
    weights = entry_weights(noisy([[0, torch.inf, 0], [torch.inf] * 3]))
    assert weights is not None
    assert weights.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_without_a_signal_the_weights_are_inverse_variances() -> None:
    weights = entry_weights(noisy([[1, 2, 4, torch.inf]], torch.zeros(1, 4, dtype=torch.float64)))
    assert weights is not None
    assert torch.allclose(weights, torch.tensor([[1, 1 / 4, 1 / 16, 0]], dtype=torch.float64))


def test_beside_exact_entries_the_noise_is_set_against_a_hundredth_of_the_signal() -> None:
    observed = noisy([[0, 0.1, 3]], torch.tensor([[2.0, -2.0, 3.0]], dtype=torch.float64))
    signal = 17 / 3 - 9.01 / 3
    wanted = [1, 0.01 * signal / (0.01 * signal + 0.01), 0.01 * signal / (0.01 * signal + 9)]
    weights = entry_weights(observed)
    assert weights is not None
    assert torch.allclose(weights, torch.tensor([wanted], dtype=torch.float64))


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_the_largest_weight_is_one_and_noisier_entries_never_weigh_more(noise: list[float], seed: int) -> None:
    observed = noisy([noise], normal(1, len(noise), seed=seed) * 10)
    weights = entry_weights(observed)
    if weights is None:
        assert len({deviation**2 for deviation in noise}) == 1  # a variance may vanish where a deviation does not
        return
    assert float(weights.max()) == 1
    order = observed.noise[0].argsort()
    assert (weights[0, order].diff() <= 0).all()
    assert (weights > 0).all()


def test_a_victim_that_is_not_finite_leaves_the_others_weights_alone() -> None:
    values = torch.ones(2, 3, dtype=torch.float64)
    noise = [[0, 1, torch.inf], [0, 1, torch.inf]]
    healthy = entry_weights(noisy(noise, values))
    values[0, 0] = torch.nan
    broken = entry_weights(noisy(noise, values))
    assert healthy is not None
    assert broken is not None
    assert torch.equal(broken[1], healthy[1])
    assert broken.isfinite().all()


def test_exact_rounds_share_alike_and_a_loud_one_counts_for_little() -> None:
    quiet, loud = noisy([[0, 0]]), noisy([[3, 3]], torch.full((1, 2), 10**0.5, dtype=torch.float64))
    assert round_shares([quiet, quiet]).tolist() == [[0.5], [0.5]]
    # power 10 = signal 1 + noise 9: 1 / (1 + 9) beside 1
    assert torch.allclose(round_shares([quiet, loud]), torch.tensor([[1 / 1.1], [0.1 / 1.1]], dtype=torch.float64))


def test_shares_sum_to_one_whatever_is_known() -> None:
    nothing, broken = noisy([[torch.inf] * 2] * 2), noisy([[1, 1]] * 2, torch.tensor([[torch.nan] * 2, [1.0, 1.0]]))
    for rounds in ([nothing, nothing], [nothing, broken], [broken, noisy([[0, 0]] * 2)]):
        shares = round_shares(rounds)
        assert torch.allclose(shares.sum(0), torch.ones(2, dtype=torch.float64))
        assert (shares >= 0).all()


def test_the_prior_counts_as_maximum_a_posteriori_says() -> None:
    signal = normal(1, 10_000) * 0.3
    deviation = 0.2
    observed = Observation(
        signal + deviation * normal(1, 10_000, seed=1), torch.ones(1, 10_000).bool(), torch.full_like(signal, deviation)
    )
    length, true = observed.values.norm(), signal.norm()
    wanted = 7 / 0.05 * deviation**2 / (length * true)
    found = prior_weight([observed], torch.ones(1, 1, dtype=torch.float64), 7)
    assert float(found) == pytest.approx(float(wanted), rel=0.05)
    twice = prior_weight([observed, observed], torch.full((2, 1), 0.5, dtype=torch.float64), 7)
    assert float(twice) == pytest.approx(float(wanted) / 2, rel=0.05)


def test_without_noise_the_prior_counts_no_more() -> None:
    rounds = [noisy([[0, torch.inf]])]
    assert prior_weight(rounds, torch.ones(1, 1, dtype=torch.float64), 784).tolist() == [0]


@pytest.mark.parametrize("rounds", [2, 5])
def test_noise_is_estimated_from_repeated_rounds(rounds: int) -> None:
    gradient = normal(3, LAYOUT.size, seed=1) * 5
    deviations = torch.tensor([0.01, 1, 30], dtype=torch.float64).unsqueeze(1).repeat(1, LAYOUT.size)
    deviations[:, LAYOUT.slices["bias"]] *= 3
    values = gradient + deviations * normal(rounds, 3, LAYOUT.size, seed=2)
    assert torch.allclose(estimate_noise(values, LAYOUT), deviations, rtol=0.12)


def test_a_tenth_of_changed_entries_hardly_moves_the_estimate() -> None:
    values = normal(2, 1, LAYOUT.size, seed=2)
    values[1, 0, ::10] += 1_000
    assert torch.allclose(estimate_noise(values, LAYOUT), torch.ones(1, LAYOUT.size, dtype=torch.float64), rtol=0.25)


def test_one_round_says_nothing_of_noise() -> None:
    assert not estimate_noise(normal(1, 2, LAYOUT.size), LAYOUT).any()
