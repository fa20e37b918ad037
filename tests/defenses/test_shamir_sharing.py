"""Shamir sharing as a protocol: the right mean whoever vanishes, what each check finds and what it cannot, bytes."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import LAYOUT, Garbling, made, party, round_of, updates
from torch import Tensor

from fl_attack_bench.api import (
    SERVER,
    CodecError,
    Collector,
    HorizontalDefense,
    Layout,
    Party,
    Payload,
    Round,
    RoundFailed,
    Said,
    SkipCell,
    dense,
    frame_bytes,
)
from fl_attack_bench.codec import Dense
from fl_attack_bench.crypto.decoding import coordinated
from fl_attack_bench.crypto.field import FIELDS, MERSENNE_61, Decimals, PrimeField
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.crypto.shamir import Shamir
from fl_attack_bench.errors import UserError
from fl_attack_bench.secure_aggregation import joining
from fl_attack_bench.wire import client

DTYPES = {"2^31-1": torch.int32, "2^61-1": torch.int64}


def sharing(**parameters: object) -> HorizontalDefense:
    return made("shamir_sharing", **parameters)


def is_mean(collector: Collector, of: Tensor) -> bool:
    """Whether the mean is right within the error of six decimals."""
    return torch.allclose(collector.mean().update.flat, of.mean(0), atol=1e-5)


class Altering(Party):
    """An honest client but for what it sends in some steps: a function makes other payloads of it, or none."""

    def __init__(self, honest: Party, **steps: Callable[[Payload], Payload | None]) -> None:
        self._honest, self._steps = honest, steps

    def say(self, step: str) -> Said:
        for receiver, payload in self._honest.say(step):
            said = self._steps[step](payload) if step in self._steps else payload
            if said is not None:
                yield receiver, said

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)


def added(payload: Payload, number: int, field: PrimeField = MERSENNE_61) -> Payload:
    """The same payload with a number added to each share."""
    shares = dense(payload, "shares")
    values = (shares.numpy().astype(object) + number) % field.prime
    return Payload({"shares": Dense(torch.from_numpy(values.astype(np.int64)).to(shares.dtype))})


def adding(number: int, field: PrimeField = MERSENNE_61) -> Callable[[Payload], Payload]:
    return lambda payload: added(payload, number, field)


def instead(of_it: Payload | None) -> Callable[[Payload], Payload | None]:
    return lambda payload: of_it


@settings(max_examples=15, deadline=None)
@given(
    st.integers(6, 50),
    st.data(),
    st.sampled_from(["none", "code", "tags"]),
    st.sampled_from(list(FIELDS)),
    st.integers(2, 6),
    st.integers(0, 2**31),
)
def test_the_sum_is_the_weighted_mean(
    count: int, data: st.DataObject, check: str, field: str, decimals: int, seed: int
) -> None:
    threshold = data.draw(st.integers(2, count))
    given_ = updates(count, seed)
    samples = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(seed))
    defense = sharing(threshold=threshold, check=check, field=field, decimals=decimals)
    collector, _ = round_of(defense, given_, samples.tolist())
    wanted = ((samples.double() / samples.sum())[:, None] * given_.double()).sum(0)
    error = (collector.mean().update.flat.double() - wanted).abs().max()
    assert error <= Decimals(FIELDS[field], decimals).error(count) + 1e-6
    assert not collector.incidents


def test_statistics_are_averaged_as_a_further_layer() -> None:
    statistics = torch.arange(12.0).view(6, 2)
    collector, wire = round_of(sharing(), updates(6), [1, 1, 1, 1, 1, 5], statistics)
    wanted = (statistics[:5].sum(0) + 5 * statistics[5]) / 10
    assert torch.allclose(collector.mean().statistics, wanted, atol=1e-5)
    sent = next(m.payload() for m in wire.view() if m.topic == "update")
    assert dense(sent, "shares").numel() == LAYOUT.size + 2


def test_three_decimals_are_a_thousand_times_coarser_than_six() -> None:
    layout = Layout(("only.weight",), ((3000,),))
    given_ = torch.randn(10, 3000, generator=torch.Generator().manual_seed(3)) * 0.05
    error = {}
    for decimals in (3, 6):
        collector, _ = round_of(sharing(decimals=decimals), given_, layout=layout)
        error[decimals] = (collector.mean().update.flat.double() - given_.double().mean(0)).square().mean().sqrt()
    # Ten roundings, each uniform within half a unit of the last decimal: a deviation of (10 / 12) ** 0.5 units.
    assert error[3] == pytest.approx((10 / 12) ** 0.5 * 1e-3, rel=0.05)
    assert error[6] == pytest.approx((10 / 12) ** 0.5 * 1e-6, rel=0.05)


@pytest.mark.parametrize("check", ["none", "code", "tags"])
@pytest.mark.parametrize("step", ["join", "roster", "share", "dealt", "dealers", "update", "challenge", "tags"])
@pytest.mark.parametrize("gone", [[0], [1, 4, 5, 9]])
def test_n_minus_k_clients_may_vanish_at_every_step(check: str, step: str, gone: list[int]) -> None:
    defense = sharing(check=check)
    if step not in defense.steps:
        return
    given_, samples = updates(10), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    collector, _ = round_of(defense, given_, samples, drop=dict.fromkeys(gone, step))
    dealt = [n for n in range(10) if n not in gone or step not in ("join", "roster", "share")]
    weights = torch.tensor([float(samples[n]) for n in dealt])
    wanted = (weights[:, None] * given_[dealt]).sum(0) / weights.sum()
    assert torch.allclose(collector.mean().update.flat, wanted, atol=2e-5)
    answered = check != "tags" or step in ("join", "roster", "share")
    assert collector.incidents == ([] if answered else [f"client/{n}: did not answer the challenge" for n in gone])


def test_vanishing_at_several_steps_at_once() -> None:
    given_ = updates(10)
    collector, _ = round_of(sharing(check="tags"), given_, drop={0: "share", 3: "dealt", 5: "update", 8: "tags"})
    assert is_mean(collector, given_[[n for n in range(10) if n]])


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("join", "5 of 10 clients joined; 6 must"),
        ("share", "0 of 10 clients sent a sum of shares; 6 must"),
        ("dealt", "0 of 10 clients sent a sum of shares; 6 must"),
        ("update", "5 of 10 clients sent a sum of shares; 6 must"),
    ],
)
@pytest.mark.parametrize("check", ["none", "code", "tags"])
def test_one_more_than_n_minus_k_make_the_round_fail(step: str, says: str, check: str) -> None:
    collector, _ = round_of(sharing(check=check), updates(10), drop=dict.fromkeys(range(5), step))
    with pytest.raises(RoundFailed, match=says):
        collector.mean()


class Dealing(Party):
    """An honest client that vanishes once it has dealt to some."""

    def __init__(self, honest: Party, reached: int) -> None:
        self._honest, self._left = honest, reached

    def say(self, step: str) -> Said:
        if step == "share":
            for said, _ in zip(self._honest.say(step), range(self._left), strict=False):
                yield said
        elif step in ("join", "roster"):
            yield from self._honest.say(step)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)


@pytest.mark.parametrize("check", ["none", "code", "tags"])
@pytest.mark.parametrize(("reached", "without"), [(0, (2, 3, 7, 9)), (1, (2, 3, 7, 9)), (5, (2, 3, 7, 9)), (8, (9,))])
def test_whose_shares_did_not_reach_all_is_left_out_by_all(reached: int, without: tuple[int, ...], check: str) -> None:
    given_, defense = updates(10), sharing(check=check)
    replace = {n: Dealing(party(defense, n, given_), reached) for n in (2, 3, 7, 9)}
    collector, _ = round_of(defense, given_, replace=dict(replace))
    assert is_mean(collector, given_[[n for n in range(10) if n not in without]])
    left_out = {i.split(":")[0] for i in collector.incidents if "have its shares, which are left out" in i}
    assert left_out == ({client(n) for n in without} if reached else set())


def test_who_denies_all_shares_is_done_without_and_who_denies_some_has_them_left_out() -> None:
    given_, defense = updates(10), sharing()
    none = torch.zeros(10, dtype=torch.uint8)
    denying = Altering(party(defense, 4, given_), dealt=instead(Payload({"heard": Dense(none)})))
    collector, _ = round_of(defense, given_, replace={4: denying})
    assert is_mean(collector, given_)
    assert collector.incidents == ["client/4: has shares of 0 clients, and is left out"]
    some = torch.ones(10, dtype=torch.uint8)
    some[:2] = 0
    denying = Altering(party(defense, 4, given_), dealt=instead(Payload({"heard": Dense(some)})))
    collector, _ = round_of(defense, given_, replace={4: denying})
    assert is_mean(collector, given_[2:])
    assert collector.incidents == [f"client/{n}: 9 of 10 clients have its shares, which are left out" for n in (0, 1)]


def test_holders_who_have_nothing_in_common_make_the_round_fail() -> None:
    given_, defense = updates(6), sharing(threshold=5)
    marks = 1 - torch.eye(6, dtype=torch.uint8)
    words = [Payload({"heard": Dense(row)}) for row in marks]
    denying = {n: Altering(party(defense, n, given_), dealt=instead(words[n])) for n in range(6)}
    collector, _ = round_of(defense, given_, replace=dict(denying))
    with pytest.raises(RoundFailed, match="no 5 of 6 clients have shares of the same 5"):
        collector.mean()


Words = dict[str, list[tuple[str, Payload]]]


def told(defense: HorizontalDefense, given_: Tensor) -> Words:
    """What the server was told in a round: senders and payloads, step by step."""
    _, wire = round_of(defense, given_)
    return {step: [(m.sender, m.payload()) for m in wire.view() if m.topic == step] for step in defense.steps}


def answered(defense: HorizontalDefense, words: Words, altered: Mapping[int, Payload]) -> Collector:
    """A server that is told the same, but for these clients' sums. It asks the same: its challenge is reproducible."""
    names = tuple(sender for sender, _ in words["join"])
    collector = defense.collector(Round("test", 0, names, LAYOUT), {})
    for step, messages in words.items():
        for _ in collector.say(step):
            pass
        for place, (sender, payload) in enumerate(messages):
            collector.hear(step, sender, altered.get(place, payload) if step == "update" else payload)
    return collector


