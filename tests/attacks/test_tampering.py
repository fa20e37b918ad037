"""Tampering with Shamir's sharing as the defense plays it: what each check makes of the attacks, round by round."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_attack_bench import aggregation, models, registry
from fl_attack_bench.api import (
    SERVER,
    ActiveAttack,
    ClientState,
    Collector,
    Contribution,
    HorizontalDefense,
    Layout,
    Party,
    Round,
    RoundFailed,
    Update,
)
from fl_attack_bench.data import datasets
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.method import build
from fl_attack_bench.scenarios.horizontal import Adversary, Samples, Trained, train
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Iid, Model, Training
from fl_attack_bench.wire import Wire, client

LAYOUT = Layout(("weight", "bias"), ((3, 4), (3,)))
MEMBERS = tuple(client(number) for number in range(10))
GIVEN = torch.randn(10, LAYOUT.size, generator=torch.Generator().manual_seed(4))


def attack(name: str, **parameters: Any) -> ActiveAttack:
    made = build(registry.find("attack", name).cls, parameters)
    assert isinstance(made, ActiveAttack)
    return made


def sharing(check: str, **parameters: Any) -> HorizontalDefense:
    made = build(registry.find("defense", "shamir_sharing").cls, {"check": check, **parameters})
    assert isinstance(made, HorizontalDefense)
    return made


def played(one: ActiveAttack, defense: HorizontalDefense, seed: int = 0) -> Collector:
    """The server after a round among ten clients, of whom the attack controls its own."""
    round = Round("test", 0, MEMBERS, LAYOUT)
    parties: dict[str, Party] = {}
    for place, name in enumerate(MEMBERS):
        state = ClientState(name, 0, 1, torch.Generator().manual_seed(place))
        parties[name] = defense.member(Contribution(Update(GIVEN[place], LAYOUT), torch.zeros(0), 1), state, round)
    own = {name: parties[name] for name in MEMBERS[: one.clients]}
    parties |= one.corrupt(own, round, defense.parameters, torch.Generator().manual_seed(seed))
    collector = defense.collector(round, {})
    aggregation.play(defense.steps, {**parties, SERVER: collector}, Wire(), 0)
    return collector


def is_honest(mean: Tensor, shift: float = 0.0) -> bool:
    return torch.allclose(mean, GIVEN.mean(0) + shift, atol=1e-5)


def blamed(collector: Collector) -> list[int]:
    return [int(incident.split(":")[0].removeprefix("client/")) for incident in collector.incidents]


@pytest.mark.parametrize("field", ["2^31-1", "2^61-1"])
@pytest.mark.parametrize(
    ("check", "clients"), [("code", 1), ("code", 2), ("tags", 1), ("tags", 2), ("tags", 3), ("tags", 4)]
)
def test_random_sums_within_the_bound_are_corrected(check: str, clients: int, field: str) -> None:
    collector = played(attack("share_tampering", clients=clients), sharing(check, field=field))
    assert is_honest(collector.mean().update.flat)
    assert blamed(collector) == list(range(clients))


@pytest.mark.parametrize(("check", "clients"), [("code", 3), ("code", 4), ("tags", 5)])
def test_random_sums_beyond_the_bound_fail_the_round(check: str, clients: int) -> None:
    collector = played(attack("share_tampering", clients=clients), sharing(check))
    with pytest.raises(RoundFailed, match="sums of shares were altered"):
        collector.mean()


@pytest.mark.parametrize("check", ["code", "tags"])
def test_a_client_that_deals_random_shares_too_fails_the_round(check: str) -> None:
    collector = played(attack("share_tampering", clients=1, peers=True), sharing(check))
    with pytest.raises(RoundFailed, match="sums of shares were altered"):
        collector.mean()


def test_one_random_sum_spoils_the_plain_reconstruction() -> None:
    collector = played(attack("share_tampering", clients=1), sharing("none"))
    assert (collector.mean().update.flat - GIVEN.mean(0)).abs().max() > 1e3
    assert not collector.incidents


@pytest.mark.parametrize("field", ["2^31-1", "2^61-1"])
@pytest.mark.parametrize(("clients", "shift"), [(3, 1.0), (3, -0.25), (4, 1.0), (5, 1.0)])
def test_clients_who_agree_fool_the_code_and_up_to_n_minus_k_do_not_fool_the_tags(
    clients: int, shift: float, field: str
) -> None:
    one = attack("coordinated_tampering", clients=clients, shift=shift)
    fooled = played(one, sharing("code", field=field))
    assert is_honest(fooled.mean().update.flat, shift)
    assert not set(blamed(fooled)) & set(range(clients))
    found = played(one, sharing("tags", field=field))
    if clients <= 4:
        assert is_honest(found.mean().update.flat)
        assert blamed(found) == list(range(clients))
    else:
        with pytest.raises(RoundFailed, match="5 contradict"):
            found.mean()


def test_two_who_agree_fool_neither_but_the_plain_reconstruction() -> None:
    one = attack("coordinated_tampering", clients=2)
    for check in ("code", "tags"):
        collector = played(one, sharing(check))
        assert is_honest(collector.mean().update.flat)
        assert blamed(collector) == [0, 1]
    assert is_honest(played(one, sharing("none")).mean().update.flat, 1.0)


@pytest.mark.parametrize("check", ["none", "code", "tags"])
@pytest.mark.parametrize("after", range(5))
def test_n_minus_k_dropouts_are_done_without(check: str, after: int) -> None:
    """A client speaks when it joins, deals, tells whose shares it holds, sends their sum and answers the challenge."""
    collector = played(attack("dropout", clients=4, after=after), sharing(check))
    mean = GIVEN[4:].mean(0) if after < 2 else GIVEN.mean(0)
    assert torch.allclose(collector.mean().update.flat, mean, atol=1e-5)


@pytest.mark.parametrize("check", ["none", "code", "tags"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_one_dropout_more_fails_the_round(check: str, after: int) -> None:
    with pytest.raises(RoundFailed, match=r"of 10 clients (joined|sent a sum of shares); 6 must"):
        played(attack("dropout", clients=5, after=after), sharing(check)).mean()


def federation(one: ActiveAttack | None, defense: HorizontalDefense) -> Trained:
    """Ten clients learn linear regression in five rounds."""
    data = datasets.load("diabetes", Path())
    training = Training(
        algorithm="fedsgd", partition=Iid(kind="iid", devices=10), rounds=5, sampled=10, learning_rate=0.25
    )
    whole = Samples(data.x_train, data.y_train)
    network = models.build(Model(name="linear_regression"), data.image_shape, 1, torch.Generator().manual_seed(1))
    return train(
        training,
        FlatModel(network, torch.device("cpu")),
        [whole.pick(rows) for rows in torch.arange(350).view(10, 35)],
        Samples(data.x_test, data.y_test),
        defense,
        Streams(7),
        adversary=Adversary(one, one.clients, Streams(0)) if one else None,
    )


def test_a_federation_under_attack_ends_where_an_honest_one_does_or_says_why_not() -> None:
    code, tags = sharing("code"), sharing("tags")
    honest = federation(None, code)
    two = federation(attack("share_tampering", clients=2), code)
    assert torch.equal(two.weights, honest.weights)
    assert len(two.incidents) == 10
    three = federation(attack("share_tampering", clients=3), code)
    assert len(three.failures) == 5
    assert three.failures[0].startswith("round 0: sums of shares were altered")
    assert torch.equal(three.weights, three.first[0].weights)
    agreed = attack("coordinated_tampering", clients=3)
    assert torch.equal(federation(agreed, tags).weights, honest.weights)
    fooled = federation(agreed, code)
    assert not fooled.failures
    assert fooled.losses[-1][1] > 1.5 * honest.losses[-1][1]
