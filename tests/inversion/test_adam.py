"""The batched Adam takes torch's steps, stays in its box, keeps problems apart, and survives what runs off."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.inversion.adam import Options, minimise


def quartic(x: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 5, x.shape[-1], dtype=x.dtype)
    return (weights * (x - 1) ** 4 + 0.1 * (x - 2) ** 2).sum(-1) + 0.2 * (x.sum(-1) - 3) ** 2


def evaluate(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """A different quartic for each problem: its middle moves with the problem's number."""
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        values = quartic(points - 0.3 * which.unsqueeze(1))
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients


def starts(count: int, size: int, seed: int = 3) -> Tensor:
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def by_torch(start: Tensor, which: int, options: Options) -> Tensor:
    """As the published code does: the gradient's signs, Adam, MultiStepLR, then the projection."""
    point = start.clone().unsqueeze(0).requires_grad_()
    optimiser = torch.optim.Adam([point], lr=options.learning_rate, betas=options.betas, eps=options.epsilon)
    milestones = [options.iterations * k // 8 for k in (3, 5, 7)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    for _ in range(options.iterations):
        _, gradient = evaluate(point, torch.tensor([which]))
        point.grad = gradient.sign() if options.signed else gradient
        optimiser.step()
        schedule.step()
        if options.box is not None:
            point.data.clamp_(*options.box)
    return point.detach().squeeze(0)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
@pytest.mark.parametrize("iterations", [1, 7, 24, 100])
def test_every_row_takes_the_steps_of_torch(signed: bool, box: tuple[float, float] | None, iterations: int) -> None:
    start = starts(5, 12)
    options = Options(iterations=iterations, signed=signed, box=box)
    found = minimise(evaluate, start, options)
    for row in range(len(start)):
        first = start[row] if box is None else start[row].clamp(*box)
        assert (found.last[row] - by_torch(first, row, options)).abs().max() < 1e-10


@given(st.integers(1, 400), st.floats(1e-3, 10))
@settings(max_examples=40, deadline=None)
def test_the_rate_is_that_of_torch(iterations: int, rate: float) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    milestones = [iterations * k // 8 for k in (3, 5, 7)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    options = Options(iterations=iterations, learning_rate=rate)
    for step in range(iterations):
        assert options.rate(step) == pytest.approx(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()


def test_what_is_returned_is_the_lowest_point_visited() -> None:
    start, options = starts(4, 6), Options(iterations=30, learning_rate=0.5)
    visited: list[tuple[Tensor, Tensor]] = []

    def watched(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = evaluate(points, which)
        visited.append((points.clone(), values))
        return values, gradients

    found = minimise(watched, start, options)
    points, values = (torch.stack(parts) for parts in zip(*visited, strict=True))
    assert len(visited) == options.iterations + 1
    assert torch.equal(found.value, values.min(0).values)
    assert torch.equal(found.best, points[values.argmin(0), torch.arange(4)])
    assert torch.equal(found.curve, values[1:].T)
    assert found.iterations.tolist() == [30] * 4


def test_a_batch_gives_what_single_problems_give() -> None:
    start, options = starts(6, 9), Options(iterations=40)
    batch = minimise(evaluate, start, options)
    for row in range(len(start)):
        single = minimise(lambda p, w, row=row: evaluate(p, w + row), start[row : row + 1], options)
        assert torch.allclose(batch.best[row], single.best[0], rtol=1e-12)


def test_a_problem_that_diverges_keeps_its_last_and_its_best_point_and_leaves_the_others_alone() -> None:
    start, options = starts(3, 9), Options(iterations=20)
    calls = 0

    def explodes(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        values, gradients = evaluate(points, which)
        if calls == 6:
            gradients[which == 1] = torch.nan
        return values, gradients

    found, healthy = minimise(explodes, start, options), minimise(evaluate, start, options)
    assert found.diverged.tolist() == [False, True, False]
    assert found.iterations.tolist() == [20, 5, 20]
    assert found.best.isfinite().all()
    assert torch.equal(found.best[[0, 2]], healthy.best[[0, 2]])
    stopped = []

    def short(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        stopped.append(points.clone())
        return evaluate(points, which + 1)

    minimise(short, start[1:2], options)
    assert torch.equal(found.last[1], stopped[4][0])
    assert found.value[1] == evaluate(torch.cat(stopped[:5]), torch.ones(5))[0].min()
    assert found.curve[1].isfinite().all()


def test_a_start_that_is_not_finite_is_marked_and_ends_nothing_else() -> None:
    start = starts(2, 4)
    start[0, 0] = torch.nan
    found = minimise(evaluate, start, Options(iterations=20))
    assert found.diverged.tolist() == [True, False]
    assert found.best.isfinite().all()
    assert found.last.isfinite().all()
    assert found.iterations.tolist() == [0, 20]
    assert found.value[1] < evaluate(start[1:], torch.tensor([1]))[0]


def test_restarts_of_a_victim_end_when_one_of_them_matches() -> None:
    start = torch.tensor([[1.2], [9.0], [9.0]], dtype=torch.float64).expand(-1, 5)
    same = lambda points, which: evaluate(points, torch.zeros_like(which))  # noqa: E731
    lowest = float(minimise(same, start[:1], Options(iterations=300)).value[0])
    options = Options(iterations=300, stop_below=1.1 * lowest)
    found = minimise(same, start, options, torch.tensor([0, 0, 1]))
    assert found.value[0] < options.stop_below
    assert found.iterations[1] == found.iterations[0] < found.iterations[2]


def test_patience_ends_a_problem_that_no_longer_falls() -> None:
    found = minimise(evaluate, starts(1, 5), Options(iterations=300, learning_rate=1e-9, patience=3))
    assert found.iterations[0] <= 5


def test_a_group_that_has_ended_is_evaluated_no_more() -> None:
    seen: list[int] = []

    def counted(points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(len(which))
        return evaluate(points, which)

    start = starts(2, 3)
    start[0] = torch.inf
    minimise(counted, start, Options(iterations=4))
    assert seen == [2, 1, 1, 1, 1]