def at_random(shares: Tensor, rng: np.random.Generator) -> Payload:
    """Other shares: all of them random, or one to three of them off by something."""
    values = shares.numpy().copy()
    places = rng.permutation(values.size)[: rng.integers(1, 4) if rng.random() < 0.5 else values.size]
    values[places] = (values[places] + rng.integers(1, MERSENNE_61.prime, len(places))) % MERSENNE_61.prime
    return Payload({"shares": Dense(torch.from_numpy(values))})


def trials(check: str, count: int, altering: int) -> Iterator[tuple[Collector, list[int], Tensor]]:
    """Random rounds of ten clients, of whom some alter their sums at random; with the mean that nobody altered."""
    defense, rng = sharing(check=check, reproducible=True), np.random.default_rng(altering)
    for dealt in range(5):
        words = told(defense, updates(10, dealt))
        right = answered(defense, words, {}).mean().update.flat
        for _ in range(count // 5):
            places = sorted(rng.permutation(10)[:altering].tolist())
            altered = {place: at_random(dense(words["update"][place][1], "shares"), rng) for place in places}
            yield answered(defense, words, altered), places, right


def test_two_altered_sums_of_ten_are_corrected_exactly_in_a_thousand_trials() -> None:
    for collector, places, right in trials("code", 1000, 2):
        assert torch.equal(collector.mean().update.flat, right)
        assert collector.incidents == [f"client/{place}: altered its sum of shares" for place in places]


def test_three_sums_altered_at_random_are_reported_in_a_thousand_trials() -> None:
    for collector, _, _ in trials("code", 1000, 3):
        with pytest.raises(RoundFailed, match=r"sums of shares were altered: 10 shares came, .* at most 2 wrong ones"):
            collector.mean()


@pytest.mark.parametrize("altering", [3, 4])
def test_tags_name_up_to_n_minus_k_sums_altered_at_random(altering: int) -> None:
    for collector, places, right in trials("tags", 50, altering):
        assert torch.equal(collector.mean().update.flat, right)
        assert collector.incidents == [f"client/{place}: altered its sum of shares" for place in places]


def test_five_altered_sums_are_too_many_for_the_tags_and_reported() -> None:
    for collector, _, _ in trials("tags", 10, 5):
        with pytest.raises(RoundFailed, match="10 reports came, of which 6 reconstruct, and 5 contradict"):
            collector.mean()


def conspiring(
    defense: HorizontalDefense,
    given_: Tensor,
    corrupt: Sequence[int],
    field: PrimeField,
    **steps: Callable[[Payload], Payload | None],
) -> dict[int, Party]:
    """Holders who agree to move the sum by 1; none of them departs from the protocol before."""
    honest = [place for place in range(len(given_)) if place not in corrupt]
    numbers = coordinated(Shamir(6, len(given_), field), corrupt, honest, shift=10**6)
    return {
        place: Altering(party(defense, place, given_), update=adding(number, field), **steps)
        for place, number in zip(corrupt, numbers, strict=True)
    }


@pytest.mark.parametrize("field", list(FIELDS))
def test_three_coordinated_holders_fool_the_code_and_not_the_tags(field: str) -> None:
    given_, corrupt = updates(10), [1, 4, 6]
    code, tags = (sharing(check=check, field=field) for check in ("code", "tags"))
    fooled, _ = round_of(code, given_, replace=conspiring(code, given_, corrupt, FIELDS[field]))
    assert is_mean(fooled, given_ + 1)
    assert fooled.incidents == [f"client/{n}: altered its sum of shares" for n in (8, 9)]  # who did nothing
    right, _ = round_of(tags, given_, replace=conspiring(tags, given_, corrupt, FIELDS[field]))
    assert is_mean(right, given_)
    assert right.incidents == [f"client/{n}: altered its sum of shares" for n in corrupt]


def test_coordinated_holders_who_do_not_answer_as_dealers_fool_the_tags_too() -> None:
    """The limit that the card states: who holds shares and deals can bring the tags back to the code's bound."""
    given_, defense = updates(10), sharing(check="tags")
    replace = conspiring(defense, given_, [1, 4, 6], MERSENNE_61, tags=instead(None))
    collector, _ = round_of(defense, given_, replace=dict(replace))
    assert is_mean(collector, given_ + 1)
    silent_ones = [f"client/{n}: did not answer the challenge" for n in (1, 4, 6)]
    assert collector.incidents == silent_ones + [f"client/{n}: altered its sum of shares" for n in (8, 9)]


def test_where_dealers_are_silent_two_altered_sums_are_still_corrected() -> None:
    given_, defense = updates(10), sharing(check="tags")
    replace = {n: Altering(party(defense, n, given_), update=adding(n), tags=instead(None)) for n in (3, 8)}
    collector, _ = round_of(defense, given_, replace=dict(replace))
    assert is_mean(collector, given_)
    assert [incident.split(":")[0] for incident in collector.incidents] == [client(n) for n in (3, 8, 3, 8)]
    replace[5] = Altering(party(defense, 5, given_), update=adding(7), tags=instead(None))
    collector, _ = round_of(defense, given_, replace=dict(replace))
    with pytest.raises(RoundFailed, match="at most 2 wrong ones can be corrected"):
        collector.mean()


def test_tags_that_belong_to_no_shares_are_named_and_done_without() -> None:
    given_, defense = updates(10), sharing(check="tags")

    def one_off(payload: Payload) -> Payload:
        tags = dense(payload, "tags").clone()
        tags[3, 1] ^= 1
        return Payload({"tags": Dense(tags)})

    lying = {n: Altering(party(defense, n, given_), tags=one_off) for n in (2, 6)}
    collector, _ = round_of(defense, given_, replace=dict(lying))
    assert torch.allclose(collector.mean().update.flat, given_.mean(0), atol=1e-5)
    assert collector.incidents == [
        f"client/{n}: answered the challenge with tags that belong to no shares" for n in (2, 6)
    ]


@pytest.mark.parametrize("check", ["code", "tags"])
def test_a_dealer_of_random_numbers_makes_the_round_fail(check: str) -> None:
    given_, defense = updates(10), sharing(check=check)
    rng = torch.Generator().manual_seed(5)

    def random(payload: Payload) -> Payload:
        shares = dense(payload, "share")
        return Payload({"share": Dense(torch.randint(MERSENNE_61.prime, shares.shape, generator=rng))})

    collector, _ = round_of(defense, given_, replace={2: Altering(party(defense, 2, given_), share=random)})
    with pytest.raises(RoundFailed, match="sums of shares were altered"):
        collector.mean()


def test_the_plain_reconstruction_is_fooled_by_one_of_the_first_k() -> None:
    given_, defense = updates(10), sharing(check="none")
    for place, wrong in ((2, True), (8, False)):
        altering = {place: Altering(party(defense, place, given_), update=adding(10**15))}
        collector, _ = round_of(defense, given_, replace=dict(altering))
        assert is_mean(collector, given_) is not wrong
        assert not collector.incidents


def low_bits(parts: Sequence[Tensor]) -> Tensor:
    """Four bits of each element; uniform, where the elements are, but for one in 2**29."""
    return torch.cat([part.flatten().long() for part in parts]) >> 8 & 15


def is_uniform(bits: Tensor) -> bool:
    counts = torch.bincount(bits, minlength=16).double()
    expected = counts.sum() / 16
    assert expected >= 10
    return bool(((counts - expected) ** 2 / expected).sum() < 15 + 5 * 30**0.5)


@pytest.mark.parametrize("field", list(FIELDS))
@pytest.mark.parametrize("value", [0.0, 1e-3, 12.345])
def test_what_anybody_hears_is_uniform_whatever_the_update(field: str, value: float) -> None:
    layout, given_ = Layout(("only.weight",), ((2000,),)), torch.full((4, 2000), value)
    defense = sharing(threshold=3, field=field, reproducible=True)
    _, wire = round_of(defense, given_, layout=layout, watched=[SERVER, client(0)])
    shares = [dense(m.payload(), "share") for m in wire.view() if m.topic == "share"]
    assert len(shares) == 3
    assert is_uniform(low_bits(shares))
    # K-1 sums: with one more they would give the mean.
    sums = [dense(m.payload(), "shares") for m in wire.view() if m.topic == "update"]
    assert is_uniform(low_bits(sums[:2]))


@pytest.mark.parametrize("field", list(FIELDS))
def test_tags_are_uniform_whatever_the_update(field: str) -> None:
    defense = sharing(threshold=2, field=field, check="tags", reproducible=True)
    _, wire = round_of(defense, torch.zeros(50, LAYOUT.size))
    tags = [dense(m.payload(), "tags").numpy().astype(np.uint64) for m in wire.view() if m.topic == "tags"]
    # A dealer's tags lie on a line. Its value at 0 would be a combination of the update, 0 here, were it not blinded.
    shamir = Shamir(2, 50, FIELDS[field])
    at_0 = [torch.from_numpy(shamir.reconstruct(part[:2], [0, 1]).astype(np.int64)) for part in tags]
    assert is_uniform(low_bits([*at_0, *(torch.from_numpy(part[0].astype(np.int64)) for part in tags)]))


def test_nothing_is_read() -> None:
    defense = sharing(check="tags")
    _, wire = round_of(defense, updates(6))
    seen = defense.read(next(m.payload() for m in wire.view() if m.topic == "update"), LAYOUT)
    assert seen.values.shape == (LAYOUT.size,)
    assert not seen.sent.any()
    assert seen.noise.isinf().all()
    assert (seen.values.abs() > 1e6).any()  # a share's worth, for whoever takes it for the gradient


@pytest.mark.parametrize(("together", "learnt"), [(6, True), (5, False)])
def test_k_clients_learn_an_update_without_the_server(together: int, learnt: bool) -> None:
    given_ = updates(8)
    _, wire = round_of(sharing(), given_, watched=[client(n) for n in range(1, together + 1)])
    heard = [m for m in wire.view() if m.topic == "share" and m.sender == client(0)]
    shares = np.stack([dense(m.payload(), "share").numpy().astype(np.uint64) for m in heard])
    places = [int(m.receiver.removeprefix("client/")) for m in heard]
    found = Decimals(MERSENNE_61, 6).decode(Shamir(len(places), 8).reconstruct(shares, places))
    assert torch.allclose(found, given_[0] / 8, atol=1e-5) == learnt


def test_the_server_with_k_minus_1_clients_learns_the_others_sum() -> None:
    """And no more: what they hold of an update are K-1 shares, which fit any (tests/crypto)."""
    given_ = updates(8)
    own = [client(n) for n in range(3, 8)]
    _, wire = round_of(sharing(), given_, watched=[SERVER, *own])
    sums = [m for m in wire.view() if m.topic == "update"]
    total = Shamir(6, 8).reconstruct(
        np.stack([dense(m.payload(), "shares").numpy().astype(np.uint64) for m in sums]), range(8)
    )
    others = Decimals(MERSENNE_61, 6).decode(total) - given_[3:].sum(0) / 8
    assert torch.allclose(others, given_[:3].sum(0) / 8, atol=1e-5)
    assert {m.sender for m in wire.view() if m.topic == "share" and m.receiver in own} >= {client(0)}
    assert len([m for m in wire.view() if m.topic == "share" and m.sender == client(0)]) == 5


@pytest.mark.parametrize("reproducible", [True, False])
def test_reproducible_shares_are_the_same_in_every_run(reproducible: bool) -> None:
    runs = []
    for _ in range(2):
        _, wire = round_of(sharing(check="tags", reproducible=reproducible), updates(6), watched=[SERVER, client(1)])
        runs.append([(m.topic, m.sender, m.data) for m in wire.view()])
    assert (runs[0] == runs[1]) is reproducible


@pytest.mark.parametrize("field", list(FIELDS))
@pytest.mark.parametrize("check", ["none", "code", "tags"])
@pytest.mark.parametrize("count", [6, 9])
def test_bytes_are_those_of_the_formula(check: str, field: str, count: int) -> None:
    statistics = torch.zeros(count, 3)
    _, wire = round_of(sharing(check=check, field=field), updates(count), statistics=statistics)
    checks = 2 if check == "tags" else 0
    share, marks = (DTYPES[field], (LAYOUT.size + 3 + checks,)), (torch.uint8, (count,))
    up = frame_bytes({"heard": marks}) + frame_bytes({"shares": share})
    down = frame_bytes({"dealers": marks})
    if checks:
        up += frame_bytes({"tags": (DTYPES[field], (count, checks))})
        down += frame_bytes({"seed": (torch.uint8, (32,))})
    peers = (count - 1) * frame_bytes({"share": share})
    both = joining(count)
    for name in map(client, range(count)):
        assert sum(phase.traffic[name].sent for phase in wire.phases) == both.up + up + peers
        assert sum(phase.traffic[name].received for phase in wire.phases) == both.down + down + peers


INTEGERS = torch.zeros(LAYOUT.size + 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        ("join", {"samples": torch.tensor([-3]), "key": torch.zeros(0, dtype=torch.uint8)}),
        ("join", {"samples": torch.tensor([3]), "key": torch.zeros(7, dtype=torch.uint8)}),
        ("join", {}),
        ("dealt", {"heard": torch.ones(7)}),
        ("dealt", {"heard": torch.ones(6, dtype=torch.uint8)}),
        ("dealt", {"heard": torch.full((7,), 2, dtype=torch.uint8)}),
        ("update", {"shares": INTEGERS.double()}),
        ("update", {"shares": INTEGERS[:-1]}),
        ("update", {"shares": INTEGERS - 1}),
        ("update", {"shares": INTEGERS + MERSENNE_61.prime}),
        ("update", {"sums": INTEGERS}),
        ("tags", {"tags": torch.zeros(7, 2)}),
        ("tags", {"tags": torch.zeros(2, 7, dtype=torch.int64)}),
        ("tags", {"tags": torch.full((7, 2), -1)}),
    ],
)
def test_a_message_that_makes_no_sense_counts_as_none(step: str, parts: dict[str, Tensor]) -> None:
    given_, defense = updates(7), sharing(threshold=5, check="tags")
    garbling = Garbling(party(defense, 0, given_), step, parts, [SERVER])
    collector, _ = round_of(defense, given_, replace={0: garbling})
    assert is_mean(collector, given_[1:] if step == "join" else given_)
    assert collector.incidents


