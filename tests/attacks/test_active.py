"""What every active attack must keep, played in a small federation of the diabetes data; and what each of them does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from annotated_types import Ge
from torch import Tensor

from fl_attack_bench import aggregation, models, registry
from fl_attack_bench.api import (
    SERVER,
    UPDATE,
    ActiveAttack,
    Card,
    ClientState,
    Collector,
    Contribution,
    Dense,
    HorizontalDefense,
    Layout,
    Mean,
    Party,
    Payload,
    Round,
    RoundFailed,
    Said,
    SkipCell,
    Sparse,
    Update,
)
from fl_attack_bench.crypto.decoding import wrong_holders
from fl_attack_bench.crypto.field import MERSENNE_61, Decimals, Elements
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir
from fl_attack_bench.data import datasets
from fl_attack_bench.errors import UserError
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.method import build
from fl_attack_bench.scenarios.horizontal import Adversary, Samples, Trained, train
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Iid, Model, Training
from fl_attack_bench.wire import Wire, client

ATTACKS = [name for name in registry.names("attack") if issubclass(registry.find("attack", name).cls, ActiveAttack)]
LAYOUT = Layout(("weight", "bias"), ((3, 4), (3,)))
MEMBERS = tuple(client(number) for number in range(10))


@dataclass(frozen=True)
class Sharing(HorizontalDefense):
    """A stand-in for Shamir's sharing: a dealer whom all trust, and holders who tell the server their shares."""

    card = Card(title="Stand-in", paper="https://example.org", threat="none")
    threshold: Annotated[int, Ge(2)] = 6
    decimals: int = 6
    field: str = "2^61-1"
    corrects: bool = True

    @property
    def steps(self) -> tuple[str, ...]:
        return ("deal", UPDATE)

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        return Holder(self, contribution, round, client.rng)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        del memory
        return Reconstructing(self, round)


class Holder(Party):
    def __init__(
        self, defense: Sharing, contribution: Contribution, round: Round, rng: torch.Generator | None = None
    ) -> None:
        self.defense, self.contribution, self.round = defense, contribution, round
        self.secrets = Secrets.from_generator(rng or torch.Generator())
        self.heard: list[Elements] = []

    def say(self, step: str) -> Said:
        members = self.round.members
        if step == "deal":
            encoded = Decimals(MERSENNE_61, self.defense.decimals).encode(
                self.contribution.update.flat.double() / len(members), len(members)
            )
            shares = Shamir(self.defense.threshold, len(members)).share(encoded, self.secrets)
            for name, share in zip(members, shares, strict=True):
                yield name, Payload({"share": Dense(torch.from_numpy(share.astype(np.int64)))})
        elif step == UPDATE:
            total = np.sum(np.stack(self.heard).astype(object), axis=0) % MERSENNE_61.prime
            yield SERVER, Payload({"shares": Dense(torch.from_numpy(total.astype(np.int64)))})

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self.heard.append(aggregation.dense(payload, "share").numpy().astype(np.uint64))


class Reconstructing(Collector):
    def __init__(self, defense: Sharing, round: Round) -> None:
        super().__init__()
        self.defense, self.round = defense, round
        self.shares: dict[int, Elements] = {}

    def say(self, step: str) -> Said:
        return ()

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self.shares[self.round.members.index(sender)] = aggregation.dense(payload, "shares").numpy().astype(np.uint64)

    def mean(self) -> Mean:
        shamir, shares = Shamir(self.defense.threshold, len(self.round.members)), self.shares
        try:
            if self.defense.corrects:
                wrong = wrong_holders(shamir, np.stack(list(shares.values())), list(shares), Secrets.fresh())
                self.incidents += [f"{self.round.members[place]}: wrong" for place in sorted(wrong)]
                shares = {place: share for place, share in shares.items() if place not in wrong}
            secret = shamir.reconstruct(np.stack(list(shares.values())), list(shares))
        except Exception as error:
            raise RoundFailed(str(error)) from error
        return Mean(Update(Decimals(MERSENNE_61, self.defense.decimals).decode(secret), LAYOUT), torch.zeros(0))


