"""Homomorphic encryption as a protocol: the right mean, a server that reads nothing, and uploads that are bound."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import LAYOUT, made, party, round_of

from fl_attack_bench.aggregation import Said
from fl_attack_bench.api import (
    SERVER,
    ClientState,
    CodecError,
    Collector,
    Contribution,
    HorizontalDefense,
    Layout,
    Party,
    Payload,
    Round,
    RoundFailed,
    SkipCell,
    Update,
    dense,
)
from fl_attack_bench.codec import Dense, encode
from fl_attack_bench.crypto.authentication import SigningKey
from fl_attack_bench.crypto.homomorphic import BadCiphertext, Encryptor, Homomorphic
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.errors import UserError
from fl_attack_bench.wire import Message, Wire, client

GRID = 2.0**-20
SIZE = 61_952  # bytes of a ciphertext at the defaults
PUBLIC, SECRET = 31 * 4096, 46 * 4096  # bytes of a context at the defaults, padded
CAME_TO_NOTHING = "client/0 was to make the keys and vanished"


def encryption(**parameters: object) -> HorizontalDefense:
    return made("homomorphic_encryption", **{"scheme": "ckks", **parameters})


def updates(count: int, seed: int = 0, size: int = LAYOUT.size) -> torch.Tensor:
    return 2 * torch.rand(count, size, generator=torch.Generator().manual_seed(seed)) - 1


def stated_error(scheme: str, count: int) -> float:
    """Of the weighted sum, whose entries lie in [-1, 1]."""
    rounding = GRID / 2 if scheme == "ckks" else 0.0
    return Homomorphic(scheme).error(count) + rounding + 2.0**-22


def check_mean(scheme: str, collector: Collector, given_: torch.Tensor, samples: torch.Tensor) -> None:
    wanted = ((samples.double() / samples.sum())[:, None] * given_.double()).sum(0)
    error = float((collector.mean().update.flat.double() - wanted).abs().max())
    assert error <= stated_error(scheme, len(given_)) < 1e-4


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
@settings(max_examples=8, deadline=None)
@given(st.integers(2, 20), st.booleans(), st.integers(0, 2**31))
def test_the_sum_is_the_weighted_mean(scheme: str, count: int, authenticated: bool, seed: int) -> None:
    given_ = updates(count, seed)
    samples = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(seed))
    collector, _ = round_of(encryption(scheme=scheme, authenticated=authenticated), given_, samples.tolist())
    check_mean(scheme, collector, given_, samples)
    assert not collector.incidents


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_several_ciphertexts_and_statistics(scheme: str) -> None:
    layout, size = Layout(("only.weight",), ((9000,),)), 9000
    statistics, samples = torch.arange(12.0).view(3, 4) / 12, torch.tensor([3, 1, 4])
    given_ = updates(3, size=size)
    collector, _ = round_of(encryption(scheme=scheme), given_, samples.tolist(), statistics, layout)
    check_mean(scheme, collector, given_, samples)
    wanted = (samples[:, None] / 8 * statistics).sum(0)
    assert torch.allclose(collector.mean().statistics, wanted, atol=1e-5)


def test_bfv_gives_the_same_mean_in_every_run() -> None:
    means = [round_of(encryption(scheme="bfv"), updates(4))[0].mean().update.flat for _ in range(2)]
    assert torch.equal(*means)


# What the server and others hear


def heard(wire: Wire, topic: str) -> dict[str, Message]:
    return {message.sender: message for message in wire.view() if message.topic == topic}


def context_of(payload: Payload) -> bytes:
    return dense(payload, "context").numpy().tobytes()[: int(dense(payload, "length"))]


def ciphertexts_of(payload: Payload) -> tuple[bytes, ...]:
    pieces = dense(payload, "ciphertexts").split(dense(payload, "lengths").tolist())
    return tuple(piece.numpy().tobytes() for piece in pieces)


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_the_server_cannot_decrypt_and_a_client_can(scheme: str) -> None:
    given_ = updates(3)
    _, wire = round_of(encryption(scheme=scheme), given_, watched=[SERVER, client(2)])
    contexts = {m.receiver: context_of(m.payload()) for m in wire.view() if m.topic == "keys"}
    upload = ciphertexts_of(heard(wire, "update")[client(1)].payload())
    server = Encryptor(Homomorphic(scheme), contexts[SERVER])
    assert not server.secret
    with pytest.raises(UserError, match="no secret key"):
        server.decrypt(upload, LAYOUT.size)
    # What the card says: whoever taps another's upload, or colludes with the server, reads it.
    found = Encryptor(Homomorphic(scheme), contexts[client(2)]).decrypt(upload, LAYOUT.size)
    assert torch.allclose(found, given_[1] / 3, atol=1e-5)


def test_uploads_of_equal_updates_are_unlike_and_as_long_as_any() -> None:
    _, wire = round_of(encryption(), torch.cat([torch.ones(3, LAYOUT.size), torch.zeros(1, LAYOUT.size)]))
    sent = [m.data for m in heard(wire, "update").values()]
    assert len(set(sent)) == 4
    assert len({len(data) for data in sent}) == 1


def test_nothing_is_read() -> None:
    defense = encryption()
    _, wire = round_of(defense, updates(2))
    seen = defense.read(heard(wire, "update")[client(1)].payload(), LAYOUT)
    assert not seen.sent.any()
    assert not seen.values.any()
    assert seen.noise.isinf().all()


def test_keys_are_fresh_in_each_round() -> None:
    rounds = [round_of(encryption(), updates(2), number=n)[1] for n in range(2)]
    assert len({heard(wire, "keys")[client(0)].data for wire in rounds}) == 2


def symmetric_polynomial(values: torch.Tensor, degree: int, scale_bits: int) -> np.ndarray:
    """Coefficients of ``p(X) + p(1/X)`` in ``Z[X] / (X^N + 1)`` for the encoded polynomial p of real slots."""
    powers = np.array([pow(3, slot, 2 * degree) for slot in range(degree // 2)])
    basis = np.cos(np.pi * (np.outer(np.arange(64), powers) % (2 * degree)) / degree)
    return 4 / degree * (basis @ values.double().numpy()) * 2.0**scale_bits


def test_the_opened_sum_does_not_tell_the_noise_from_which_the_secret_key_follows() -> None:
    """Li and Micciancio 2021: a ciphertext and the integers that it decrypts to are linear equations of the key."""
    layout, parameters = Layout(("only.weight",), ((2048,),)), Homomorphic()
    small = updates(4, size=2048) * 1e-5
    _, wire = round_of(encryption(), small, layout=layout, watched=[SERVER, client(0), client(1)])
    opened = dense(heard(wire, "opened")[client(0)].payload(), "sum")
    assert torch.equal((opened / GRID).round() * GRID, opened)
    (to_opener,) = [m for m in wire.view() if m.topic == "sum"]
    secret = next(context_of(m.payload()) for m in wire.view() if m.topic == "keys" and m.receiver == client(1))
    full = Encryptor(parameters, secret).decrypt(ciphertexts_of(to_opener.payload()), 2048)
    given_away, hidden = (symmetric_polynomial(values, 4096, 40) for values in (full, opened))
    assert np.abs(given_away - np.rint(given_away)).mean() < 0.1  # as it is decrypted: integers, hence the equations
    assert np.abs(hidden - np.rint(hidden)).mean() > 0.15  # 0.25: no more than chance
    assert np.abs(hidden - given_away).mean() > 1000


def test_metered_bytes() -> None:
    layout, count = Layout(("only.weight",), ((5000,),)), 5
    defense = encryption(authenticated=True, openers=2)
    _, wire = round_of(defense, updates(count, size=5000), layout=layout)
    byte, word = torch.uint8, torch.int64

    def frame(**parts: tuple[int, torch.dtype]) -> int:
        return len(encode(Payload({name: Dense(torch.zeros(n, dtype=kind)) for name, (n, kind) in parts.items()})))

    public, secret = (frame(length=(1, word), context=(size, byte)) for size in (PUBLIC, SECRET))
    total = {"lengths": (3, word), "ciphertexts": (3 * SIZE, byte)}
    update, opened = frame(**total, signature=(64, byte)), frame(sum=(5000, torch.float32), signature=(64, byte))
    sent = {phase.topic: {name: t.sent for name, t in phase.traffic.items() if t.sent} for phase in wire.phases}
    assert sent["keys"] == {client(0): public + 4 * secret}
    assert sent["update"] == {client(n): update for n in range(count)}
    assert sent["sum"] == {SERVER: 2 * frame(**total)}
    assert sent["opened"] == {client(0): opened, client(1): opened}


# Who vanishes


@pytest.mark.parametrize("step", ["join", "update"])
@pytest.mark.parametrize("gone", [[4], [0, 3]])
def test_who_vanishes_before_its_upload_is_done_without(step: str, gone: list[int]) -> None:
    given_, samples = updates(6), torch.tensor([3, 1, 4, 1, 5, 9])
    collector, _ = round_of(encryption(), given_, samples.tolist(), drop=dict.fromkeys(gone, step))
    in_it = [n for n in range(6) if n not in gone]
    check_mean("ckks", collector, given_[in_it], samples[in_it])


def test_who_vanishes_after_its_upload_is_in_the_mean() -> None:
    given_ = updates(4)
    collector, _ = round_of(encryption(), given_, drop={1: "sum", 3: "opened"})
    check_mean("ckks", collector, given_, torch.ones(4))


@pytest.mark.parametrize(
    ("drop", "says"),
    [
        ({0: "keys"}, CAME_TO_NOTHING),
        ({0: "sum"}, "client/0 was to open the sum and vanished"),
        ({0: "update", 1: "opened"}, "client/1 was to open the sum and vanished"),
        ({0: "update", 1: "keys", 2: "update"}, "1 of 4 clients sent an update; 2 must"),
        (dict.fromkeys(range(1, 4), "join"), "1 of 4 clients joined; 2 must"),
        (dict.fromkeys(range(4), "join"), "0 of 4 clients joined; 2 must"),
    ],
)
def test_a_round_that_cannot_go_on_says_why(drop: dict[int, str], says: str) -> None:
    collector, _ = round_of(encryption(), updates(4), drop=drop)
    with pytest.raises(RoundFailed, match=says):
        collector.mean()


def test_a_second_opener_stands_in_for_the_first() -> None:
    given_ = updates(4)
    collector, _ = round_of(encryption(openers=2), given_, drop={0: "sum"})
    check_mean("ckks", collector, given_, torch.ones(4))
    assert collector.incidents == [
        "client/0 was to open the sum and vanished, or sent nothing that can be used",
    ]


# Who sends something else


class Altering(Party):
    """An honest client whose message of one step is altered on its way."""

    def __init__(self, honest: Party, step: str, parts: dict[str, torch.Tensor]) -> None:
        self._honest, self._step, self._parts = honest, step, parts

    def say(self, step: str) -> Said:
        for receiver, payload in self._honest.say(step):
            kept = payload.parts if self._parts else {}
            altered = {name: Dense(tensor) for name, tensor in self._parts.items()}
            yield receiver, Payload({**kept, **altered}) if step == self._step else payload

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)


class Flipping(Party):
    """An honest client one bit of whose ciphertext is flipped on its way, so that it stays well-formed."""

    def __init__(self, honest: Party) -> None:
        self._honest = honest
        self._keys: Encryptor | None = None

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)
        if step == "keys":
            self._keys = Encryptor(Homomorphic(), context_of(payload))

    def say(self, step: str) -> Said:
        for receiver, payload in self._honest.say(step):
            yield receiver, self._flipped(payload) if step == "update" else payload

    def _flipped(self, payload: Payload) -> Payload:
        assert self._keys
        for place in range(5000, 6000):
            data = dense(payload, "ciphertexts").clone()
            data[place] ^= 1
            altered = Payload({**payload.parts, "ciphertexts": Dense(data)})
            try:
                self._keys.decrypt(ciphertexts_of(altered), LAYOUT.size)
            except BadCiphertext:
                continue
            return altered
        raise AssertionError("no flipped bit stays unnoticed")


def test_a_flipped_bit_turns_the_mean_to_rubbish_without_authentication_and_is_refused_with_it() -> None:
    given_ = updates(4)
    found = {}
    for authenticated in (False, True):
        defense = encryption(authenticated=authenticated)
        found[authenticated], _ = round_of(defense, given_, replace={3: Flipping(party(defense, 3, given_))})
    assert found[False].mean().update.flat.abs().max() > 1000
    assert not found[False].incidents
    check_mean("ckks", found[True], given_[:3], torch.ones(3))
    assert found[True].incidents == ["client/3: signature does not verify"]


def test_a_refused_message_can_fail_the_round() -> None:
    given_, defense = updates(3), encryption(authenticated=True, on_reject="fail")
    collector, _ = round_of(defense, given_, replace={2: Flipping(party(defense, 2, given_))})
    with pytest.raises(RoundFailed, match="client/2: signature does not verify"):
        collector.mean()
    collector, _ = round_of(defense, given_)
    check_mean("ckks", collector, given_, torch.ones(3))


def test_a_lie_about_the_sum_is_found_by_a_second_opener() -> None:
    given_ = updates(3)
    lie = {"sum": torch.ones(LAYOUT.size)}
    for openers in (1, 2):
        defense = encryption(openers=openers)
        collector, _ = round_of(defense, given_, replace={0: Altering(party(defense, 0, given_), "opened", lie)})
        if openers == 1:
            assert torch.equal(collector.mean().update.flat, torch.ones(LAYOUT.size))
            continue
        with pytest.raises(RoundFailed, match="client/0 and client/1 opened the sum to numbers up to"):
            collector.mean()


def test_an_opened_sum_that_is_altered_on_its_way_is_refused() -> None:
    given_, defense = updates(3), encryption(authenticated=True)
    lie = {"sum": torch.ones(LAYOUT.size)}
    collector, _ = round_of(defense, given_, replace={0: Altering(party(defense, 0, given_), "opened", lie)})
    with pytest.raises(RoundFailed, match="client/0 was to open the sum"):
        collector.mean()
    assert collector.incidents == ["client/0: signature does not verify"]


def test_the_server_keeps_to_the_first_key_of_a_name() -> None:
    defense, given_ = encryption(authenticated=True), updates(3)
    memory: dict[str, torch.Tensor] = {}
    memories: list[dict[str, torch.Tensor]] = [{} for _ in range(3)]
    for number in range(2):  # the clients keep their keys too
        collector, _ = round_of(defense, given_, number=number, memories=memories, memory=memory)
        check_mean("ckks", collector, given_, torch.ones(3))
    assert {len(kept["signing key"]) for kept in memories} == {32}
    memories[2].clear()
    collector, _ = round_of(defense, given_, number=2, memories=memories, memory=memory)
    check_mean("ckks", collector, given_[:2], torch.ones(2))
    assert "client/2: joins with another key than the first time" in collector.incidents


def opening(
    defense: HorizontalDefense, number: int, memory: dict[str, torch.Tensor], memories: list[dict[str, torch.Tensor]]
) -> tuple[Collector, dict[str, Payload]]:
    """A server that waits for the updates of a round, and these, by sender."""
    collected, wire = round_of(defense, updates(3, number), number=number, memories=memories, memory=memory)
    collected.mean()
    server = defense.collector(Round("test", number, tuple(client(n) for n in range(3)), LAYOUT), memory)
    for topic in ("join", "keys"):
        for sender, message in heard(wire, topic).items():
            server.hear(topic, sender, message.payload())
        assert len(list(server.say("roster"))) == 3
    return server, {sender: message.payload() for sender, message in heard(wire, "update").items()}


def flipped(payload: Payload, generator: torch.Generator) -> Payload:
    """One bit anywhere in one of the parts."""
    names = list(payload.parts)
    name = names[int(torch.randint(len(names), (1,), generator=generator))]
    raw = dense(payload, name).clone()
    data = raw.view(torch.uint8)
    data[int(torch.randint(data.numel(), (1,), generator=generator))] ^= 1 << int(
        torch.randint(8, (1,), generator=generator)
    )
    return Payload({**payload.parts, name: Dense(raw)})


def test_a_thousand_altered_replayed_and_misattributed_uploads_are_refused() -> None:
    defense, memory = encryption(authenticated=True), {}
    memories: list[dict[str, torch.Tensor]] = [{} for _ in range(3)]
    _, earlier = opening(defense, 0, memory, memories)
    server, uploads = opening(defense, 1, memory, memories)
    generator = torch.Generator().manual_seed(3)
    own, other = client(1), client(2)
    for trial in range(750):
        wrong = (flipped(uploads[own], generator), earlier[own], uploads[other])[trial % 3]
        with pytest.raises(CodecError, match=r"signature does not verify|of the lengths announced"):
            server.hear("update", own, wrong)
    server.hear("update", own, uploads[own])
    for _ in range(250):  # the genuine one again, in the same round
        with pytest.raises(CodecError, match="a second update in one round"):
            server.hear("update", own, uploads[own])
    server.hear("update", other, uploads[other])  # it still takes what is genuine


@pytest.mark.parametrize("part", ["signature", "lengths", "ciphertexts"])
def test_an_upload_without_one_of_its_parts_is_refused(part: str) -> None:
    server, uploads = opening(encryption(authenticated=True), 0, {}, [{} for _ in range(3)])
    parts = {name: kept for name, kept in uploads[client(0)].parts.items() if name != part}
    with pytest.raises(CodecError, match=part):
        server.hear("update", client(0), Payload(parts))


GARBAGE = [torch.zeros(0), torch.zeros(7, dtype=torch.uint8), torch.full((1,), -1), torch.full((1,), 2**62)]


@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("step", ["join", "update", "opened"])
def test_garbage_counts_as_nothing(step: str, authenticated: bool) -> None:
    given_, defense = updates(4), encryption(authenticated=authenticated, openers=2)
    names = {"join": ["samples", "key"], "update": ["lengths", "ciphertexts"], "opened": ["sum"]}[step]
    # An empty key is the right one without authentication, and 2^62 samples are a lie that nobody can see.
    garbage = GARBAGE[1:3] if step == "join" else GARBAGE
    for parts in [{}, *({name: each} for name in names for each in garbage)]:
        wrong = Altering(party(defense, 1, given_), step, parts)
        collector, _ = round_of(defense, given_, replace={1: wrong})
        in_it = [0, 1, 2, 3] if step == "opened" else [0, 2, 3]
        check_mean("ckks", collector, given_[in_it], torch.ones(len(in_it)))
        assert collector.incidents


@pytest.mark.parametrize("name", ["length", "context"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_keys_that_are_none_fail_the_round(name: str, garbage: torch.Tensor) -> None:
    given_, defense = updates(3), encryption()
    wrong = Altering(party(defense, 0, given_), "keys", {name: garbage})
    collector, _ = round_of(defense, given_, replace={0: wrong})
    with pytest.raises(RoundFailed, match=CAME_TO_NOTHING):
        collector.mean()


def test_keys_that_are_not_for_the_receiver_are_refused() -> None:
    given_, defense = updates(3), encryption()
    keys = Homomorphic().keys()
    for context, says in ((keys.secret, "a context with the secret key"), (Homomorphic("bfv").keys().public, "other")):
        parts = {
            "length": torch.tensor([len(context)]),
            "context": torch.frombuffer(bytearray(context), dtype=torch.uint8),
        }
        collector, _ = round_of(defense, given_, replace={0: Altering(party(defense, 0, given_), "keys", parts)})
        with pytest.raises(RoundFailed, match=CAME_TO_NOTHING):
            collector.mean()
        assert says in collector.incidents[0]


def test_a_client_takes_keys_from_the_first_member_only_and_opens_ciphertexts_only() -> None:
    defense, given_ = encryption(), updates(3)
    member, maker = (party(defense, place, given_) for place in (1, 0))
    server = defense.collector(Round("test", 0, tuple(client(n) for n in range(3)), LAYOUT), {})
    for name in range(3):
        for _, payload in party(defense, name, given_).say("join"):
            server.hear("join", client(name), payload)
    roster = dict(server.say("roster"))
    for place, each in ((1, member), (0, maker)):
        each.hear("roster", SERVER, roster[client(place)])
    keys = dict(maker.say("keys"))
    with pytest.raises(CodecError, match="keys that nobody waits for"):
        member.hear("keys", client(2), keys[client(1)])
    with pytest.raises(CodecError, match="without the secret key"):
        member.hear("keys", client(0), keys[SERVER])
    member.hear("keys", client(0), keys[client(1)])
    rubbish = {"lengths": torch.tensor([SIZE]), "ciphertexts": torch.ones(SIZE, dtype=torch.uint8)}
    for parts in (rubbish, {**rubbish, "lengths": torch.tensor([SIZE - 1])}, {}):
        with pytest.raises(CodecError):
            member.hear("sum", SERVER, Payload({name: Dense(part) for name, part in parts.items()}))
    assert not list(member.say("opened"))


def test_only_who_is_on_the_roster_is_heard() -> None:
    server, uploads = opening(encryption(), 0, {}, [{} for _ in range(3)])
    with pytest.raises(CodecError, match="not on the roster"):
        server.hear("update", client(7), uploads[client(0)])
    with pytest.raises(CodecError, match="opened sum that nobody waits for"):
        server.hear("opened", client(0), Payload.dense(torch.zeros(LAYOUT.size), "sum"))


def test_the_signing_key_is_reproducible_on_demand_only() -> None:
    joined = []
    for reproducible in (True, True, False, False):
        defense = encryption(authenticated=True, reproducible=reproducible)
        ((_, payload),) = party(defense, 0, updates(2)).say("join")
        joined.append(dense(payload, "key").numpy().tobytes())
    assert joined[0] == joined[1]
    assert len(set(joined)) == 3
    state = ClientState(client(0), 0, 1, torch.Generator().manual_seed(0))
    contribution = Contribution(Update(torch.zeros(LAYOUT.size), LAYOUT), torch.zeros(0), 1)
    encryption(authenticated=True).member(contribution, state, Round("test", 0, (client(0),), LAYOUT))
    assert len(SigningKey.seeded(state.memory["signing key"].numpy().tobytes()).public) == 32


# Bad input


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"scheme": "paillier"}, "'ckks' or 'bfv'"),
        ({"on_reject": "ignore"}, "'continue' or 'fail'"),
        ({"ring_size": 2048}, "must be one of 4096, 8192, 16384, 32768"),
        ({"scale_bits": 53}, "whole number from 1 to 52"),
        ({"scale_bits": 20}, "leaves an error of .* more than 0.0001"),
        ({"scheme": "bfv", "fraction_bits": 31}, "less than or equal to 30"),
        ({"fraction_bits": 0}, "greater than or equal to 1"),
        ({"openers": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        encryption(**parameters)


@pytest.mark.parametrize(
    ("parameters", "count", "says"),
    [
        ({}, 1, "at least 2 clients in a round, not 1"),
        ({"openers": 4}, 3, "at least 4 clients in a round, not 3"),
        ({"fraction_bits": 26}, 5, r"the noise of 5 ciphertexts, 3e-08, is more than 2\^-26"),
    ],
)
def test_a_round_that_cannot_be_played_is_skipped(parameters: dict[str, object], count: int, says: str) -> None:
    with pytest.raises(SkipCell, match=says):
        round_of(encryption(**parameters), updates(count))


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_a_value_that_does_not_fit_is_named_with_its_layer(scheme: str) -> None:
    given_ = updates(3)
    given_[1, 17] = 1e5
    with pytest.raises(RangeError, match=r"'dense\.weight', entry 1"):
        round_of(encryption(scheme=scheme), given_)
