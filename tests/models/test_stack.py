"""The network of outsourced tasks against torch.nn and automatic differentiation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fl_attack_bench.errors import UserError
from fl_attack_bench.models import stack
from fl_attack_bench.tasks.outsourced import Layer, OutsourcedTask

ACTIVATIONS = ["relu", "sigmoid", "square", "none"]
REFERENCE = {"relu": torch.relu, "sigmoid": torch.sigmoid, "square": lambda z: z * z, "none": lambda z: z}


def convolution(outputs: int, kernel: int, stride: int = 1, activation: str = "relu") -> Layer:
    return Layer(kind="convolution", outputs=outputs, kernel=kernel, stride=stride, activation=activation)


def dense(outputs: int, activation: str = "none") -> Layer:
    return Layer(kind="dense", outputs=outputs, activation=activation)


PAPER = (convolution(4, 4, 2), dense(100, "sigmoid"), dense(10, "sigmoid"))


def drawn(layers, seed: int = 0) -> stack.Weights:
    return stack.initial(layers, torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def modules(layers, weights: stack.Weights) -> list[nn.Module]:
    """The same layers of torch.nn, holding the same weights."""
    made: list[nn.Module] = []
    for number, planned in enumerate(layers):
        matrix, bias = weights[2 * number : 2 * number + 2]
        if planned.layer.kernel is None:
            module = nn.Linear(*planned.matrix).double()
            weight = matrix.T
        else:
            channels, kernel = planned.inputs[0], planned.layer.kernel
            module = nn.Conv2d(channels, planned.layer.outputs, kernel, planned.layer.stride).double()
            weight = torch.empty_like(module.weight)
            for channel in range(channels):
                for i in range(kernel):
                    for j in range(kernel):
                        weight[:, channel, i, j] = matrix[(channel * kernel + i) * kernel + j]
        with torch.no_grad():
            module.weight.copy_(weight)
            module.bias.copy_(bias)
        made.append(module)
    return made


def reference(layers, made: list[nn.Module], images: torch.Tensor) -> torch.Tensor:
    values = images
    for planned, module in zip(layers, made, strict=True):
        values = values.flatten(1) if isinstance(module, nn.Linear) else values
        values = REFERENCE[planned.activation](module(values))
    return values.flatten(1)


def test_the_sizes_of_the_papers_network():
    """Its dense layer follows four filters, not the five of the paper's 13*13*5 (rtas-2021, section 5.4)."""
    planned = stack.plan(PAPER, (1, 28, 28))
    assert [layer.inputs for layer in planned] == [(1, 28, 28), (676,), (100,)]
    assert [layer.outputs for layer in planned] == [(4, 13, 13), (100,), (10,)]
    assert [layer.matrix for layer in planned] == [(16, 4), (676, 100), (100, 10)]
    assert [tuple(weight.shape) for weight in drawn(planned)] == [(16, 4), (4,), (676, 100), (100,), (100, 10), (10,)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(5, 9),
    st.integers(5, 9),
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.sampled_from(ACTIVATIONS), min_size=3, max_size=3),
    st.integers(0, 2**31),
)
def test_the_forward_pass_is_that_of_torch(channels, height, width, kernel, stride, activations, seed):
    layers = (convolution(2, kernel, stride, activations[0]), dense(4, activations[1]), dense(3, activations[2]))
    planned = stack.plan(layers, (channels, height, width))
    weights, images = drawn(planned, seed), uniform(5, channels, height, width, seed=seed)
    found = stack.forward(planned, weights, images)
    assert found.shape == (5, 3)
    assert torch.allclose(found, reference(planned, modules(planned, weights), images), atol=1e-12)


def test_a_convolution_is_its_matrix_on_patches():
    planned = stack.plan([convolution(2, 2, activation="none")], (2, 3, 4))[0]
    (matrix, bias), images = drawn([planned]), uniform(1, 2, 3, 4)
    found = stack.linear(planned, images, matrix, bias)
    for row in range(2):
        for column in range(3):
            patch = images[0, :, row : row + 2, column : column + 2].flatten()
            assert torch.allclose(found[0, :, row, column], patch @ matrix + bias, atol=1e-12)


