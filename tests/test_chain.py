"""Chains: what several defenses send together, what is read out of it, and what may not be chained."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fl_attack_bench import registry
from fl_attack_bench.api import (
    Card,
    ClientState,
    Exposure,
    HorizontalDefense,
    Layout,
    LocalPlan,
    LocalStep,
    Observation,
    Payload,
    Sparse,
    Update,
)
from fl_attack_bench.chain import Chain
from fl_attack_bench.codec import decode, encode
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import build

LAYOUT = Layout(("first.weight", "first.bias"), ((40, 30), (40,)))
PLAN = LocalPlan(1, 1, 1, 0.1)


def make(name: str, **parameters: object) -> HorizontalDefense:
    found = build(registry.find("defense", name).cls, parameters)
    assert isinstance(found, HorizontalDefense)
    return found


def update(seed: int = 0) -> Update:
    return Update(torch.randn(LAYOUT.size, generator=torch.Generator().manual_seed(seed)), LAYOUT)


def client(memory: dict[str, Tensor] | None = None) -> ClientState:
    rng = torch.Generator().manual_seed(7)
    return ClientState("client/0", 0, 10, rng, memory if memory is not None else {})


@dataclass(frozen=True)
class Marked(HorizontalDefense):
    """Adds a number to each local gradient and to what is read."""

    card = Card(title="Marked", paper="https://example.org", threat="none")
    add: float = 1.0

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        return Update(gradient.flat * 2 + self.add, gradient.layout)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        return Observation(observation.values, observation.sent, observation.noise * 2 + self.add)


@dataclass(frozen=True)
class Shared(HorizontalDefense):
    """Aggregates in a way of its own."""

    card = Card(title="Shared", paper="https://example.org", threat="none")

    def aggregate(self, payloads: Sequence[Payload], weights: Sequence[float], layout: Layout) -> Update:
        return super().aggregate(payloads, weights, layout)


def test_the_second_link_sends_what_the_first_lets_be_read() -> None:
    noise, sparse = make("gaussian_noise", scale=0.1), make("gradient_compression", prune=0.9)
    sent = Chain((noise, sparse)).upload(update(), client()).parts["update"]
    noised = noise.read(noise.upload(update(), client()), LAYOUT).values
    wanted = sparse.upload(Update(noised, LAYOUT), client()).parts["update"]
    assert isinstance(sent, Sparse)
    assert isinstance(wanted, Sparse)
    assert torch.equal(sent.indices, wanted.indices)
    assert torch.equal(sent.values, wanted.values)


def test_a_chain_costs_what_its_last_link_sends() -> None:
    noise, sparse = make("gaussian_noise", scale=0.1), make("gradient_compression", prune=0.9)
    one, other = (len(encode(Chain(links).upload(update(), client()))) for links in ((noise, sparse), (sparse, noise)))
    assert one < 0.2 * other
    assert other == len(encode(make("none").upload(update(), client())))


def test_each_link_keeps_its_own_memory() -> None:
    first, second = (make("gradient_compression", prune=prune, residual=True) for prune in (0.5, 0.9))
    chain, memory = Chain((first, second)), dict[str, Tensor]()
    alone: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for seed in range(3):
        sent = chain.upload(update(seed), client(memory))
        between = first.read(first.upload(update(seed), client(alone[0])), LAYOUT).values
        wanted = second.upload(Update(between, LAYOUT), client(alone[1]))
        assert encode(sent) == encode(wanted)
    assert sorted(memory) == ["0.residual", "1.residual"]


def test_local_gradients_go_forward_and_what_is_known_goes_backward() -> None:
    chain = Chain((Marked(add=1.0), Marked(add=5.0)))
    zero = Update(torch.zeros(LAYOUT.size), LAYOUT)
    step = LocalStep(torch.nn.Identity(), torch.zeros(1), torch.zeros(1), torch.Generator())
    assert chain.local_gradient(zero, step).flat.unique().tolist() == [7.0]
    seen = chain.interpret(Observation.exact(zero.flat), LAYOUT, PLAN)
    assert seen.noise.unique().tolist() == [11.0]


def test_what_was_not_sent_stays_unknown_and_noise_adds_up() -> None:
    chain = Chain((make("gaussian_noise", scale=0.3), make("laplace_noise", scale=0.4), make("gradient_compression")))
    payload = decode(encode(chain.upload(update(), client())))
    seen = chain.interpret(chain.read(payload, LAYOUT), LAYOUT, PLAN)
    assert torch.equal(seen.noise.isinf(), ~seen.sent)
    assert torch.allclose(seen.noise[seen.sent], torch.tensor((0.3**2 + 2 * 0.4**2) ** 0.5))


def test_the_server_s_guarantee_survives_post_processing_and_holds_for_the_models() -> None:
    exposure = Exposure(clients=100, sampled=100, rounds=1, participations=1, equal_weights=True)
    noise, bare = make("gaussian_noise", scale=1.0, clip=1.0), make("gaussian_noise", scale=1.0)
    alone = noise.guarantee(exposure)
    assert alone is not None
    for links in ((noise, make("gradient_compression")), (make("gradient_compression"), noise), (noise, bare)):
        found = Chain(links).guarantee(exposure)
        assert found is not None
        assert found.epsilon_server == found.epsilon_model == alone.epsilon_server
    assert alone.epsilon_model is not None
    assert alone.epsilon_server is not None
    assert alone.epsilon_model < alone.epsilon_server
    assert Chain((make("none"), make("gradient_compression"))).guarantee(exposure) is None
    unbounded = Chain((bare, make("none"))).guarantee(exposure)
    assert unbounded is not None
    assert unbounded.epsilon_server is None


@dataclass(frozen=True)
class Zeroing(HorizontalDefense):
    """Zeroes the first entry of each local gradient, and says so where it still can be seen."""

    card = Card(title="Zeroing", paper="https://example.org", threat="none")

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        return Update(gradient.flat.index_fill(0, torch.tensor([0]), 0.0), gradient.layout)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        exact = not bool(observation.noise.any())
        lost = torch.zeros_like(observation.sent).index_fill(0, torch.tensor([0]), True)
        lost = lost if exact else torch.ones_like(lost)
        return Observation(observation.values, observation.sent, observation.noise.masked_fill(lost, torch.inf))


def test_what_acts_on_local_gradients_is_asked_about_all_noise_wherever_it_stands() -> None:
    noise = make("gaussian_noise", scale=0.1)
    seen = [
        Chain(links).interpret(Observation.exact(update().flat), LAYOUT, PLAN).noise
        for links in ((noise, Zeroing()), (Zeroing(), noise))
    ]
    assert torch.equal(*seen)
    assert bool(seen[0].isinf().all())


def test_noise_over_a_sparse_update_hides_what_was_dropped() -> None:
    sparse, noise = make("gradient_compression", prune=0.9), make("gaussian_noise", scale=1e-9)
    chain = Chain((sparse, noise))
    seen = chain.interpret(chain.read(chain.upload(update(), client()), LAYOUT), LAYOUT, PLAN)
    part = sparse.upload(update(), client()).parts["update"]
    assert isinstance(part, Sparse)
    assert seen.noise.isfinite().nonzero().flatten().tolist() == part.indices.tolist()


def test_remains_of_earlier_rounds_make_an_upload_unknown() -> None:
    for residual in (False, True):
        sparse = make("gradient_compression", prune=0.5, residual=residual)
        seen = sparse.read(sparse.upload(update(), client()), LAYOUT)
        first, later = (
            sparse.interpret(seen, LAYOUT, LocalPlan(1, 1, 1, 0.1, earlier=earlier)).noise for earlier in (0, 1)
        )
        assert torch.equal(first, seen.noise)
        assert bool(later.isinf().all()) == residual


def test_who_aggregates_alone_stands_last() -> None:
    assert Chain((make("none"), Shared())).links[-1] == Shared()
    with pytest.raises(UserError, match="Shared aggregates in a way of its own"):
        Chain((Shared(), make("none")))


def test_parameters_are_told_by_place() -> None:
    chain = Chain((make("gaussian_noise", scale=0.1), make("gaussian_noise", scale=0.2)))
    assert [values["scale"] for values in chain.parameters.values()] == [0.1, 0.2]
