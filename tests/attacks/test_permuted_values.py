"""Attacks on permuted values, on real views of RTAS."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from fl_attack_bench.attacks.rank_matching import RankMatching, left_over, simulate
from fl_attack_bench.attacks.repeated_values import RepeatedValues
from fl_attack_bench.defenses.rtas import Rtas
from fl_attack_bench.defenses.rtas_fast import RtasFast
from outsourced_views import VICTIMS, blind, digits, error, knowing, play, truth

from fl_attack_bench.api import OutsourcedView, SkipCell
from fl_attack_bench.inversion.sorted_values import simulated
from fl_attack_bench.models import stack
from fl_attack_bench.seeds import Streams


@cache
def seen(size: int, arithmetic: str = "ring", count: int = 48) -> OutsourcedView:
    view = play(Rtas(arithmetic=arithmetic), "third", torch.arange(count).split(size))
    return replace(view, weights=stack.initial(view.plan.layers, torch.Generator().manual_seed(0)))


def rank(view: OutsourcedView) -> float:
    return error(RankMatching().reconstruct(view, Streams(0)), view)


def test_a_batch_of_one_gives_its_image_away_in_part_and_a_large_one_does_not():
    assert rank(seen(1)) < 0.75 * blind(seen(1))
    assert 0.7 * blind(seen(24)) < rank(seen(24)) < 1.1 * blind(seen(24))


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_floating_point_is_no_worse_than_a_blind_guess(arithmetic: str):
    assert rank(seen(1, arithmetic)) < 1.05 * blind(seen(1))


def test_known_samples_of_the_batch_are_taken_out():
    view = knowing(seen(2), range(1, 48, 2))
    alone = replace(view, victims=torch.arange(0, VICTIMS, 2))
    values = left_over(alone)
    images = digits()[0][:VICTIMS:2]
    for number, (unknown, layers) in values.items():
        assert unknown == 1
        for layer, single in enumerate(simulated(view.plan.layers, view.weights or (), images[number : number + 1])):
            assert float((layers[layer] - single[0].sort().values).abs().mean()) < 1e-3
    assert rank(alone) < 0.75 * blind(alone)


def test_simulated_batches_hold_different_samples():
    batches = simulate(torch.zeros(50, 1), 8, torch.Generator().manual_seed(0))
    assert batches.shape == (24, 8)
    assert all(len(row.unique()) == 8 for row in batches)
    assert torch.equal(simulate(torch.zeros(3, 1), 1, torch.Generator()), torch.tensor([[0], [1], [2]]))


def test_too_few_public_samples_leave_the_blind_guess():
    view = replace(seen(8), auxiliary=seen(8).auxiliary[:10])
    found = RankMatching().reconstruct(view, Streams(0))
    assert torch.equal(found[3], view.auxiliary.double().mean(0))


def test_all_samples_of_a_batch_get_the_same_image():
    found = RankMatching().reconstruct(seen(4), Streams(0))
    assert torch.equal(found[0], found[3])
    assert not torch.equal(found[0], found[4])


def repeating(size: int, arithmetic: str = "ring") -> OutsourcedView:
    """The victims' records are predicted once more under other ids, which the adversary knows."""
    images = digits()[0].clone()
    images[40 : 40 + VICTIMS] = images[:VICTIMS]
    batches = torch.arange(48).split(size)
    view = play(Rtas(arithmetic=arithmetic), "third", batches, features=images)
    known = torch.arange(32, 48)
    return replace(view, known=known, known_features=images[known], auxiliary=view.auxiliary[:0])


@pytest.mark.parametrize("arithmetic", ["ring", "float64"])
def test_a_record_that_was_seen_before_is_recognised(arithmetic: str):
    view = repeating(1, arithmetic)
    torch.testing.assert_close(RepeatedValues().reconstruct(view, Streams(0)), truth(view))


def test_in_a_larger_batch_it_is_one_of_several():
    view = repeating(4)
    found = RepeatedValues().reconstruct(view, Streams(0))
    torch.testing.assert_close(found[:4], truth(view)[:4].mean(0).expand(4, -1, -1, -1))


def test_noise_on_every_value_prevents_the_link():
    view = repeating(1, "float32")
    assert error(RepeatedValues().reconstruct(view, Streams(0)), view) > 0.01


@pytest.mark.parametrize("size", [1, 4, 16])
def test_without_a_repeated_record_neighbours_say_something_or_nothing_is_lost(size: int):
    view = knowing(seen(size), range(VICTIMS, 48), public=False)
    found = error(RepeatedValues().reconstruct(view, Streams(0)), view)
    assert found < (0.9 if size == 1 else 1.1) * blind(view)


def test_values_in_order_or_none_at_all_are_another_attacks():
    view = play(RtasFast(), "labels", [torch.arange(8)])
    for attack in (RankMatching(), RepeatedValues()):
        with pytest.raises(SkipCell):
            attack.reconstruct(replace(view, weights=seen(1).weights), Streams(0))
    with pytest.raises(SkipCell, match="weights"):
        RankMatching().reconstruct(replace(seen(1), weights=None), Streams(0))


@pytest.mark.parametrize("attack", [RankMatching(), RepeatedValues()], ids=repr)
def test_the_same_streams_give_the_same_result(attack):
    view = knowing(seen(4), range(VICTIMS, 20))
    before = torch.get_rng_state()
    assert torch.equal(attack.reconstruct(view, Streams(0)), attack.reconstruct(view, Streams(0)))
    assert torch.equal(before, torch.get_rng_state())
