"""Damped Gauss-Newton steps: quadratic convergence where L-BFGS creeps, never uphill, and nothing too large."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.inversion import gauss_newton
from fl_attack_bench.inversion.gauss_newton import polish


def drawn(seed: int, *size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def problem(seed: int, unknowns: int = 6) -> tuple[Tensor, Tensor]:
    """A matrix with singular values over four decades, and where its curved residual is 0."""
    left, right = (
        torch.linalg.qr(drawn(seed + n, size, unknowns))[0] for n, size in ((0, 3 * unknowns), (1, unknowns))
    )
    return left * torch.logspace(0, -4, unknowns, dtype=torch.float64) @ right.T, drawn(seed + 2, unknowns)


def test_a_badly_conditioned_curved_problem_is_solved_in_a_few_steps() -> None:
    matrix, truth = problem(0)

    def residual(points: Tensor) -> Tensor:
        return (points.tanh() - truth.tanh()) @ matrix.T

    start = truth + 0.05 * drawn(9, len(truth))
    before = float(residual(start.unsqueeze(0)).square().sum())
    reached, value = polish(residual, start, 12, 1e-22)
    assert value == pytest.approx(float(residual(reached.unsqueeze(0)).square().sum()))
    assert before > 1e-4 > 1e-16 > value
    assert (reached - truth).norm() < 1e-3 * (start - truth).norm()


@given(st.integers(0, 10_000), st.floats(0.1, 30))
@settings(max_examples=30, deadline=None)
def test_it_never_goes_uphill_and_stays_finite(seed: int, far: float) -> None:
    matrix, truth = problem(seed, 4)

    def residual(points: Tensor) -> Tensor:
        return (points**3 - truth**3 + points.exp().clamp(max=1e6)) @ matrix.T + 0.1

    start = truth + far * drawn(seed + 5, 4)
    reached, value = polish(residual, start, 4, 0.0)
    assert reached.isfinite().all()
    assert value <= float(residual(start.unsqueeze(0)).square().sum()) * (1 + 1e-12)


def test_it_stops_where_it_is_low_enough_and_where_a_step_does_not_pay() -> None:
    counted = []

    def residual(points: Tensor) -> Tensor:
        counted.append(len(points))
        return torch.cat((points, torch.ones_like(points)), dim=1)

    start = torch.full((3,), 0.5, dtype=torch.float64)
    assert torch.equal(polish(residual, start, 5, 10.0)[0], start)
    assert counted == [1]
    polish(residual, start, 5, 0.0)
    # One Jacobian and one trial: from 3.75 the objective cannot fall below 3.
    assert counted == [1, 1, 3, 1]


def test_a_jacobian_that_is_too_large_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauss_newton, "MOST_BYTES", 10)
    start = torch.ones(3, dtype=torch.float64)
    reached, value = polish(lambda points: points, start, 5, 0.0)
    assert torch.equal(reached, start)
    assert value == 3.0


def test_a_residual_that_is_not_finite_is_left_alone() -> None:
    start = torch.ones(3, dtype=torch.float64)
    reached, _ = polish(lambda points: points * torch.nan, start, 5, 0.0)
    assert torch.equal(reached, start)
