"""The passive parties' networks: the written-out gradient against automatic differentiation."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.models.bottom import BottomNetwork
from fl_attack_bench.tasks.vertical import Bottom


def network(bottom: Bottom, features: int = 7, seed: int = 0) -> BottomNetwork:
    return BottomNetwork(bottom, features, torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([None, 1, 6]),
    st.integers(1, 5),
    st.sampled_from(["relu", "none"]),
    st.integers(1, 9),
    st.integers(0, 1000),
)
def test_a_step_is_that_of_automatic_differentiation(hidden, outputs, activation, samples, seed):
    ours = network(Bottom(hidden=hidden, outputs=outputs, activation=activation), seed=seed).double()
    theirs = copy.deepcopy(ours)
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, 7, generator=draw, dtype=torch.float64)
    gradient = torch.randn(samples, outputs, generator=draw, dtype=torch.float64)
    theirs(features).backward(gradient)
    with torch.no_grad():
        passed = ours.passed(features)
    ours.step(passed, gradient, 0.3)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        expected = other.detach() - 0.3 * (0 if other.grad is None else other.grad)
        assert torch.allclose(mine, expected, atol=1e-12)


def test_the_forward_pass_is_dense_layers_with_relu():
    net = network(Bottom(hidden=6, outputs=3))
    features = torch.rand(4, 7)
    first, second = net.layers
    expected = (features @ first.weight.T + first.bias).clamp_min(0) @ second.weight.T + second.bias
    assert torch.allclose(net(features), expected, atol=1e-6)
    assert bool((network(Bottom(hidden=None, outputs=9, activation="relu"))(features) >= 0).all())


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    one, same, other = (network(Bottom(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize(("hidden", "size"), [(None, 7 * 32 + 32), (32, 7 * 32 + 32 + 32 * 32 + 32)])
def test_its_size(hidden, size):
    assert sum(p.numel() for p in network(Bottom(hidden=hidden)).parameters()) == size