@pytest.mark.parametrize("shares", [INTEGERS[:3], INTEGERS.double(), INTEGERS - 1, INTEGERS + MERSENNE_61.prime])
def test_a_dealer_of_what_makes_no_sense_is_left_out(shares: Tensor) -> None:
    given_, defense = updates(7), sharing(threshold=5, check="tags")
    peers = [client(n) for n in range(6)]
    garbling = Garbling(party(defense, 6, given_), "share", {"share": shares}, peers)
    collector, _ = round_of(defense, given_, replace={6: garbling})
    assert is_mean(collector, given_[:6])


@pytest.mark.parametrize("step", ["update", "tags"])
def test_the_server_takes_nothing_that_it_did_not_ask_for(step: str) -> None:
    given_, defense = updates(7), sharing(threshold=5, check="tags")
    words = {"shares": INTEGERS} if step == "update" else {"tags": torch.zeros(7, 2, dtype=torch.int64)}

    class Uninvited(Garbling):
        def say(self, step: str) -> Said:
            return () if step in ("share", "dealt") else super().say(step)

    collector, _ = round_of(defense, given_, replace={2: Uninvited(party(defense, 2, given_), step, words, [SERVER])})
    assert is_mean(collector, given_[[n for n in range(7) if n != 2]])
    assert any("that nobody asked for" in incident for incident in collector.incidents)


