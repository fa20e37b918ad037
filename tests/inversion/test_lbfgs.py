"""The batched L-BFGS takes torch's steps, keeps problems apart, and survives what runs off."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.inversion.history import History
from fl_attack_bench.inversion.lbfgs import LineSearch, Options, minimise
from fl_attack_bench.inversion.running import Minimum


def rosenbrock(x: Tensor) -> Tensor:
    return 0.01 * (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(-1)


def quartic(x: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 5, x.shape[-1], dtype=x.dtype)
    return (weights * (x - 1) ** 4 + 0.1 * (x - 2) ** 2).sum(-1) + 0.2 * (x.sum(-1) - 3) ** 2


FUNCTIONS = {"rosenbrock": rosenbrock, "quartic": quartic}


def evaluate(function, points: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        values = function(points)
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients


def by_torch(function, start: Tensor, options: Options) -> Tensor:
    point = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [point],
        lr=options.learning_rate,
        max_iter=options.inner,
        history_size=options.history,
        line_search_fn=None if options.line_search == "none" else options.line_search,
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = function(point)
        value.backward()
        return value

    for _ in range(options.iterations):
        optimiser.step(closure)
    return point.detach()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("line_search", ["none", "strong_wolfe"])
@pytest.mark.parametrize("history", [100, 4])
@pytest.mark.parametrize(("iterations", "inner"), [(k, 1) for k in (1, 2, 5, 10, 20)] + [(1, 20), (4, 5), (2, 7)])
def test_one_problem_takes_the_steps_of_torch(
    name: str, line_search: LineSearch, history: int, iterations: int, inner: int
) -> None:
    start = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) * 0.5
    options = Options(iterations=iterations, inner=inner, history=history, line_search=line_search)
    function = FUNCTIONS[name]
    for row in range(len(start)):
        alone = minimise(lambda p, _: evaluate(function, p), start[row : row + 1], options).last[0]
        wanted = by_torch(function, start[row], options)
        assert (alone - wanted).norm() <= 1e-4 * wanted.norm()


@pytest.mark.parametrize("line_search", ["none", "strong_wolfe"])
def test_a_batch_gives_what_single_problems_give(line_search: LineSearch) -> None:
    start = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    start[4] *= 30
    options = Options(iterations=4, line_search=line_search)
    batch = minimise(lambda p, _: evaluate(quartic, p), start, options)
    for row in range(len(start)):
        single = minimise(lambda p, _: evaluate(quartic, p), start[row : row + 1], options)
        assert torch.allclose(batch.best[row], single.best[0], rtol=1e-6, atol=1e-9)
        assert batch.iterations[row] == single.iterations[0]


def with_one_that_explodes(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    values, gradients = evaluate(quartic, points)
    bad = (which == 1) & (points.norm(dim=1) < 2.9)
    values[bad], gradients[bad] = torch.nan, torch.inf
    return values, gradients


def test_a_problem_that_diverges_keeps_its_best_point_and_leaves_the_others_alone() -> None:
    start = torch.full((3, 9), 3.0, dtype=torch.float64) + torch.arange(3, dtype=torch.float64).unsqueeze(1)
    options = Options(iterations=5)
    found = minimise(with_one_that_explodes, start, options)
    assert found.diverged.tolist() == [False, True, False]
    assert found.best.isfinite().all()
    assert found.last.isfinite().all()
    assert found.value.isfinite().all()
    alone = minimise(lambda p, _: evaluate(quartic, p), start[[0, 2]], options)
    assert torch.allclose(found.best[[0, 2]], alone.best)


def test_a_start_that_is_not_finite_is_marked_and_ends_nothing_else() -> None:
    start = torch.ones(2, 4, dtype=torch.float64)
    start[0, 0] = torch.nan
    found = minimise(lambda p, _: evaluate(quartic, p), start, Options(iterations=20))
    assert found.diverged.tolist() == [True, False]
    assert found.value[1] < quartic(start[1])


def test_restarts_of_a_victim_end_when_one_of_them_matches() -> None:
    start = torch.stack([torch.full((5,), 1.2), torch.full((5,), 9.0), torch.full((5,), 9.0)]).double()
    groups = torch.tensor([0, 0, 1])
    stop = 1.5 * float(minimise(lambda p, _: evaluate(quartic, p), start[:1], Options(iterations=50)).value[0])
    found = minimise(lambda p, _: evaluate(quartic, p), start, Options(inner=1, stop_below=stop), groups)
    assert found.value[0] < stop
    assert found.iterations[1] <= found.iterations[0]
    assert found.iterations[2] > found.iterations[0]


def test_patience_ends_a_problem_that_no_longer_falls() -> None:
    start = torch.full((1, 5), 4.0, dtype=torch.float64)
    never_lower = Options(iterations=300, inner=5, patience=3, learning_rate=1e-9, tolerance_change=0)
    assert minimise(lambda p, _: evaluate(quartic, p), start, never_lower).iterations[0] <= 5


def check_curve(found: Minimum, options: Options) -> None:
    assert found.curve.shape == (len(found.value), options.iterations)
    assert found.curve.isfinite().all()
    assert torch.equal(found.curve[:, -1] >= found.value, torch.ones(len(found.value), dtype=torch.bool))


def test_the_curve_is_carried_on_to_the_end() -> None:
    options = Options(iterations=30, line_search="strong_wolfe")
    start = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check_curve(minimise(lambda p, _: evaluate(quartic, p), start, options), options)


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_the_direction_is_that_of_the_two_loop_recursion(seed: int, pairs: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    dimension = 8
    basis = torch.randn(dimension, dimension, dtype=torch.float64, generator=generator)
    curvature = basis @ basis.T + torch.eye(dimension, dtype=torch.float64)
    history = History(2, dimension, size, torch.zeros(1, dtype=torch.float64))
    kept: list[tuple[Tensor, Tensor]] = []
    for _ in range(pairs):
        step = torch.randn(2, dimension, dtype=torch.float64, generator=generator)
        gradient = torch.randn(2, dimension, dtype=torch.float64, generator=generator)
        # The second problem never accepts a pair: its direction stays the gradient.
        found = history.turn(step, step @ curvature, torch.tensor([True, False]), gradient)
        kept = [*kept, (step[0], step[0] @ curvature)][-size:]
        assert torch.allclose(found[0], two_loops(kept, gradient[0]), rtol=1e-6, atol=1e-8)
        assert torch.equal(found[1], gradient[1])


def two_loops(pairs: list[tuple[Tensor, Tensor]], gradient: Tensor) -> Tensor:
    direction, weights = gradient.clone(), []
    for step, change in reversed(pairs):
        weights.append(step.dot(direction) / step.dot(change))
        direction = direction - weights[-1] * change
    step, change = pairs[-1]
    direction = direction * step.dot(change) / change.dot(change)
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        direction = direction + step * (weight - change.dot(direction) / step.dot(change))
    return direction
