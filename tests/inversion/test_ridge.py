import pytest
import torch
from torch import Tensor

from fl_attack_bench.inversion.ridge import PENALTIES, KernelRidge, held_out


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def direct(inputs: Tensor, targets: Tensor, others: Tensor, penalty: float) -> Tensor:
    """Penalised least squares with a free intercept, by the normal equations of the augmented system."""
    count, width = inputs.shape
    augmented = torch.cat([inputs, torch.ones(count, 1, dtype=inputs.dtype)], 1)
    damping = torch.diag(torch.tensor([penalty] * width + [0.0], dtype=inputs.dtype))
    weights = torch.linalg.solve(augmented.T @ augmented + damping, augmented.T @ targets)
    return torch.cat([others, torch.ones(len(others), 1, dtype=inputs.dtype)], 1) @ weights


def refitted(inputs: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """Every row as the fit to all others predicts it."""
    rows = []
    for row in range(len(inputs)):
        rest = torch.arange(len(inputs)) != row
        rows.append(direct(inputs[rest], targets[rest], inputs[row : row + 1], penalty))
    return torch.cat(rows)


@pytest.mark.parametrize("shape", [(12, 4), (5, 9)])
def test_predictions_and_errors_are_those_of_refitting(shape):
    inputs, targets, others = numbers(*shape) + 3, numbers(shape[0], 2, seed=1) - 5, numbers(7, shape[1], seed=2)
    fit = KernelRidge(inputs @ inputs.T, others @ inputs.T)
    centred = inputs - inputs.mean(0)
    scale = float(centred.square().sum()) / (shape[0] - 1)
    penalties = (1e-3, 0.1, 2.0)
    errors = fit.errors(targets, penalties)
    for error, penalty in zip(errors, penalties, strict=True):
        torch.testing.assert_close(fit.predict(targets, penalty), direct(inputs, targets, others, penalty * scale))
        missed = refitted(inputs, targets, penalty * scale) - targets
        torch.testing.assert_close(error, missed.square().mean(0))


def test_the_best_penalty_is_the_one_with_the_lowest_error():
    inputs, targets = numbers(30, 20), numbers(30, 3, seed=1)
    fit = KernelRidge(inputs @ inputs.T, inputs @ inputs.T)
    penalty, error = fit.best(targets)
    by_hand = [float(fit.errors(targets, [p]).mean()) for p in PENALTIES]
    assert penalty == PENALTIES[by_hand.index(min(by_hand))]
    assert error == pytest.approx(min(by_hand))


def test_a_linear_map_is_recovered():
    inputs, others, weights = numbers(12, 6), numbers(9, 6, seed=1), numbers(6, 4, seed=2)
    fit = KernelRidge(inputs @ inputs.T, others @ inputs.T)
    penalty, _ = fit.best(inputs @ weights + 1)
    torch.testing.assert_close(fit.predict(inputs @ weights + 1, penalty), others @ weights + 1, atol=1e-8, rtol=0)


def test_rows_that_are_all_alike_give_the_mean():
    targets = numbers(6, 2)
    fit = KernelRidge(torch.ones(6, 6), torch.ones(3, 6))
    for penalty in PENALTIES:
        torch.testing.assert_close(fit.predict(targets, penalty), targets.mean(0).expand(3, 2))
    assert fit.errors(targets).isfinite().all()


def test_held_out_is_what_refitting_gives_with_the_best_penalty():
    inputs, targets = numbers(20, 3) + 2, numbers(20, 2, seed=1)
    scale = float(torch.linalg.eigvalsh((inputs - inputs.mean(0)).T @ (inputs - inputs.mean(0))).mean())
    penalties = (1e-2, 1.0, 100.0)
    all_of_them = [refitted(inputs, targets, p * scale) for p in penalties]
    best = min(all_of_them, key=lambda found: float((found - targets).square().mean()))
    torch.testing.assert_close(held_out(inputs, targets, penalties), best)


def test_held_out_is_finite_for_constant_columns_and_rows_that_stand_alone():
    inputs = torch.zeros(5, 3)
    assert held_out(inputs, numbers(5, 2)).isfinite().all()
    inputs[2, 1] = 1.0
    assert held_out(inputs, numbers(5, 2)).isfinite().all()
