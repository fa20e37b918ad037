import pytest
import torch
from torch import Tensor

from fl_attack_bench.inversion.gaussian_prior import GaussianPrior


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_prior(size: int = 6) -> GaussianPrior:
    root = numbers(size, size, seed=1)
    return GaussianPrior((1, 2, size // 2), numbers(size, seed=2), root @ root.T)


def test_the_expectation_is_that_of_the_joint_normal_distribution():
    prior, operator, offset, noise = some_prior(), numbers(6, 4), numbers(4, seed=3), 0.3
    values = numbers(5, 4, seed=4)
    spread = operator.T @ prior.covariance @ operator + noise * torch.eye(4, dtype=torch.float64)
    for found, value in zip(prior.given(operator, offset, values, noise), values, strict=True):
        missed = torch.linalg.solve(spread, value - prior.mean @ operator - offset)
        torch.testing.assert_close(found.flatten(), prior.mean + prior.covariance @ operator @ missed)


def test_enough_exact_values_leave_nothing_open():
    prior, operator, images = some_prior(), numbers(6, 8), numbers(3, 6, seed=5)
    found = prior.given(operator, numbers(8), images @ operator + numbers(8), 0.0)
    torch.testing.assert_close(found.flatten(1), images, atol=1e-5, rtol=0)


def test_denoising_is_inverting_the_identity():
    prior, noisy = some_prior(), numbers(4, 1, 2, 3, seed=6)
    direct = prior.given(torch.eye(6, dtype=torch.float64), torch.zeros(6), noisy.flatten(1), 0.7)
    torch.testing.assert_close(prior.denoised(noisy, 0.7), direct)


def test_with_endless_noise_the_mean_is_left_and_with_none_the_image():
    prior, noisy = some_prior(), numbers(4, 1, 2, 3, seed=6)
    torch.testing.assert_close(
        prior.denoised(noisy, 1e15), prior.mean.expand(4, 6).reshape(4, 1, 2, 3), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(prior.denoised(noisy, 0.0), noisy)


def test_many_images_give_their_own_moments():
    root = numbers(4, 4, seed=7)
    images = (numbers(20_000, 4) @ root + 2).reshape(-1, 1, 2, 2)
    prior = GaussianPrior.of(images, (1, 2, 2))
    torch.testing.assert_close(prior.mean, images.flatten(1).mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(prior.covariance, torch.cov(images.flatten(1).T), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_images_give_a_proper_distribution(count: int):
    prior = GaussianPrior.of(numbers(count, 1, 3, 3).abs(), (1, 3, 3))
    assert torch.linalg.eigvalsh(prior.covariance)[0] > 0
    if count < 2:
        assert prior.covariance[0, 1] > prior.covariance[0, 8]  # neighbours are more alike


def test_rows_without_places_have_no_neighbours():
    prior = GaussianPrior.of(torch.zeros(0, 5), (5,))
    assert torch.equal(prior.covariance, torch.diag(prior.covariance.diagonal()))