def test_two_convolutions_follow_each_other():
    planned = stack.plan((convolution(3, 2, 2), convolution(2, 3), dense(2)), (1, 11, 9))
    assert [layer.inputs for layer in planned] == [(1, 11, 9), (3, 5, 4), (12,)]
    weights, images = drawn(planned), uniform(2, 1, 11, 9)
    expected = reference(planned, modules(planned, weights), images)
    assert torch.allclose(stack.forward(planned, weights, images), expected, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_slope_is_that_of_automatic_differentiation(activation):
    values = (4 * uniform(50) - 2).requires_grad_()
    activated = stack.activate(activation, values)
    (expected,) = torch.autograd.grad(activated.sum(), values)
    assert torch.allclose(activated, REFERENCE[activation](values))
    found = stack.slope(activation, values.detach(), activated.detach())
    assert torch.allclose(found, expected, atol=1e-12)
    assert found.shape == values.shape


def test_relu_is_flat_at_zero():
    zero = torch.zeros(1)
    assert stack.slope("relu", zero, zero).item() == 0


def test_a_step_is_that_of_torch_sgd():
    layers = stack.plan((convolution(2, 3, 2), dense(5, "sigmoid"), dense(3, "sigmoid")), (1, 8, 8))
    weights, images, wanted = drawn(layers), uniform(6, 1, 8, 8), stack.targets(torch.arange(6) % 3, 3, None)
    made = modules(layers, weights)
    optimiser = torch.optim.SGD([p for module in made for p in module.parameters()], lr=0.7)
    for _ in range(3):
        optimiser.zero_grad()
        ((reference(layers, made, images) - wanted) ** 2).mean().backward()
        optimiser.step()
        weights = stack.descend(layers, weights, images, wanted, 0.7)
    expected = reference(layers, made, images)
    assert torch.allclose(stack.forward(layers, weights, images), expected, atol=1e-12)
    assert not torch.allclose(stack.forward(layers, drawn(layers), images), expected, atol=1e-3)
    for number, module in enumerate(made):
        assert torch.allclose(weights[2 * number + 1], module.bias, atol=1e-12)


def test_it_works_in_the_precision_of_the_weights():
    layers = stack.plan([dense(2)], (1, 2, 2))
    weights = tuple(weight.float() for weight in drawn(layers))
    assert stack.forward(layers, weights, uniform(3, 1, 2, 2)).dtype == torch.float32


def test_first_weights_are_uniform_within_the_fan_in_and_come_from_the_generator():
    layers = stack.plan(PAPER, (1, 28, 28))
    state = torch.get_rng_state()
    weights = drawn(layers)
    assert torch.equal(torch.get_rng_state(), state)
    for number, rows in enumerate((16, 676, 100)):
        for weight in weights[2 * number : 2 * number + 2]:
            assert weight.dtype == torch.float64
            assert float(weight.abs().max()) <= rows**-0.5
    assert float(weights[2].abs().max()) > 0.999 * 676**-0.5
    assert float(weights[2].std()) == pytest.approx((3 * 676) ** -0.5, rel=0.01)
    assert all(torch.equal(a, b) for a, b in zip(weights, drawn(layers), strict=True))
    assert not torch.equal(weights[0], drawn(layers, seed=1)[0])


def test_targets_are_one_hot_or_one_class():
    labels = torch.tensor([2, 0, 1])
    assert stack.targets(labels, 3, None).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert stack.targets(labels, 3, 0).tolist() == [[0], [1], [0]]
    assert stack.targets(labels, 3, 2).dtype == stack.targets(labels, 3, None).dtype == torch.float64


def task(outputs=1, target=None, kernel=None):
    first = {"kind": "convolution", "outputs": 2, "kernel": kernel} if kernel else {"kind": "dense", "outputs": 2}
    layers = [first, {"kind": "dense", "outputs": outputs}]
    given = {"name": "t", "scenario": "outsourced", "dataset": "digits", "training": {"steps": 1}}
    return OutsourcedTask.model_validate(given | {"layers": layers, "target": target})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": 3}, "target=3 is none of the 3 classes 0 to 2"),
        ({"target": 10}, "target=10 is none of the 3 classes 0 to 2"),
        ({"outputs": 2}, "the last layer has 2 outputs for 3 classes"),
        ({"outputs": 3, "kernel": 9}, "layer 0: a kernel of 9 does not fit an image of 8x8"),
    ],
)
def test_a_task_that_does_not_fit_its_data_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        stack.fitted(task(**given), (1, 8, 8), 3)


@pytest.mark.parametrize(("outputs", "target"), [(1, 0), (3, None)])
def test_a_last_convolution_gives_one_answer_or_is_refused(outputs, target):
    """Its values at several places, held against one target a sample, would be spread over all of them in silence."""
    asked = task(outputs, target=target).model_copy(update={"layers": (convolution(outputs, 4, 4),)})
    with pytest.raises(UserError, match=f"the last layer's {outputs} outputs come at 2x2 places"):
        stack.fitted(asked, (1, 8, 8), 3)
    assert stack.fitted(asked, (1, 4, 4), 3)[-1].outputs == (outputs, 1, 1)


def test_a_task_that_fits_has_its_sizes():
    assert [planned.outputs for planned in stack.fitted(task(3, kernel=3), (1, 8, 8), 3)] == [(2, 6, 6), (3,)]
    assert stack.fitted(task(1, target=2), (1, 8, 8), 3)[0].inputs == (64,)


def test_accuracy_is_the_share_of_right_answers():
    predicted = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.6, 0.5], [0.3, 0.4]])
    assert stack.accuracy(predicted, stack.targets(torch.tensor([1, 0, 1, 1]), 2, None)) == 0.75
    one = torch.tensor([[0.6], [0.4], [0.7], [0.1]])
    assert stack.accuracy(one, torch.tensor([[1.0], [0.0], [0.0], [0.0]])) == 0.75


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([convolution(2, 5)], (1, 4, 8), "layer 0: a kernel of 5 does not fit an image of 4x8"),
        ([convolution(2, 5)], (1, 8, 4), "layer 0: a kernel of 5 does not fit an image of 8x4"),
        ([convolution(2, 3, 3), convolution(2, 4)], (1, 10, 10), "layer 1: a kernel of 4 does not fit an image of 3x3"),
    ],
)
def test_filters_larger_than_the_image_are_refused(layers, shape, message):
    with pytest.raises(UserError, match=message):
        stack.plan(layers, shape)