def joined(defense: HorizontalDefense, count: int = 4, places: Sequence[int] | None = None) -> Party:
    """Client 1 of a round, told a roster of all by default."""
    member = party(defense, 1, updates(count))
    numbers = torch.tensor(list(range(count)) if places is None else places)
    parts = {"places": numbers, "samples": torch.ones_like(numbers), "keys": torch.zeros(len(numbers), 0).byte()}
    member.hear("roster", SERVER, Payload({name: Dense(tensor) for name, tensor in parts.items()}))
    return member


def said(member: Party, step: str) -> list[tuple[str, Payload]]:
    return list(member.say(step))


@pytest.mark.parametrize("places", [[0, 2, 3], [0, 1, 1], [0, 1]])
def test_a_roster_that_cannot_be_played_is_refused(places: list[int]) -> None:
    with pytest.raises(CodecError, match="a roster without this client"):
        joined(sharing(threshold=3), places=places)


def test_a_client_adds_up_for_enough_dealers_only_and_once() -> None:
    defense = sharing(threshold=3)
    member = joined(defense)
    said(member, "share")
    share = Payload({"share": Dense(INTEGERS[:-2])})
    for sender in (client(0), client(2)):
        member.hear("share", sender, share)
    for sender in (client(0), client(1), client(9), SERVER):
        with pytest.raises(CodecError, match="nobody waits for"):
            member.hear("share", sender, share)
    for marks in ([1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 1, 2], [1, 1, 1]):
        dealers = Payload({"dealers": Dense(torch.tensor(marks, dtype=torch.uint8))})
        with pytest.raises(CodecError):
            member.hear("dealers", SERVER, dealers)
    asked = Payload({"dealers": Dense(torch.tensor([1, 1, 1, 0], dtype=torch.uint8))})
    member.hear("dealers", client(2), asked)
    assert not said(member, "update")
    member.hear("dealers", SERVER, asked)
    assert len(said(member, "update")) == 1
    assert not said(member, "update")


