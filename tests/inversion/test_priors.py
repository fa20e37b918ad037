"""Total variation against its formula, entry by entry."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.inversion.priors import total_variation


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_it_is_the_mean_difference_of_neighbours(batch: int, channels: int, height: int, width: int, seed: int) -> None:
    images = torch.rand(2, batch, channels, height, width, generator=torch.Generator().manual_seed(seed))
    found = total_variation(images)
    for row, victim in enumerate(images):
        down, across = [], []
        for plane in victim.flatten(0, 1).tolist():
            down += [abs(plane[i + 1][j] - plane[i][j]) for i in range(height - 1) for j in range(width)]
            across += [abs(plane[i][j + 1] - plane[i][j]) for i in range(height) for j in range(width - 1)]
        wanted = sum(sum(some) / max(1, len(some)) for some in (down, across))
        assert abs(float(found[row]) - wanted) < 1e-5


def test_its_gradient_is_finite_where_pixels_are_equal() -> None:
    images = torch.full((1, 1, 1, 4, 4), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_variation(images).sum(), images)
    assert torch.equal(gradient, torch.zeros_like(gradient))