def attack(name: str, **parameters: object) -> ActiveAttack:
    made = build(registry.find("attack", name).cls, parameters)
    assert isinstance(made, ActiveAttack)
    return made


def defense_of(name: str) -> HorizontalDefense:
    made = build(registry.find("defense", name).cls, {})
    assert isinstance(made, HorizontalDefense)
    return made


@cache
def federation(one: ActiveAttack | None, defense: str = "none", seed: int = 0, first: int = 0) -> Trained:
    """Ten clients, without the first few, learn linear regression in forty rounds; a third of a second."""
    data = datasets.load("diabetes", Path())
    training = Training(
        algorithm="fedsgd",
        partition=Iid(kind="iid", devices=10 - first),
        rounds=40,
        sampled=10 - first,
        learning_rate=0.25,
    )
    whole = Samples(data.x_train, data.y_train)
    hands = [whole.pick(rows) for rows in torch.arange(350).view(10, 35)[first:]]
    network = models.build(Model(name="linear_regression"), data.image_shape, 1, torch.Generator().manual_seed(1))
    adversary = Adversary(one, one.clients, Streams(seed)) if one else None
    flat = FlatModel(network, torch.device("cpu"))
    test = Samples(data.x_test, data.y_test)
    return train(training, flat, hands, test, defense_of(defense), Streams(7), adversary=adversary)


def contributions(count: int = 10) -> list[Contribution]:
    rng = torch.Generator().manual_seed(4)
    return [Contribution(Update(torch.randn(15, generator=rng), LAYOUT), torch.zeros(0), 1) for _ in range(count)]


def played(one: ActiveAttack, defense: HorizontalDefense, seed: int = 0) -> tuple[Tensor | None, Collector, Wire]:
    """One round among ten clients, of whom the attack controls its own: the mean, if there is one."""
    round = Round("test", 0, MEMBERS, LAYOUT)
    parties: dict[str, Party] = {}
    for name, contribution in zip(MEMBERS, contributions(), strict=True):
        parties[name] = defense.member(
            contribution, ClientState(name, 0, 1, torch.Generator().manual_seed(len(parties))), round
        )
    own = {name: parties[name] for name in MEMBERS[: one.clients]}
    parties |= one.corrupt(own, round, defense.parameters, torch.Generator().manual_seed(seed))
    collector, wire = defense.collector(round, {}), Wire(watched={SERVER, *MEMBERS})
    aggregation.play(defense.steps, {**parties, SERVER: collector}, wire, 0)
    try:
        return collector.mean().update.flat, collector, wire
    except RoundFailed as failure:
        collector.incidents.append(str(failure))
        return None, collector, wire


def honest_mean() -> Tensor:
    return torch.stack([one.update.flat for one in contributions()]).mean(0)


def works_against_none(name: str) -> bool:
    try:
        federation(attack(name))
    except SkipCell as reason:
        assert "Shamir" in str(reason)  # noqa: PT017 - the other outcome is that it works
        return False
    return True


def test_there_are_active_attacks_and_only_shares_ask_for_more_than_no_defense() -> None:
    assert len(ATTACKS) >= 4
    assert [name for name in ATTACKS if not works_against_none(name)] == ["coordinated_tampering"]


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "coordinated_tampering"])
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    first, again, other = (federation.__wrapped__(attack(name, clients=2), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.weights, again.weights)
    draws = name == "share_tampering"
    assert torch.equal(first.weights, other.weights) is not draws


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("update_poisoning", {"clients": 2, "factor": -3.0}),
        ("update_poisoning", {"clients": 2, "mode": "random"}),
        ("share_tampering", {"clients": 3}),
    ],
)
@pytest.mark.parametrize("defense", ["none", "gradient_compression"])
def test_an_undefended_federation_suffers(name: str, parameters: dict[str, Any], defense: str) -> None:
    clean, harmed = federation(None, defense), federation(attack(name, **parameters), defense)
    assert harmed.losses[-1][1] > 1.05 * clean.losses[-1][1]
    assert not harmed.failures


