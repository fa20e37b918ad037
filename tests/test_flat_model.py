"""Losses, gradients and figures of a flat model, against sklearn's and the formulas' own."""

import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error, r2_score
from torch import nn

from fl_attack_bench.flat_model import FlatModel


def model(outputs: int, scale: float = 1.0) -> FlatModel:
    network = nn.Sequential(nn.Flatten(), nn.Linear(10, outputs))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(outputs)))
    return FlatModel(network, torch.device("cpu"))


def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.rand(count, 1, 1, 10, generator=rng), torch.rand(count, generator=rng)


def test_the_gradient_for_numbers_is_that_of_the_mean_squared_error() -> None:
    flat, (images, targets) = model(1), batch(7)
    rows = torch.cat([images.flatten(1), torch.ones(7, 1)], 1)
    wanted = 2 / 7 * rows.T @ (rows @ flat.weights - targets)
    assert torch.allclose(flat.gradient(images, targets), wanted, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.05, 5.0])
def test_numbers_are_scored_by_determination_and_squared_error_in_any_batches(scale: float) -> None:
    flat, (images, targets) = model(1, scale), batch(33)
    predicted = flat.module(images).detach().squeeze(1)
    for size in (5, 33, 1000):
        accuracy, loss = flat.evaluate(images, targets, batch=size)
        assert loss == pytest.approx(mean_squared_error(targets, predicted), rel=1e-5)
        assert accuracy == pytest.approx(min(max(r2_score(targets, predicted), 0), 1), abs=1e-5)
    near = predicted + 0.01 * targets
    assert flat.evaluate(images, near)[0] == pytest.approx(max(r2_score(near, predicted), 0), abs=1e-4)


def test_a_perfect_fit_is_one_and_what_is_no_number_is_none() -> None:
    flat, (images, _) = model(1), batch(9)
    exact = flat.module(images).detach().squeeze(1)
    assert flat.evaluate(images, exact) == (1.0, 0.0)
    flat.weights.fill_(1e30)
    accuracy, loss = flat.evaluate(images, exact)
    assert (accuracy, loss) == (0.0, float("inf"))
    assert flat.evaluate(images, torch.full((9,), 0.5))[0] == 0


def test_labels_are_scored_by_hits_and_cross_entropy() -> None:
    flat, (images, _) = model(4), batch(40)
    labels = torch.arange(40) % 4
    shares = flat.module(images).detach().double().softmax(1)
    accuracy, loss = flat.evaluate(images, labels, batch=7)
    assert loss == pytest.approx(log_loss(labels, shares), rel=1e-5)
    assert accuracy == (shares.argmax(1) == labels).double().mean() == flat.accuracy(images, labels)
