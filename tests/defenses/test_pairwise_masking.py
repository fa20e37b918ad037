"""Pairwise masking as a protocol: the right mean whoever vanishes, uniform uploads, and what is altered is noticed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import LAYOUT, Garbling, made, party, round_of, updates

from fl_attack_bench.aggregation import Said
from fl_attack_bench.api import (
    HorizontalDefense,
    Layout,
    Party,
    Payload,
    RoundFailed,
    SkipCell,
    dense,
)
from fl_attack_bench.codec import Dense, encode
from fl_attack_bench.crypto.ring import FixedPoint
from fl_attack_bench.errors import UserError
from fl_attack_bench.wire import client


def masking(**parameters: object) -> HorizontalDefense:
    return made("pairwise_masking", **parameters)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 50), st.sampled_from([0.51, 2 / 3, 1.0]), st.integers(0, 2**31))
def test_the_masks_cancel(count: int, threshold: float, seed: int) -> None:
    given_ = updates(count, seed)
    samples = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(seed))
    collector, _ = round_of(masking(threshold=threshold), given_, samples.tolist())
    wanted = ((samples.double() / samples.sum())[:, None] * given_.double()).sum(0)
    error = (collector.mean().update.flat.double() - wanted).abs().max()
    assert error <= FixedPoint(24).error(count) + 1e-6


@pytest.mark.parametrize("step", ["join", "shares", "update", "reveal"])
@pytest.mark.parametrize("gone", [[0], [4], [1, 3]])
def test_who_vanishes_is_done_without_at_every_step(step: str, gone: list[int]) -> None:
    given_ = updates(7)
    samples = [3, 1, 4, 1, 5, 9, 2]
    collector, _ = round_of(masking(threshold=0.51), given_, samples, drop=dict.fromkeys(gone, step))
    in_it = [n for n in range(7) if step == "reveal" or n not in gone]
    weights = torch.tensor([float(samples[n]) for n in in_it])
    wanted = (weights[:, None] * given_[in_it]).sum(0) / weights.sum()
    assert torch.allclose(collector.mean().update.flat, wanted, atol=1e-5)


def test_vanishing_at_several_steps_at_once() -> None:
    given_ = updates(10)
    collector, _ = round_of(masking(threshold=0.51), given_, drop={0: "join", 3: "shares", 5: "update", 8: "reveal"})
    assert torch.allclose(collector.mean().update.flat, given_[[1, 2, 4, 6, 7, 8, 9]].mean(0), atol=1e-5)


@pytest.mark.parametrize(
    ("step", "says"),
    [("update", "3 of 6 clients sent a masked update; 4 must"), ("reveal", "3 of 6 clients sent what unmasks")],
)
def test_fewer_than_the_threshold_make_the_round_fail(step: str, says: str) -> None:
    collector, _ = round_of(masking(), updates(6), drop=dict.fromkeys((0, 2, 4), step))
    with pytest.raises(RoundFailed, match=says):
        collector.mean()


@pytest.mark.parametrize("value", [0.0, 1e-3, 123.456])
def test_what_the_server_hears_is_uniform_whatever_the_update(value: float) -> None:
    layout = Layout(("only.weight",), ((4000,),))
    _, wire = round_of(masking(reproducible=True), torch.full((4, 4000), value), layout=layout)
    sent = [dense(m.payload(), "masked").view(torch.uint8) for m in wire.view() if m.topic == "update"]
    counts = torch.bincount(torch.cat(sent).long(), minlength=256).double()
    expected = counts.sum() / 256
    assert float(((counts - expected) ** 2 / expected).sum()) < 255 + 5 * (2 * 255) ** 0.5


def test_nothing_is_read() -> None:
    defense = masking(reproducible=True)
    _, wire = round_of(defense, updates(3))
    payload = next(m.payload() for m in wire.view() if m.topic == "update")
    seen = defense.read(payload, LAYOUT)
    assert not seen.sent.any()
    assert seen.noise.isinf().all()


def test_the_upload_is_twice_a_plain_one() -> None:
    layout = Layout(("only.weight",), ((50_000,),))
    _, wire = round_of(masking(), torch.zeros(10, 50_000), layout=layout)
    sent = sum(phase.traffic[client(0)].sent for phase in wire.phases)
    plain = len(encode(Payload.dense(torch.zeros(50_000))))
    assert 2.0 < sent / plain < 2.02


class Altering(Party):
    """An honest client but for what it reveals at the end."""

    def __init__(self, honest: Party) -> None:
        self._honest = honest

    def say(self, step: str) -> Said:
        for receiver, payload in self._honest.say(step):
            if step == "reveal":
                yield receiver, Payload({name: Dense(dense(payload, name) + 1) for name in payload.parts})
            else:
                yield receiver, payload

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)


def test_altered_reveals_are_corrected_up_to_the_code_and_reported_beyond() -> None:
    given_, defense = updates(10), masking(threshold=0.6)
    altering = {n: Altering(party(defense, n, given_)) for n in (2, 5, 7)}
    corrected, _ = round_of(defense, given_, replace={n: altering[n] for n in (2, 5)})
    assert torch.allclose(corrected.mean().update.flat, given_.mean(0), atol=1e-5)
    assert sorted(corrected.incidents) == [f"client/{n}: altered the shares it revealed" for n in (2, 5)]
    altering = {n: Altering(party(defense, n, given_)) for n in (2, 5, 7)}
    reported, _ = round_of(defense, given_, replace=dict(altering))
    with pytest.raises(RoundFailed, match="what unmasks the sum was altered"):
        reported.mean()


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        ("join", {"samples": torch.tensor([-3]), "key": torch.zeros(64, dtype=torch.uint8)}),
        ("join", {"samples": torch.tensor([1.0]), "key": torch.zeros(64, dtype=torch.uint8)}),
        ("join", {}),
        ("shares", {"sealed": torch.zeros(2, 3)}),
        ("update", {"masked": torch.zeros(3, dtype=torch.int64)}),
        ("update", {"masked": torch.zeros(LAYOUT.size)}),
        ("reveal", {"seeds": torch.zeros(1, 1), "keys": torch.zeros(0)}),
        ("reveal", {"seeds": torch.zeros(0, 8, dtype=torch.int64), "keys": torch.zeros(0, 3, dtype=torch.int64)}),
    ],
)
def test_a_message_that_makes_no_sense_counts_as_none(step: str, parts: dict[str, torch.Tensor]) -> None:
    given_, defense = updates(6), masking(threshold=0.51)
    collector, _ = round_of(defense, given_, replace={1: Garbling(party(defense, 1, given_), step, parts)})
    in_it = list(range(6)) if step == "reveal" else [0, 2, 3, 4, 5]
    assert torch.allclose(collector.mean().update.flat, given_[in_it].mean(0), atol=1e-5)
    assert collector.incidents


def test_a_public_key_of_low_order_lets_nobody_join() -> None:
    given_, defense = updates(6), masking(threshold=0.51)
    weak = {"samples": torch.tensor([1]), "key": torch.zeros(64, dtype=torch.uint8)}
    collector, _ = round_of(defense, given_, replace={1: Garbling(party(defense, 1, given_), "join", weak)})
    assert torch.allclose(collector.mean().update.flat, given_[[0, 2, 3, 4, 5]].mean(0), atol=1e-5)
    assert "low order" in collector.incidents[0]


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(UserError, match="threshold"):
        masking(threshold=0.5)
    with pytest.raises(UserError, match="fraction_bits"):
        masking(fraction_bits=53)
    with pytest.raises(SkipCell, match="at least 2 clients"):
        round_of(masking(), updates(1))


def test_who_claims_nearly_all_samples_and_vanishes_makes_the_round_fail() -> None:
    collector, _ = round_of(masking(), updates(10), samples=[2**24, *[40] * 9], drop={0: "update"})
    with pytest.raises(RoundFailed, match=r"hold 0\.0% of all samples; 10% must stay"):
        collector.mean()
