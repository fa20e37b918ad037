"""Products against autograd and against themselves: what a multiplication triple needs is that they are bilinear."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.models import stack
from fl_attack_bench.sharing.arithmetic import Float, Ring
from fl_attack_bench.sharing.products import (
    Convolve,
    Elementwise,
    FilterGradient,
    ImageGradient,
    MatMul,
    forward_product,
    input_product,
    weight_product,
)
from fl_attack_bench.tasks.outsourced import Layer

DOUBLE, RING = Float(), Ring()


def convolution(channels=2, side=9, filters=3, kernel=4, stride=2):
    layer = Layer(kind="convolution", outputs=filters, kernel=kernel, stride=stride)
    return stack.plan([layer], (channels, side, side + 1))[0]


def dense():
    return stack.plan([Layer(kind="dense", outputs=5)], (1, 2, 6))[0]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    "planned", [convolution(), convolution(kernel=3, stride=3), convolution(kernel=1, stride=1), dense()]
)
def test_a_layer_and_its_gradients_are_those_of_autograd(planned):
    x, w = drawn(4, *planned.inputs).requires_grad_(), drawn(*planned.matrix, seed=1).requires_grad_()
    wanted = stack.linear(planned, x, w, torch.zeros(planned.layer.outputs, dtype=torch.float64))
    error = drawn(*wanted.shape, seed=2)
    x_gradient, w_gradient = torch.autograd.grad((wanted * error).sum(), (x, w))
    plain = x.detach(), w.detach()
    assert torch.allclose(forward_product(planned)(DOUBLE, *plain), wanted.detach())
    assert torch.allclose(weight_product(planned)(DOUBLE, plain[0], error), w_gradient)
    assert torch.allclose(input_product(planned)(DOUBLE, error, plain[1]), x_gradient)


PLANNED = convolution()
CASES = [
    (MatMul(), (3, 4), (4, 2)),
    (MatMul(transpose_left=True), (4, 3), (4, 2)),
    (MatMul(transpose_right=True), (3, 4), (2, 4)),
    (Elementwise(), (3, 2), (3, 2)),
    (Convolve(PLANNED), (2, *PLANNED.inputs), PLANNED.matrix),
    (FilterGradient(PLANNED), (2, *PLANNED.inputs), (2, *PLANNED.outputs)),
    (ImageGradient(PLANNED), (2, *PLANNED.outputs), PLANNED.matrix),
]


@pytest.mark.parametrize(("product", "left", "right"), CASES, ids=[type(case[0]).__name__ for case in CASES])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_a_product_is_bilinear_in_the_ring_and_has_the_shape_it_says(product, left, right, seed):
    rng = torch.Generator().manual_seed(seed)
    x, other, y = (torch.randint(-(2**63), 2**63 - 1, shape, generator=rng) for shape in (left, left, right))
    assert torch.equal(product(RING, x + other, y), product(RING, x, y) + product(RING, other, y))
    assert product(RING, x, y).shape == product.shape(left, right)
    assert torch.equal(product(RING, x, 3 * y), 3 * product(RING, x, y))


@pytest.mark.parametrize(("product", "left", "right"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_no_entry_sums_more_terms_than_said(product, left, right):
    ones = product(DOUBLE, torch.ones(left, dtype=torch.float64), torch.ones(right, dtype=torch.float64))
    assert ones.max() <= product.terms(left, right)
    if not isinstance(product, ImageGradient):  # there not every place of a kernel need meet in some pixel
        assert ones.max() == product.terms(left, right)


@pytest.mark.parametrize(("product", "left", "right"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_factors_of_other_shapes_are_refused(product, left, right):
    with pytest.raises(ValueError, match=r"multiply|gradient"):
        product.shape(tuple(side + 1 for side in left), right)
