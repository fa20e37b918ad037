import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.inversion import sorted_values
from fl_attack_bench.models import stack
from fl_attack_bench.tasks.outsourced import Layer


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_simulated_values_are_the_networks():
    layers = stack.plan(
        [
            Layer(kind="convolution", outputs=2, kernel=2, activation="relu"),
            Layer(kind="dense", outputs=3, activation="sigmoid"),
        ],
        (1, 4, 4),
    )
    weights = stack.initial(layers, torch.Generator().manual_seed(0))
    images = numbers(5, 1, 4, 4)
    first, last = sorted_values.simulated(layers, weights, images)
    assert first.shape == (5, 18)
    torch.testing.assert_close(last.sigmoid(), stack.forward(layers, weights, images))
    disturbed = sorted_values.noisy(layers, [first, last], 0.1, torch.Generator().manual_seed(0))
    assert 0.3 < float((disturbed[0] - first).std()) < 0.5  # 0.1 for each of 4 terms


@given(st.permutations(range(12)))
def test_the_order_of_values_changes_nothing(order: list[int]):
    known, seen = numbers(4, 12), numbers(2, 12, seed=1)
    one = sorted_values.signatures([known], [seen])
    other = sorted_values.signatures([known], [seen[:, order]])
    assert torch.equal(one[1], other[1])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.data())
def test_what_is_known_is_taken_out_of_a_multiset(values: list[int], data: st.DataObject):
    taken = data.draw(st.lists(st.sampled_from(range(len(values))), unique=True))
    whole = torch.tensor(values, dtype=torch.float64)
    left = sorted([values[place] for place in range(len(values)) if place not in taken])
    assert sorted_values.without(whole, whole[taken]).tolist() == left


def test_a_known_value_that_is_not_exact_takes_the_nearest():
    assert sorted_values.without(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2.1])).tolist() == [1.0, 3.0]


def test_ranks_put_values_where_they_were():
    expected = torch.tensor([5.0, 1.0, 3.0])
    shuffled = torch.tensor([[3.2, 5.1, 0.9], [0.0, 4.0, 2.0]])
    assert torch.equal(sorted_values.by_rank(expected, shuffled), torch.tensor([[5.1, 0.9, 3.2], [4.0, 0.0, 2.0]]))
    two = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])  # a batch of two samples
    assert torch.equal(sorted_values.by_rank(expected, two), torch.tensor([[5.5, 1.5, 3.5]]))


def test_regression_finds_a_linear_map_and_else_the_mean():
    known, weights = numbers(40, 5), numbers(5, 2, seed=1)
    found, error = sorted_values.regressed(known, known @ weights, numbers(3, 5, seed=2))
    torch.testing.assert_close(found, numbers(3, 5, seed=2) @ weights, atol=1e-4, rtol=0)
    assert error < 1e-6
    targets = numbers(40, 2, seed=3)
    found, _ = sorted_values.regressed(torch.ones(40, 5), targets, torch.ones(3, 5))
    torch.testing.assert_close(found, targets.mean(0).expand(3, 2))
