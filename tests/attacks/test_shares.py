"""Attacks by a compute party, on real views."""

from dataclasses import replace

import pytest
import torch
from fl_attack_bench.attacks.clear_reading import ClearReading
from fl_attack_bench.attacks.one_share import OneShare
from fl_attack_bench.attacks.opening_average import OpeningAverage
from fl_attack_bench.defenses.none import NoDefense
from fl_attack_bench.defenses.rtas import Rtas
from outsourced_views import blind, digits, error, knowing, play, truth

from fl_attack_bench.api import SkipCell
from fl_attack_bench.inversion.sightings import summed
from fl_attack_bench.seeds import Streams
from fl_attack_bench.sharing import observation

BATCHES = [torch.arange(start, start + 16) % 32 for start in range(0, 160, 16)]  # each sample five times


def test_what_arrives_in_the_clear_is_read():
    view = play(NoDefense(), "compute/0", torch.arange(24).split(8))
    assert torch.equal(ClearReading().reconstruct(view, Streams(0)), truth(view))
    with pytest.raises(SkipCell, match="clear"):
        ClearReading().reconstruct(play(Rtas(), "compute/0", [torch.arange(8)]), Streams(0))


@pytest.mark.parametrize("party", ["compute/0", "compute/1"])
def test_a_share_in_the_ring_says_nothing(party: str):
    view = knowing(play(Rtas(), party, [torch.arange(8)]), [30])
    found = OneShare(party=party).reconstruct(view, Streams(0))
    mean = torch.cat([view.auxiliary, view.known_features]).double().mean(0)
    assert torch.equal(found, mean.expand_as(found))
    assert error(found, view) == blind(view)


def test_the_second_share_of_floating_point_says_something_and_the_first_one_nothing():
    errors = {}
    for std in (0.1, 0.5, 100.0):
        defense = Rtas(arithmetic="float64", mask_std=std)
        for party in ("compute/0", "compute/1"):
            view = play(defense, party, [torch.arange(8)])
            errors[party, std] = error(OneShare(party=party).reconstruct(view, Streams(0)), view)
    blank = blind(view)
    assert [errors["compute/0", std] for std in (0.1, 0.5, 100.0)] == [blank] * 3
    assert errors["compute/1", 0.1] < 0.1**2
    assert errors["compute/1", 0.1] < errors["compute/1", 0.5] < 0.9 * blank
    assert errors["compute/1", 100.0] == pytest.approx(blank, rel=0.05)


def test_a_sample_that_is_predicted_again_is_shared_out_anew_and_seen_better():
    defense, errors = Rtas(arithmetic="float64", mask_std=1.0), []
    for times in (1, 16):
        view = play(defense, "compute/1", [torch.arange(8)] * times)
        errors.append(error(OneShare().reconstruct(view, Streams(0)), view))
    averaged = play(Rtas(arithmetic="float64", mask_std=0.25), "compute/1", [torch.arange(8)])
    assert errors[1] < 0.6 * errors[0]
    # sixteen shares under masks of deviation 1 are one under a mask of deviation 1/4
    assert errors[1] == pytest.approx(error(OneShare().reconstruct(averaged, Streams(0)), averaged), rel=0.2)


def test_the_error_of_an_average_of_t_openings_is_the_masks_variance_over_t():
    std = 3.0
    for count in (5, 10):
        view = play(
            Rtas(arithmetic="float64", mask_std=std, masks="fresh"), "compute/0", BATCHES[:2] * count, training=True
        )
        everybody = torch.arange(32)
        sources = [(seen.rows, seen.values) for seen in observation.opened_features(view)]
        total, times = summed(sources, everybody, view.plan.inputs)
        assert times.tolist() == [count] * 32
        error_of_mean = (total / count - digits()[0][:32]).square().mean()
        assert float(error_of_mean) == pytest.approx(std**2 / count, rel=0.1)


def test_new_masks_leak_and_one_mask_does_not():
    errors = {}
    for party in ("compute/0", "compute/1"):
        for masks in ("fixed", "fresh"):
            defense = Rtas(arithmetic="float64", mask_std=0.3, masks=masks)
            view = play(defense, party, BATCHES, training=True)
            errors[party, masks] = error(OpeningAverage(party=party).reconstruct(view, Streams(0)), view)
        assert errors[party, "fresh"] < 0.6 * errors[party, "fixed"] < 0.6 * blind(view)
    assert errors["compute/1", "fixed"] < errors["compute/0", "fixed"]  # its share is one more opening


def test_openings_in_the_ring_say_nothing():
    view = play(Rtas(masks="fresh"), "compute/1", BATCHES[:2], training=True)
    found = OpeningAverage(party="compute/1").reconstruct(view, Streams(0))
    assert torch.equal(found, view.auxiliary.double().mean(0).expand_as(found))


def test_a_victim_that_was_never_opened_gets_the_blind_guess():
    defense = Rtas(arithmetic="float64", masks="fresh")
    view = replace(play(defense, "compute/0", BATCHES[:1], training=True), victims=torch.tensor([3, 30]))
    found = OpeningAverage().reconstruct(view, Streams(0))
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[1], view.auxiliary.double().mean(0))


def test_other_parties_hold_no_share():
    view = play(Rtas(), "third", [torch.arange(8)])
    for attack in (OneShare(), OpeningAverage()):
        with pytest.raises(SkipCell, match="share"):
            attack.reconstruct(view, Streams(0))
