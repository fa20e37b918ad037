"""A network on ciphertexts predicts what it predicts in the clear."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.homomorphic import BadCiphertext
from fl_attack_bench.crypto.homomorphic_network import HomomorphicNetwork, finished, packing, reach
from fl_attack_bench.crypto.packed_ciphertexts import NotEvaluable, PackedEvaluator, PackedOwner
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.models import stack
from fl_attack_bench.models.stack import PlannedLayer, Weights
from fl_attack_bench.tasks.outsourced import Layer

CONVOLUTION = Layer(kind="convolution", outputs=2, kernel=2, stride=2, activation="square")


def dense(outputs: int, activation: str = "none") -> Layer:
    return Layer(kind="dense", outputs=outputs, activation=activation)


def planned(*layers: Layer, shape: tuple[int, int, int] = (2, 5, 4)) -> tuple[PlannedLayer, ...]:
    return stack.plan(layers, shape)


def drawn(layers: tuple[PlannedLayer, ...], seed: int = 0) -> Weights:
    return stack.initial(layers, torch.Generator().manual_seed(seed))


def images(samples: int, layers: tuple[PlannedLayer, ...], seed: int = 1) -> torch.Tensor:
    return torch.rand(samples, *layers[0].inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def predicted(layers: tuple[PlannedLayer, ...], weights: Weights, features: torch.Tensor, ring_size: int):
    parameters = packing(layers, ring_size)
    owner = PackedOwner(parameters)
    network = HomomorphicNetwork(layers, weights, PackedEvaluator(parameters, owner.evaluation_keys()))
    answers = network.evaluate(owner.encrypt(features.flatten(1)))
    return finished(layers, owner.decrypt(answers, len(features), torch.Size(layers[-1].outputs).numel()))


@pytest.mark.parametrize(
    ("layers", "ring_size"),
    [
        (planned(CONVOLUTION, dense(6, "square"), dense(3, "sigmoid")), 8192),
        (planned(CONVOLUTION, CONVOLUTION, dense(3), shape=(1, 6, 7)), 8192),
        (planned(CONVOLUTION, dense(4), dense(3, "relu")), 8192),
        (planned(dense(4), dense(4, "square"), dense(2)), 8192),
        (planned(dense(1, "sigmoid")), 4096),
        (planned(Layer(kind="convolution", outputs=3, kernel=3)), 4096),
    ],
    ids=["cnn", "two convolutions", "inner without activation", "deep", "logistic", "convolution alone"],
)
def test_it_predicts_what_it_predicts_in_the_clear(layers, ring_size):
    weights = drawn(layers)
    features = images(7, layers)
    expected = stack.forward(layers, weights, features)
    assert torch.allclose(predicted(layers, weights, features, ring_size), expected, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["square", "none"]), st.floats(0.1, 3))
def test_no_sample_goes_beyond_the_reach_and_corners_come_near(seed, activation, size):
    layers = planned(Layer(kind="convolution", outputs=2, kernel=2, activation=activation), dense(3, "sigmoid"))
    weights = tuple(size * weight for weight in drawn(layers, seed))
    corners = images(200, layers, seed).round()
    raw = stack.linear(layers[1], stack.forward(layers[:1], weights, corners), *weights[2:])
    assert float(raw.abs().max()) <= reach(layers, weights)[-1] + 1e-9


def test_the_reach_of_one_layer_is_taken_on():
    layers = planned(dense(2), shape=(1, 1, 3))
    weights = (torch.tensor([[1.0, 0.5], [-2.0, 0.5], [4.0, -3.0]], dtype=torch.float64), torch.tensor([1.0, 0.0]))
    assert reach(layers, weights) == [6]  # pixels 1, 0, 1
    weights = (weights[0], torch.tensor([-9.0, 0.0]))
    assert reach(layers, weights) == [11]  # pixels 0, 1, 0


@pytest.mark.parametrize("factor", [1e6, float("nan"), float("inf")])
def test_outputs_that_an_answer_cannot_hold_are_refused(factor):
    layers = planned(dense(3, "square"), dense(2))
    parameters = packing(layers, 8192)
    evaluator = PackedEvaluator(parameters, PackedOwner(parameters).evaluation_keys())
    with pytest.raises(RangeError, match=r"do not fit: an answer holds at most 1\.67772e"):
        HomomorphicNetwork(layers, tuple(factor * weight for weight in drawn(layers)), evaluator)


def test_outputs_near_the_largest_that_an_answer_holds_are_right():
    layers = planned(dense(2), shape=(1, 1, 3))
    bound = packing(layers, 4096).bound
    weights = (torch.tensor([[bound / 4, 3.0], [bound / 2, -1.0], [bound / 8, 1.0]]), torch.zeros(2))
    features = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.5]])
    found = predicted(layers, weights, features, 4096)
    expected = features.double() @ weights[0].double()
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * bound)  # as exact as a number beside the largest is


INNER = [(("square", "square"), (2.0**45, 2.0**16)), (("square", "none"), (2.0**31, 2.0**32)), (("none",), (2.0**32,))]


@pytest.mark.parametrize(("activations", "bounds"), INNER)
def test_inner_values_near_the_largest_are_right_and_larger_ones_are_refused(activations, bounds):
    """An answer that fits says nothing of what comes before it: one weight is large, and the last undoes it."""
    layers = planned(*(dense(1, activation) for activation in activations), dense(1), shape=(1, 1, 1))
    parameters = packing(layers, 8192)
    assert parameters.inner_bounds == bounds
    last, ones = len(bounds) - 1, torch.ones(1, 1, dtype=torch.float64)
    undone = bounds[last] ** (2 if activations[last] == "square" else 1)
    matrices = [ones] * last + [bounds[last] * ones, ones / undone * 2.0**24]
    weights = tuple(part for matrix in matrices for part in (matrix, torch.zeros(1, dtype=torch.float64)))
    features = torch.tensor([[1.0], [0.25]])
    found = predicted(layers, weights, features, 8192)
    torch.testing.assert_close(found, stack.forward(layers, weights, features), rtol=1e-2, atol=0)
    larger = list(weights)
    larger[2 * last], larger[-2] = 2 * weights[2 * last], weights[-2] / 8
    with pytest.raises(RangeError, match=f"layer {last}: values of magnitude up to .* do not fit: there is room for"):
        predicted(layers, tuple(larger), features, 8192)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_what_cannot_be_computed_on_ciphertexts_is_named(activation):
    with pytest.raises(NotEvaluable, match=f"layer 1: {activation} cannot be computed on ciphertexts"):
        packing(planned(CONVOLUTION, dense(3, activation), dense(2)), 8192)
    packing(planned(CONVOLUTION, dense(3, activation)), 8192)  # the last one is applied in the clear


def test_another_number_of_features_is_refused():
    layers = planned(dense(2), shape=(1, 1, 3))
    parameters = packing(layers, 4096)
    owner = PackedOwner(parameters)
    network = HomomorphicNetwork(layers, drawn(layers), PackedEvaluator(parameters, owner.evaluation_keys()))
    with pytest.raises(BadCiphertext, match="3 rows of bytes are expected"):
        network.evaluate(owner.encrypt(torch.zeros(2, 4)))