def test_an_undefended_federation_survives_dropouts_but_not_everybody_s() -> None:
    clean, four = federation(None), federation(attack("dropout", clients=4))
    assert not four.failures
    assert four.losses[-1][1] < 1.1 * clean.losses[-1][1]
    without = federation(None, first=4)
    assert torch.allclose(four.weights, without.weights, atol=1e-6)
    assert not torch.allclose(four.weights, clean.weights, atol=1e-3)
    everybody = federation(attack("dropout", clients=10))
    assert len(everybody.failures) == 40
    assert "none of 10 clients sent an update" in everybody.failures[0]
    assert torch.equal(everybody.weights, everybody.first[0].weights)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_other_clients_words_and_parties_are_left_alone(name: str) -> None:
    defense = Sharing() if name == "coordinated_tampering" else defense_of("none")
    honest = attack("dropout", clients=3, after=9)
    words = []
    for one in (attack(name, clients=3), honest):
        _, _, wire = played(one, defense)
        words.append([(m.sender, m.receiver, m.data) for m in wire.view() if m.sender in MEMBERS[3:]])
    assert words[0] == words[1] != []


@pytest.mark.parametrize("name", ATTACKS)
def test_only_the_parties_that_it_was_given_come_back(name: str) -> None:
    round = Round("t", 0, MEMBERS, LAYOUT)
    own = {party: Holder(Sharing(), contributions()[0], round) for party in MEMBERS[1:4]}
    given = dict(own)
    back = attack(name, clients=3).corrupt(own, round, Sharing().parameters, torch.Generator())
    assert back.keys() == own.keys()
    assert own == given


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("clients", [0, -1, 1025, 1.5, "2"])
def test_the_number_of_clients_is_checked(name: str, clients: object) -> None:
    with pytest.raises(UserError, match=f"clients={clients!r}"):
        attack(name, clients=clients)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("update_poisoning", {"mode": "zero"}),
        ("update_poisoning", {"factor": float("nan")}),
        ("update_poisoning", {"deviation": 0.0}),
        ("dropout", {"after": -1}),
        ("share_tampering", {"peers": 1}),
        ("coordinated_tampering", {"shift": float("inf")}),
    ],
)
def test_parameters_are_checked(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        attack(name, **parameters)


def test_poisoning_scales_or_replaces_the_update_and_nothing_else() -> None:
    honest = replace(contributions()[0], statistics=torch.ones(2), samples=5)
    scaled = attack("update_poisoning", factor=-3.0).poison(honest, torch.Generator())
    assert torch.equal(scaled.update.flat, -3 * honest.update.flat)
    wide = replace(honest, update=Update(torch.zeros(20_000), Layout(("x",), ((20_000,),))))
    random = attack("update_poisoning", mode="random", deviation=4.0).poison(wide, torch.Generator().manual_seed(1))
    assert random.update.flat.std() == pytest.approx(4, rel=0.05)
    assert abs(float(random.update.flat.mean())) < 0.15
    for poisoned in (scaled, random):
        assert poisoned.samples == 5
        assert torch.equal(poisoned.statistics, honest.statistics)


class Talking(Party):
    """Says one number in each step to the server, and notes what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, step: str) -> Said:
        if step != "pause":
            yield SERVER, Payload.dense(torch.zeros(3), step)
            yield client(9), Payload.dense(torch.zeros(3), step)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self.heard.append(step)


def test_a_dropout_counts_the_steps_in_which_a_client_has_something_to_say() -> None:
    steps = ("join", "pause", "shares", UPDATE)
    wanted = {0: [], 1: ["join"], 2: ["join", "shares"], 3: ["join", "shares", UPDATE], 9: ["join", "shares", UPDATE]}
    for after, spoken in wanted.items():
        honest = Talking()
        round = Round("t", 0, MEMBERS, LAYOUT)
        (party,) = attack("dropout", after=after).corrupt({"x": honest}, round, {}, torch.Generator()).values()
        said = []
        for step in steps:
            said += [(step, to) for to, _ in party.say(step)]
            party.hear(step, SERVER, Payload({}))
        assert said == [(step, to) for step in spoken for to in (SERVER, client(9))]
        assert honest.heard == list(steps)[: {0: 0, 1: 0, 2: 2, 3: 3, 9: 4}[after]]


def tampered(payload: Payload, defense: Mapping[str, Any], **parameters: object) -> dict[str, Tensor]:
    class Says(Party):
        def say(self, step: str) -> Said:
            yield SERVER, payload
            yield client(9), payload

        def hear(self, step: str, sender: str, payload: Payload) -> None:
            raise AssertionError

    round, rng = Round("t", 0, MEMBERS, LAYOUT), torch.Generator().manual_seed(2)
    parties = attack("share_tampering", **parameters).corrupt({"x": Says()}, round, defense, rng)
    to_server, to_peer = (said for _, said in parties["x"].say(UPDATE))
    before, _ = (said for _, said in parties["x"].say("join"))
    assert all(before.parts[name] is part for name, part in payload.parts.items())
    assert (to_peer.parts == payload.parts) is not parameters.get("peers", False)
    assert to_server.parts.keys() == payload.parts.keys()
    return {name: part.values for name, part in to_server.parts.items()}


@pytest.mark.parametrize("peers", [False, True])
def test_tampered_shares_are_uniform_below_the_prime(peers: bool) -> None:
    payload = Payload({"shares": Dense(torch.zeros(4000, dtype=torch.int64)), "samples": Dense(torch.tensor([7]))})
    for field, prime in (("2^31-1", 2**31 - 1), ("2^61-1", 2**61 - 1)):
        found = tampered(payload, {"field": field}, peers=peers)
        assert found["samples"].tolist() == [7]
        shares = found["shares"].double() / prime
        assert 0 <= shares.min() < 0.01
        assert 0.99 < shares.max() < 1
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)


def test_other_numbers_keep_type_range_and_places() -> None:
    floats = 3 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    payload = Payload(
        {
            "float": Dense(floats.view(40, 100)),
            "bytes": Dense(torch.zeros(4000, dtype=torch.uint8)),
            "ring": Dense(torch.zeros(4000, dtype=torch.int64)),
            "sparse": Sparse(torch.arange(100), floats[:100], 900),
        }
    )
    found = tampered(payload, {})
    assert {name: (v.dtype, v.shape) for name, v in found.items()} == {
        name: (part.values.dtype, part.values.shape) for name, part in payload.parts.items()
    }
    assert found["float"].std() == pytest.approx(float(floats.std()), rel=0.05)
    assert not torch.isclose(found["float"].flatten(), floats).any()
    assert found["bytes"].unique().numel() == 256
    spread = found["ring"].double() / 2**63
    assert spread.min() < -0.99
    assert spread.max() > 0.99


@pytest.mark.parametrize("clients", [1, 2])
def test_random_tampering_within_the_bound_is_corrected(clients: int) -> None:
    mean, collector, _ = played(attack("share_tampering", clients=clients), Sharing())
    assert mean is not None
    assert torch.allclose(mean, honest_mean(), atol=1e-5)
    assert collector.incidents == [f"client/{number}: wrong" for number in range(clients)]


def test_random_tampering_beyond_the_bound_fails_the_round_and_spoils_the_plain_reconstruction() -> None:
    mean, collector, _ = played(attack("share_tampering", clients=3), Sharing())
    assert mean is None
    assert "more are wrong" in collector.incidents[-1]
    fooled, _, _ = played(attack("share_tampering", clients=1), Sharing(corrects=False))
    assert fooled is not None
    assert (fooled - honest_mean()).abs().max() > 1e3


@pytest.mark.parametrize("shift", [1.0, -0.25])
@pytest.mark.parametrize("corrects", [True, False])
@pytest.mark.parametrize("clients", [3, 4, 5, 7])
def test_coordinated_tampering_moves_the_mean_by_exactly_what_was_agreed(
    shift: float, corrects: bool, clients: int
) -> None:
    one = attack("coordinated_tampering", clients=clients, shift=shift)
    mean, collector, _ = played(one, Sharing(corrects=corrects))
    assert mean is not None
    assert torch.allclose(mean, honest_mean() + shift, atol=1e-5)
    blamed = {int(incident.split(":")[0].removeprefix("client/")) for incident in collector.incidents}
    assert not blamed & set(range(clients))


def test_two_coordinated_clients_are_too_few_for_a_decoder_and_enough_without_one() -> None:
    one = attack("coordinated_tampering", clients=2)
    mean, collector, _ = played(one, Sharing())
    assert mean is not None
    assert torch.allclose(mean, honest_mean(), atol=1e-5)
    assert collector.incidents == ["client/0: wrong", "client/1: wrong"]
    fooled, _, _ = played(one, Sharing(corrects=False))
    assert fooled is not None
    assert torch.allclose(fooled, honest_mean() + 1, atol=1e-5)


@pytest.mark.parametrize(
    ("defense", "reason"),
    [
        ({}, "no threshold"),
        ({"threshold": 6}, "no threshold and field"),
        ({"threshold": 0.7, "field": "2^61-1"}, "no threshold"),
        ({"threshold": 11, "field": "2^61-1"}, "threshold of 11 shares among 10"),
    ],
)
def test_coordinated_tampering_says_what_it_is_for(defense: dict[str, Any], reason: str) -> None:
    with pytest.raises(SkipCell, match=reason):
        attack("coordinated_tampering").corrupt({}, Round("t", 0, MEMBERS, LAYOUT), defense, torch.Generator())


def test_coordinated_tampering_skips_a_protocol_without_shares_of_the_sum() -> None:
    round = Round("t", 0, MEMBERS, LAYOUT)
    own = {name: Talking() for name in MEMBERS[:3]}
    parties = attack("coordinated_tampering").corrupt(own, round, Sharing().parameters, torch.Generator())
    with pytest.raises(SkipCell, match="no shares of the sum"):
        list(parties[MEMBERS[0]].say(UPDATE))


@pytest.mark.parametrize("field", ["2^31-1", "2^61-1"])
@pytest.mark.parametrize(
    ("name", "clients", "check", "off"),
    [
        ("coordinated_tampering", 3, "none", 1.0),
        ("coordinated_tampering", 3, "code", 1.0),
        ("coordinated_tampering", 2, "code", 0.0),
        ("coordinated_tampering", 3, "tags", 0.0),
        ("share_tampering", 2, "code", 0.0),
        ("share_tampering", 3, "code", None),
        ("share_tampering", 4, "tags", 0.0),
    ],
)
def test_the_shipped_sharing_holds_as_far_as_its_check_reaches(
    name: str, clients: int, check: str, off: float | None, field: str
) -> None:
    parameters = {"threshold": 6, "decimals": 5, "field": field, "check": check}
    defense = build(registry.find("defense", "shamir_sharing").cls, parameters)
    assert isinstance(defense, HorizontalDefense)
    mean, collector, _ = played(attack(name, clients=clients), defense)
    if off is None:
        assert mean is None
        assert "altered" in collector.incidents[-1]
        return
    assert mean is not None
    assert torch.allclose(mean, honest_mean() + off, atol=1e-4)
    told = [incident.split(":")[0] for incident in collector.incidents]
    caught = [] if check == "none" else list(MEMBERS[8:] if off else MEMBERS[:clients])
    assert told == caught