def test_a_dealer_answers_one_challenge_of_the_server() -> None:
    member = joined(sharing(threshold=3, check="tags"))
    said(member, "share")
    seed = Payload({"seed": Dense(torch.zeros(32, dtype=torch.uint8))})
    with pytest.raises(CodecError, match="seed"):
        member.hear("challenge", SERVER, Payload({"seed": Dense(torch.zeros(0, dtype=torch.uint8))}))
    member.hear("challenge", client(2), seed)
    assert not said(member, "tags")
    member.hear("challenge", SERVER, seed)
    assert [receiver for receiver, _ in said(member, "tags")] == [SERVER]
    assert not said(member, "tags")


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(UserError, match=r"threshold=1: .* greater than or equal to 2"):
        sharing(threshold=1)
    with pytest.raises(UserError, match=r"with 10 decimals the prime 2147483647 holds values up to 0\.107"):
        sharing(decimals=10, field="2^31-1")
    with pytest.raises(UserError, match="with 19 decimals the prime 2305843009213693951"):
        sharing(decimals=19)
    with pytest.raises(UserError, match="decimals=-1"):
        sharing(decimals=-1)
    with pytest.raises(UserError, match="field"):
        sharing(field="2^13-1")
    with pytest.raises(UserError, match="check"):
        sharing(check="mac")
    with pytest.raises(SkipCell, match="threshold=6 needs at least 6 clients in a round, not 4"):
        round_of(sharing(), updates(4))


def test_an_update_that_does_not_fit_is_refused_by_layer_value_and_bound() -> None:
    given_ = updates(6)
    given_[3, 17] = 9e9
    with pytest.raises(RangeError, match=r"layer 'dense.weight', entry 1: 1.5e\+09 does not fit: .* at most 178.957"):
        round_of(sharing(field="2^31-1"), given_)
