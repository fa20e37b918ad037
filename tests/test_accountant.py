"""Privacy accounting against closed forms."""

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from fl_attack_bench import accountant
from fl_attack_bench.api import Exposure

EXPOSURE = Exposure(clients=100, sampled=10, rounds=200, participations=30, equal_weights=True)


def exact_gaussian(multiplier: float, delta: float) -> float:
    """Balle and Wang 2018, theorem 8, for one Gaussian mechanism of sensitivity one."""

    def excess(epsilon: float) -> float:
        a, b = 1 / (2 * multiplier), epsilon * multiplier
        return float(norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b)) - delta

    return float(brentq(excess, 0, 500))


@pytest.mark.parametrize("scale", [4.0, 10.0, 40.0])
def test_gaussian_against_the_server_is_one_mechanism_with_less_noise(scale: float) -> None:
    found = accountant.gaussian(scale, 1.0, EXPOSURE)
    assert found.delta == pytest.approx(1e-3)
    wanted = exact_gaussian(scale / 2 / math.sqrt(30), 1e-3)
    assert found.epsilon_server == pytest.approx(wanted, rel=0.01)


def test_less_noise_or_more_participation_never_lowers_epsilon() -> None:
    epsilons = [accountant.gaussian(scale, 1.0, EXPOSURE).epsilon_server for scale in (10.0, 3.0, 1.0, 0.1, 1e-3)]
    assert all(e is not None for e in epsilons)
    assert epsilons == sorted(epsilons, key=lambda e: e or 0)
    more = Exposure(100, 10, 200, 60, equal_weights=True)
    few, many = accountant.laplace(10.0, 1.0, EXPOSURE), accountant.laplace(10.0, 1.0, more)
    assert few.epsilon_server is not None
    assert many.epsilon_server is not None
    assert few.epsilon_server < many.epsilon_server


def test_laplace_never_exceeds_pure_composition() -> None:
    found = accountant.laplace(10.0, 1.0, EXPOSURE)
    assert found.epsilon_server is not None
    assert found.epsilon_server <= 30 * 2 / 10


def test_the_model_alone_tells_less_than_every_single_upload() -> None:
    found = accountant.gaussian(10.0, 1.0, EXPOSURE)
    assert found.epsilon_model is not None
    assert found.epsilon_server is not None
    assert found.epsilon_model < found.epsilon_server
    unequal = Exposure(100, 10, 200, 30, equal_weights=False)
    assert accountant.gaussian(10.0, 1.0, unequal).epsilon_model is None


@pytest.mark.parametrize("mechanism", [accountant.gaussian, accountant.laplace])
def test_without_clipping_there_is_no_guarantee_and_it_says_so(mechanism) -> None:
    found = mechanism(1.0, None, EXPOSURE)
    assert found.epsilon_server is None
    assert found.epsilon_model is None
    assert found.statement.startswith("No guarantee")
