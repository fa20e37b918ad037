"""Chains of vertical defenses: who acts first, whose memory is whose, and what may not be chained."""

from dataclasses import dataclass

import pytest
import torch
from fl_attack_bench.defenses.gradient_clipping import GradientClipping
from fl_attack_bench.defenses.gradient_noise import GradientNoise
from fl_attack_bench.defenses.gradient_sparsification import GradientSparsification
from fl_attack_bench.defenses.none import NoDefense
from fl_attack_bench.defenses.trainable_top import TrainableTop
from torch import Tensor

from fl_attack_bench.api import Batch, Exchange, Returned, VerticalDefense
from fl_attack_bench.chain import VerticalChain
from fl_attack_bench.errors import UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exchange(*rows: int, memory: dict[str, Tensor] | None = None) -> Exchange:
    batch = Batch(0, 0, torch.tensor(rows or (0,)))
    return Exchange(batch, 50, "all", generator(), {} if memory is None else memory)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


@dataclass(frozen=True)
class Writer(VerticalDefense):
    """Adds its number to embeddings, multiplies gradients by it, and counts its turns under one key."""

    number: float = 1.0

    def incoming(self, embeddings: Tensor, exchange: Exchange) -> Tensor:
        self._count(exchange)
        return 10 * embeddings + self.number

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        self._count(exchange)
        return Returned(10 * returned.values + self.number, returned.sent)

    def _count(self, exchange: Exchange) -> None:
        assert set(exchange.memory) <= {"turns"}
        kept = exchange.memory.get("turns", torch.zeros(1))
        exchange.memory["turns"] = kept + self.number


@dataclass(frozen=True)
class Forgetful(VerticalDefense):
    """Keeps something every other time only."""

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        found = exchange.memory.pop("kept", None)
        if found is None:
            exchange.memory["kept"] = torch.zeros(1)
        return Returned(torch.full_like(returned.values, 0.0 if found is None else 1.0))


def test_the_links_act_in_their_order() -> None:
    chain = VerticalChain(links=(Writer(1.0), Writer(2.0), Writer(3.0)))
    assert chain.incoming(torch.zeros(1, 1), exchange()).item() == 123
    assert chain.outgoing(Returned(torch.zeros(1, 1)), exchange()).values.item() == 123


def test_links_of_one_kind_keep_apart_what_they_remember() -> None:
    # Twelve links, so that place 1 is also the beginning of places 10 and 11.
    numbers = [float(n) for n in range(1, 13)]
    chain, memory = VerticalChain(links=tuple(map(Writer, numbers))), {"other": torch.ones(1)}
    for _ in range(3):
        chain.outgoing(Returned(torch.zeros(1, 1)), exchange(memory=memory))
    assert memory.pop("other").item() == 1
    assert sorted(kept.item() for kept in memory.values()) == [3 * number for number in numbers]


def test_what_a_link_forgets_is_forgotten() -> None:
    chain, memory = VerticalChain(links=(NoDefense(), Forgetful())), {}
    found = [chain.outgoing(Returned(torch.zeros(1, 1)), exchange(memory=memory)).values.item() for _ in range(4)]
    assert found == [0, 1, 0, 1]


def test_the_top_model_is_that_of_the_link_that_brings_one() -> None:
    chain = VerticalChain(links=(GradientNoise(), TrainableTop(hidden=5), GradientClipping()))
    found, expected = (method.top(2, 8, 4, generator()) for method in (chain, TrainableTop(hidden=5)))
    assert found is not None
    assert expected is not None
    embeddings = drawn(2, 3, 8)
    assert torch.equal(found(embeddings), expected(embeddings))
    assert VerticalChain(links=(GradientNoise(), GradientClipping())).top(2, 8, 4, generator()) is None


def test_two_top_models_are_refused() -> None:
    with pytest.raises(UserError, match="TrainableTop and TrainableTop both bring a top model"):
        VerticalChain(links=(TrainableTop(), NoDefense(), TrainableTop(hidden=8)))


def test_parameters_are_named_by_place() -> None:
    chain = VerticalChain(links=(GradientClipping(2.0), GradientSparsification(0.5)))
    assert chain.parameters == {"1. GradientClipping": {"norm": 2.0}, "2. GradientSparsification": {"drop": 0.5}}


def test_noise_before_sparsification_covers_everything_and_after_it_what_is_sent() -> None:
    noise, sparse = GradientNoise(variance=1e-4), GradientSparsification(0.75)
    values = drawn(4, 8, seed=3)
    before = VerticalChain(links=(noise, sparse)).outgoing(Returned(values), exchange(1, 2, 3, 4))
    after = VerticalChain(links=(sparse, noise)).outgoing(Returned(values), exchange(1, 2, 3, 4))
    for found in (before, after):
        assert found.sent is not None
        assert int(found.sent.sum()) == 8
        assert torch.equal(found.values != 0, found.sent)
        assert not (found.values == values).any()
    alone = sparse.outgoing(Returned(values), exchange(1, 2, 3, 4))
    assert after.sent is not None
    assert alone.sent is not None
    assert torch.equal(after.sent, alone.sent)


def test_clipping_before_noise_bounds_the_signal_and_after_it_all_that_is_sent() -> None:
    clip, noise, values = GradientClipping(1.0), GradientNoise(variance=1.0), 100 * drawn(6, 8)
    last = VerticalChain(links=(noise, clip)).outgoing(Returned(values), exchange())
    torch.testing.assert_close(last.values.norm(dim=1), torch.ones(6))
    first = VerticalChain(links=(clip, noise)).outgoing(Returned(values), exchange())
    expected = noise.outgoing(clip.outgoing(Returned(values), exchange()), exchange())
    assert torch.equal(first.values, expected.values)


def test_two_sparsifications_send_a_share_of_a_share_and_lose_nothing() -> None:
    chain, memory = VerticalChain(links=(GradientSparsification(0.5), GradientSparsification(0.75))), {}
    total, sent_ever = torch.zeros(50, 8), torch.zeros(50, 8)
    for seed in range(6):
        rows = torch.randperm(50, generator=generator(seed))[:10].tolist()
        values = torch.randint(-9, 10, (10, 8), generator=generator(100 + seed)).float()
        found = chain.outgoing(Returned(values), exchange(*rows, memory=memory))
        assert found.sent is not None
        assert int(found.sent.sum()) == 10
        total[rows] += values
        sent_ever[rows] += found.values
    assert len(memory) == 2
    assert torch.equal(sent_ever + sum(memory.values()), total)
