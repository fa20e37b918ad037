"""Additive sharing as a protocol: the right mean, nothing for the server, who learns an update, who may leave."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import LAYOUT, made, round_of, updates

from fl_attack_bench.aggregation import Said
from fl_attack_bench.api import HorizontalDefense, Layout, Party, Payload, RoundFailed, SkipCell, dense
from fl_attack_bench.codec import Dense, encode
from fl_attack_bench.crypto.ring import FixedPoint, RangeError
from fl_attack_bench.wire import SERVER, Wire, client


def sharing(**parameters: object) -> HorizontalDefense:
    return made("additive_sharing", **{"reproducible": True, **parameters})


def heard_by(wire: Wire, name: str, topic: str) -> dict[str, Payload]:
    return {m.sender: m.payload() for m in wire.view() if m.receiver == name and m.topic == topic}


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 50),
    st.booleans(),
    st.sampled_from(["all", "first", "dense"]),
    st.integers(8, 40),
    st.integers(0, 2**31),
)
def test_the_sum_is_the_weighted_mean(count: int, own: bool, layers: str, bits: int, seed: int) -> None:
    if count == 2:
        own = True
    given_ = updates(count, seed)
    samples = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(seed))
    defense = sharing(layers=layers, own_share=own, fraction_bits=bits)
    collector, _ = round_of(defense, given_, samples.tolist())
    shares = samples.double() / samples.sum()
    wanted = (shares[:, None] * given_.double()).sum(0)
    error = (collector.mean().update.flat.double() - wanted).abs().max()
    assert error <= FixedPoint(bits).error(count) + 1e-6


def test_statistics_are_averaged_as_a_shared_layer() -> None:
    statistics = torch.arange(6.0).view(3, 2)
    collector, wire = round_of(sharing(layers="first"), updates(3), [1, 1, 2], statistics)
    wanted = statistics[0] / 4 + statistics[1] / 4 + statistics[2] / 2
    assert torch.allclose(collector.mean().statistics, wanted, atol=1e-6)
    sent = heard_by(wire, SERVER, "update")[client(0)]
    assert dense(sent, "sums").numel() == 12 + 4 + 2
    assert dense(sent, "clear").numel() == 8 + 2


def test_the_server_reads_the_clear_layers_and_no_others() -> None:
    given_ = updates(4)
    defense = sharing(layers="first")
    _, wire = round_of(defense, given_)
    seen = defense.read(heard_by(wire, SERVER, "update")[client(2)], LAYOUT)
    assert torch.equal(seen.sent, torch.arange(LAYOUT.size) >= 16)
    assert torch.equal(seen.values[16:], given_[2, 16:])
    assert seen.noise[:16].isinf().all()
    assert (seen.values[:16].abs() > 1e3).any()  # a share's worth, for whoever takes it for the gradient


def test_what_the_server_hears_does_not_tell_two_updates_apart() -> None:
    # The shares come from the same stream for both, so a sum in which the update's own rest stood would differ.
    sent = [
        heard_by(round_of(sharing(), given_)[1], SERVER, "update")
        for given_ in (torch.zeros(5, LAYOUT.size), torch.cat([1000 * updates(1), torch.zeros(4, LAYOUT.size)]))
    ]
    changed = [name for name in sent[0] if not torch.equal(dense(sent[0][name], "sums"), dense(sent[1][name], "sums"))]
    # All that depends on client 0's update is the last share, which goes to one peer and is uniform by itself.
    assert changed == [client(4)]


def bytes_of_sums(value: float) -> torch.Tensor:
    layout = Layout(("only.weight",), ((4000,),))
    _, wire = round_of(sharing(), torch.full((4, 4000), value), layout=layout)
    sums = [dense(payload, "sums") for payload in heard_by(wire, SERVER, "update").values()]
    return torch.cat([s.view(torch.uint8) for s in sums])


@pytest.mark.parametrize("value", [0.0, 1e-3, 123.456])
def test_the_bytes_that_the_server_hears_are_uniform(value: float) -> None:
    counts = torch.bincount(bytes_of_sums(value).long(), minlength=256).double()
    expected = counts.sum() / 256
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < 255 + 5 * (2 * 255) ** 0.5


@pytest.mark.parametrize(("own", "learnt"), [(False, True), (True, False)])
def test_the_server_with_all_but_two_clients_learns_both_unless_they_keep_a_share(own: bool, learnt: bool) -> None:
    given_ = updates(4)
    colluders = [SERVER, client(2), client(3)]
    defense = sharing(own_share=own)
    _, wire = round_of(defense, given_, watched=colluders)
    # Client 1's sum without the shares that the colluders themselves sent to it; these they know, here by replay.
    _, whole = round_of(defense, given_, watched=[client(1)])
    known = sum(dense(heard_by(whole, client(1), "share")[name], "share") for name in colluders[1:])
    rest = dense(heard_by(wire, SERVER, "update")[client(1)], "sums") - known
    own_shares = [dense(heard_by(wire, name, "share")[client(0)], "share") for name in colluders[1:]]
    found = FixedPoint(24).decode((rest + sum(own_shares)).numpy())
    assert torch.allclose(found, given_[0] / 4, atol=1e-6) == learnt


def test_all_other_clients_together_learn_an_update_without_the_server() -> None:
    given_ = updates(4)
    peers = [client(n) for n in (1, 2, 3)]
    _, wire = round_of(sharing(), given_, watched=peers)
    total = sum(dense(heard_by(wire, peer, "share")[client(0)], "share") for peer in peers)
    assert torch.allclose(FixedPoint(24).decode(total.numpy()), given_[0] / 4, atol=1e-6)


@pytest.mark.parametrize("step", ["share", "update"])
def test_who_vanishes_after_the_roster_makes_the_round_fail(step: str) -> None:
    collector, _ = round_of(sharing(), updates(5), drop={1: step})
    with pytest.raises(RoundFailed, match=r"of 5 clients sent a complete sum of shares; all must"):
        collector.mean()


def test_who_does_not_join_is_done_without() -> None:
    given_ = updates(5)
    collector, _ = round_of(sharing(), given_, drop={1: "join"})
    assert torch.allclose(collector.mean().update.flat, given_[[0, 2, 3, 4]].mean(0), atol=1e-6)


def test_too_few_who_join_make_the_round_fail() -> None:
    collector, _ = round_of(sharing(), updates(4), drop={1: "join", 2: "join"})
    with pytest.raises(RoundFailed, match="2 of 4 clients joined; 3 must"):
        collector.mean()


@pytest.mark.parametrize(("count", "own", "least"), [(1, True, 2), (2, False, 3)])
def test_too_few_clients_are_refused(count: int, own: bool, least: int) -> None:
    with pytest.raises(SkipCell, match=f"at least {least} clients"):
        round_of(sharing(own_share=own), updates(count))


def test_a_value_that_does_not_fit_is_named_with_its_layer() -> None:
    given_ = updates(3)
    given_[1, 17] = 1e6
    with pytest.raises(RangeError, match=r"'dense\.weight', entry 1"):
        round_of(sharing(fraction_bits=48), given_)


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(SkipCell, match="no layer 'middle'; legal: all, first, conv, dense"):
        round_of(sharing(layers="middle"), updates(3))


def test_metered_bytes_are_those_of_the_shares() -> None:
    _, wire = round_of(sharing(layers="first"), updates(6))
    share = len(encode(Payload({"share": Dense(torch.zeros(16, dtype=torch.int64))})))
    (phase,) = (phase for phase in wire.phases if phase.topic == "share")
    assert {traffic.sent for traffic in phase.traffic.values()} == {5 * share}


class Uninvited(Party):
    """Never joins, and sends a sum all the same."""

    def say(self, step: str) -> Said:
        if step == "update":
            sums = torch.zeros(LAYOUT.size, dtype=torch.int64)
            parts = {"sums": Dense(sums), "clear": Dense(torch.zeros(0)), "heard": Dense(torch.tensor([3]))}
            yield SERVER, Payload(parts)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        pass


def test_a_sum_of_somebody_who_did_not_join_is_not_counted() -> None:
    collector, _ = round_of(sharing(), updates(5), drop={2: "share"}, replace={1: Uninvited()})
    with pytest.raises(RoundFailed, match=r"of 4 clients sent a complete sum"):
        collector.mean()
    collector, _ = round_of(sharing(), updates(3), drop={2: "join"}, replace={1: Uninvited()})
    with pytest.raises(RoundFailed, match="1 of 3 clients joined"):
        collector.mean()
