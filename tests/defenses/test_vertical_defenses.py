"""What an active party does about passive ones: each defense against its formula."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from fl_attack_bench.defenses.gradient_clipping import GradientClipping
from fl_attack_bench.defenses.gradient_noise import GradientNoise
from fl_attack_bench.defenses.gradient_sparsification import GradientSparsification
from fl_attack_bench.defenses.trainable_top import TrainableTop
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_attack_bench.api import Batch, Exchange, Returned, VerticalDefense
from fl_attack_bench.errors import UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exchange(rows: list[int], samples: int = 50, seed: int = 0, memory: dict[str, Tensor] | None = None) -> Exchange:
    return Exchange(Batch(0, 0, torch.tensor(rows)), samples, "all", generator(seed), {} if memory is None else memory)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [
        (TrainableTop, {"hidden": 0}),
        (TrainableTop, {"hidden": 1.5}),
        (GradientNoise, {"variance": 0.0}),
        (GradientNoise, {"variance": float("inf")}),
        (GradientNoise, {"distribution": "uniform"}),
        (GradientClipping, {"norm": 0.0}),
        (GradientClipping, {"norm": float("nan")}),
        (GradientSparsification, {"drop": -0.1}),
        (GradientSparsification, {"drop": 1.0}),
    ],
)
def test_bad_parameters_are_refused_by_name(cls: Callable[..., VerticalDefense], parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        cls(**parameters)


@pytest.mark.parametrize(
    "defense",
    [TrainableTop(), GradientNoise(), GradientClipping(), GradientSparsification()],
    ids=lambda d: d.card.title,
)
def test_what_is_handed_in_stays_as_it_is(defense: VerticalDefense) -> None:
    values, sent = 5 * drawn(4, 6), drawn(4, 6, seed=1) > 0
    before = values.masked_fill(~sent, 0), sent.clone()
    given_in = Returned(before[0].clone(), sent)
    defense.outgoing(given_in, exchange([1, 2, 3, 4]))
    assert torch.equal(given_in.values, before[0])
    assert torch.equal(sent, before[1])


# The trainable top.


def test_the_trainable_top_computes_its_formula() -> None:
    parties, width, classes, hidden = 3, 4, 5, 7
    top = TrainableTop(hidden=hidden).top(parties, width, classes, generator())
    first, first_bias, second, second_bias = (p.detach().double() for p in top.parameters())
    assert first.shape == (hidden, parties * width)
    assert second.shape == (classes, hidden)
    embeddings = drawn(parties, 6, width)
    for sample in range(6):
        joined = torch.cat([embeddings[k, sample] for k in range(parties)]).double()
        expected = second @ (first @ joined + first_bias).clamp(min=0) + second_bias
        torch.testing.assert_close(top(embeddings)[sample].double(), expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_for_each_sample_and_party_is_that_of_its_own_loss() -> None:
    top = TrainableTop(hidden=8).top(2, 4, 3, generator())
    embeddings, labels = drawn(2, 5, 4).requires_grad_(), torch.tensor([0, 2, 1, 1, 0])
    (found,) = torch.autograd.grad(nn.functional.cross_entropy(top(embeddings), labels, reduction="sum"), embeddings)
    first, first_bias, second, second_bias = (p.detach() for p in top.parameters())
    for i, label in enumerate(labels.tolist()):
        joined = embeddings.detach()[:, i].flatten()
        hidden = first @ joined + first_bias
        error = (second @ hidden.relu() + second_bias).softmax(0)
        error[label] -= 1
        expected = first.T @ ((second.T @ error) * (hidden > 0))
        torch.testing.assert_close(found[:, i].flatten(), expected, rtol=1e-4, atol=1e-6)


def test_the_trainable_top_draws_from_its_generator_only() -> None:
    before = torch.get_rng_state()
    tops = [TrainableTop().top(2, 8, 4, generator(seed)) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (nn.utils.parameters_to_vector(top.parameters()) for top in tops)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_trainable_top_starts_within_pytorchs_own_bounds() -> None:
    top = TrainableTop(hidden=64).top(2, 32, 10, generator())
    first, first_bias, second, second_bias = (p.detach() for p in top.parameters())
    for weights, fan_in in ((first, 64), (first_bias, 64), (second, 64), (second_bias, 64)):
        assert weights.abs().max() <= 1 / sqrt(fan_in)
    # A uniform variable on [-b, b] has the variance b^2 / 3.
    assert first.var().item() == pytest.approx(1 / 64 / 3, rel=0.1)


def test_the_gradients_of_a_trainable_top_are_each_partys_own() -> None:
    assert not TrainableTop().top(2, 8, 4, generator()).shared


# Noise.


@pytest.mark.parametrize(("distribution", "kurtosis"), [("gaussian", 3.0), ("laplace", 6.0)])
@pytest.mark.parametrize("variance", [1e-4, 0.05, 4.0])
def test_the_noise_has_the_stated_moments(distribution: str, kurtosis: float, variance: float) -> None:
    values = torch.full((400, 500), 3.0)
    noise = GradientNoise(distribution, variance).outgoing(Returned(values), exchange([0])).values.double() - 3.0
    n = noise.numel()
    # Five standard errors: of the mean sqrt(v / n), of the variance v sqrt((kurtosis - 1) / n).
    assert abs(noise.mean().item()) < 5 * sqrt(variance / n)
    assert noise.pow(2).mean().item() == pytest.approx(variance, rel=5 * sqrt((kurtosis - 1) / n))
    assert (noise.pow(4).mean() / noise.pow(2).mean() ** 2).item() == pytest.approx(kurtosis, rel=0.15)


@pytest.mark.parametrize("distribution", ["gaussian", "laplace"])
def test_the_noise_is_new_for_every_message_and_the_same_for_the_same_seed(distribution: str) -> None:
    zeros, first, again = Returned(torch.zeros(20, 8)), exchange([0], seed=5), exchange([0], seed=5)
    defense = GradientNoise(distribution)
    one, two = defense.outgoing(zeros, first).values, defense.outgoing(zeros, first).values
    assert not (one == two).any()
    assert torch.equal(defense.outgoing(zeros, again).values, one)


@pytest.mark.parametrize("distribution", ["gaussian", "laplace"])
def test_only_what_is_sent_gets_noise(distribution: str) -> None:
    sent = drawn(30, 8) > 0.5
    values = drawn(30, 8, seed=1).masked_fill(~sent, 0)
    found = GradientNoise(distribution).outgoing(Returned(values, sent), exchange([0]))
    assert torch.equal(found.values != values, sent)
    assert found.sent is not None
    assert torch.equal(found.sent, sent)
    assert GradientNoise(distribution).outgoing(Returned(values), exchange([0])).sent is None


# Clipping.


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.integers(-12, 12))
@settings(max_examples=50, deadline=None)
def test_clipping_scales_each_sample_by_itself(seed: int, norm: float, magnitude: int) -> None:
    values = drawn(6, 5, seed=seed) * 10.0**magnitude * torch.tensor([[0.0], [1e-3], [0.1], [1.0], [10.0], [1e3]])
    found = GradientClipping(norm).outgoing(Returned(values), exchange([0])).values
    for row, clipped in zip(values.double(), found.double(), strict=True):
        length = sum(x * x for x in row.tolist()) ** 0.5
        expected = row if length <= norm else row * (norm / length)
        torch.testing.assert_close(clipped, expected, rtol=1e-5, atol=0)


def test_clipping_leaves_short_gradients_bit_for_bit_and_keeps_the_gaps() -> None:
    values, sent = torch.tensor([[0.3, 0.0], [0.0, 0.0], [3.0, 4.0]]), torch.tensor([[True, False]] * 2 + [[True] * 2])
    found = GradientClipping(1.0).outgoing(Returned(values, sent), exchange([0]))
    assert torch.equal(found.values[:2], values[:2])
    torch.testing.assert_close(found.values[2], torch.tensor([0.6, 0.8]))
    assert found.sent is sent


# Sparsification.


def played(defense: VerticalDefense, gradients: Tensor, seed: int, batch_size: int) -> tuple[Tensor, Exchange]:
    """The sum of all that is sent of each sample over shuffled epochs, ``gradients`` being ``(epochs, N, d)``."""
    epochs, samples, width = gradients.shape
    total, memory, rng = torch.zeros(samples, width, dtype=gradients.dtype), {}, generator(seed)
    last = exchange([0], samples, memory=memory)
    for epoch in range(epochs):
        for number, rows in enumerate(torch.randperm(samples, generator=rng).split(batch_size)):
            last = Exchange(Batch(epoch, number, rows), samples, "all", rng, memory)
            returned = defense.outgoing(Returned(gradients[epoch, rows]), last)
            assert returned.sent is not None
            assert (returned.values[~returned.sent] == 0).all()
            total[rows] += returned.values
    return total, last


@given(
    st.integers(0, 2**31),
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 5),
    st.floats(0, 0.99),
)
@settings(max_examples=60, deadline=None)
def test_what_was_sent_and_what_is_held_back_is_everything(
    seed: int, samples: int, width: int, epochs: int, batch_size: int, drop: float
) -> None:
    # Whole numbers, so that sums are exact in any order.
    gradients = torch.randint(-50, 51, (epochs, samples, width), generator=generator(seed)).double()
    sent, last = played(GradientSparsification(drop), gradients, seed, batch_size)
    (residual,) = last.memory.values()
    assert torch.equal(sent + residual, gradients.sum(0))


class KeyedByPlace(VerticalDefense):
    """The wrong way: residuals for a place in the batch."""

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        places = torch.arange(len(returned.values))
        return GradientSparsification(0.75).outgoing(
            returned, Exchange(Batch(0, 0, places), exchange.samples, exchange.receiver, exchange.rng, exchange.memory)
        )


def test_residuals_by_place_in_the_batch_would_mix_samples() -> None:
    gradients = torch.zeros(3, 6, 4)
    gradients[:, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0])  # only sample 0 ever has a gradient
    right, _ = played(GradientSparsification(0.75), gradients, seed=1, batch_size=2)
    wrong, _ = played(KeyedByPlace(), gradients, seed=1, batch_size=2)
    assert (right[1:] == 0).all()
    assert (right[0] != 0).any()
    assert (wrong[1:] != 0).any()


def brute_force(values: Tensor, residual: Tensor, drop: float, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values, mask and new residual, one entry after the other."""
    total = values + residual
    places = [(i, j) for i in range(total.shape[0]) for j in range(total.shape[1]) if allowed[i, j]]
    ranked = sorted(places, key=lambda place: -abs(float(total[place])))  # stable: the first of equal ones first
    chosen = ranked[: max(1, len(places) - round(drop * len(places)))]
    sent = torch.zeros_like(total, dtype=torch.bool)
    for place in chosen:
        sent[place] = True
    return torch.where(sent, total, 0.0), sent, torch.where(sent, 0.0, total)


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6), st.floats(0, 0.99), st.booleans())
@settings(max_examples=100, deadline=None)
def test_sparsification_against_brute_force(seed: int, batch: int, width: int, drop: float, gaps: bool) -> None:
    rng = generator(seed)
    allowed = torch.rand(batch, width, generator=rng) < (0.6 if gaps else 2.0)
    memory: dict[str, Tensor] = {}
    rows = torch.randperm(20, generator=rng)[:batch].tolist()
    residual = torch.zeros(batch, width)
    for _ in range(3):
        # Few different values, so that there are ties.
        values = torch.randint(-2, 3, (batch, width), generator=rng).float().masked_fill(~allowed, 0)
        found = GradientSparsification(drop).outgoing(
            Returned(values, allowed if gaps else None), exchange(rows, 20, memory=memory)
        )
        expected, sent, residual = brute_force(values, residual, drop, allowed)
        assert torch.equal(found.values, expected)
        assert found.sent is not None
        assert torch.equal(found.sent, sent)


@pytest.mark.parametrize(
    ("drop", "expected"), [(0.0, 2048), (0.1, 1843), (0.5, 1024), (0.9, 205), (0.99, 20), (0.99999, 1)]
)
def test_the_number_of_entries_that_are_sent(drop: float, expected: int) -> None:
    for values in (drawn(64, 32), torch.ones(64, 32), torch.zeros(64, 32)):
        found = GradientSparsification(drop).outgoing(Returned(values), exchange(list(range(64)), 64))
        assert found.sent is not None
        assert int(found.sent.sum()) == expected


def test_nothing_is_sent_of_nothing() -> None:
    values = torch.zeros(2, 3)
    found = GradientSparsification(0.5).outgoing(Returned(values, values > 0), exchange([0, 1]))
    assert found.sent is not None
    assert not found.sent.any()


def test_receivers_have_residuals_of_their_own() -> None:
    defense, one, other = GradientSparsification(0.5), exchange([0]), exchange([0])
    defense.outgoing(Returned(torch.tensor([[9.0, 5.0]])), one)
    found = defense.outgoing(Returned(torch.tensor([[2.0, 1.0]])), other)
    assert torch.equal(found.values, torch.tensor([[2.0, 0.0]]))
