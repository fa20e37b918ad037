"""Attacks on the first layer's outputs, on real views of RTAS-fast."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from fl_attack_bench.attacks.feature_maps import FeatureMaps, enlarged, most_frequent
from fl_attack_bench.attacks.known_pairs import KnownPairs
from fl_attack_bench.attacks.mean_matching import MeanMatching
from fl_attack_bench.defenses.rtas import Rtas
from fl_attack_bench.defenses.rtas_fast import RtasFast
from outsourced_views import CONVOLUTION, DENSE, blind, error, knowing, play, truth

from fl_attack_bench.api import OutsourcedAttack, OutsourcedView, SkipCell
from fl_attack_bench.errors import UserError
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.outsourced import Layer

ATTACKS = (KnownPairs(), KnownPairs(linked=False), KnownPairs(structure=False), MeanMatching(), FeatureMaps())


@cache
def seen(arithmetic: str = "ring", trainer: str = "labels", dense: bool = False) -> OutsourcedView:
    batches = torch.arange(200).split(20)
    defense = RtasFast(arithmetic=arithmetic, trainer=trainer)
    return play(defense, trainer, batches, layers=DENSE if dense else CONVOLUTION)


def invert(attack: OutsourcedAttack, view: OutsourcedView) -> float:
    return error(attack.reconstruct(view, Streams(0)), view)


@pytest.mark.parametrize("trainer", ["labels", "third"])
@pytest.mark.parametrize("linked", [True, False])
def test_one_known_image_gives_all_images(trainer: str, linked: bool):
    view = knowing(seen(trainer=trainer), [150], public=False)
    assert invert(KnownPairs(party=trainer, linked=linked), view) < 1e-8


def test_many_unlinked_images_are_no_harder_than_one():
    view = knowing(seen(), range(199, 99, -1))
    assert invert(KnownPairs(linked=False), view) < 1e-8
    # It reads neither the ids nor the batches of what is known.
    hidden = replace(view, known=torch.zeros_like(view.known))
    assert invert(KnownPairs(linked=False), hidden) < 1e-8


def test_float32_shares_with_large_masks_blur_the_values_and_no_more():
    view = knowing(seen("float32"), [150])
    assert 1e-6 < invert(KnownPairs(), view) < 0.1 * blind(view)


def test_without_the_structure_many_pairs_are_needed():
    errors = [invert(KnownPairs(structure=False), knowing(seen(), range(20, 20 + m))) for m in (1, 8, 180)]
    assert errors[0] > errors[1] > 10 * errors[2]
    assert errors[2] < 0.05 * blind(seen())


def test_a_dense_layer_takes_more_pairs_and_cannot_be_linked():
    errors = [invert(KnownPairs(), knowing(seen(dense=True), range(20, 20 + m))) for m in (4, 180)]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.5 * blind(seen(dense=True))
    with pytest.raises(SkipCell, match="dense"):
        KnownPairs(linked=False).reconstruct(knowing(seen(dense=True), [30]), Streams(0))


def test_public_images_alone_give_the_filters():
    view = seen()
    assert invert(MeanMatching(), view) < 0.2 * blind(view)


def test_the_maps_are_a_picture():
    view = replace(seen(), auxiliary=seen().auxiliary[:0])
    found, wanted = FeatureMaps().reconstruct(view, Streams(0)), truth(view)
    error(found, view)
    likeness = torch.corrcoef(torch.cat([found.flatten(1), wanted.flatten(1)]))[: len(found), len(found) :]
    assert (likeness.diagonal() > 0.6).all()
    assert likeness.diagonal().mean() > likeness.mean() + 0.2


def test_maps_are_enlarged_to_where_their_patches_were():
    maps = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    maps[0, 0, 1, 2] = 1
    picture = enlarged(maps, 2, 2, (7, 7))[0, 0]
    wanted = torch.zeros(7, 7, dtype=torch.float64)
    wanted[2:4, 4:6] = 1  # the last row and column are in no patch
    torch.testing.assert_close(picture, wanted)
    apart = enlarged(torch.ones(1, 1, 2, 2, dtype=torch.float64), 1, 3, (5, 4))[0, 0]
    assert apart.nonzero().tolist() == [[0, 0], [0, 3], [3, 0], [3, 3]]  # between patches is nothing
    constant = enlarged(torch.full((2, 1, 5, 5), 0.3, dtype=torch.float64), 4, 2, (12, 12))
    torch.testing.assert_close(constant, torch.full_like(constant, 0.3))


def test_the_most_frequent_value_is_the_backgrounds():
    values = torch.cat([torch.full((40,), 0.25), torch.linspace(-1, 1, 100)]).double()
    assert float(most_frequent(values)) == pytest.approx(0.25, abs=2e-3)
    assert float(most_frequent(torch.ones(5))) == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_who_sees_no_values_in_order_has_nothing_to_invert(attack: OutsourcedAttack):
    batches = [torch.arange(8)]
    third = play(Rtas(), "third", batches)
    helper = replace(play(RtasFast(), "compute/0", batches), party="compute/0")
    for view in (third, helper):
        with pytest.raises(SkipCell):
            attack.reconstruct(knowing(view, [3]), Streams(0))


@pytest.mark.parametrize("attack", [MeanMatching(), FeatureMaps()], ids=repr)
def test_a_dense_layer_has_no_places(attack: OutsourcedAttack):
    with pytest.raises(SkipCell):
        attack.reconstruct(seen(dense=True), Streams(0))


def test_filters_as_large_as_the_image_are_dense_units():
    whole = Layer(kind="convolution", outputs=10, kernel=14, activation="sigmoid")
    view = play(RtasFast(), "labels", torch.arange(16).split(8), layers=(whole,))
    with pytest.raises(SkipCell, match="dense"):
        MeanMatching().reconstruct(view, Streams(0))


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_it_draws_nothing_and_repeats_itself(attack: OutsourcedAttack):
    view = knowing(seen(), [150, 160])
    before = torch.get_rng_state()
    assert torch.equal(attack.reconstruct(view, Streams(0)), attack.reconstruct(view, Streams(1)))
    assert torch.equal(before, torch.get_rng_state())


def test_parameters_out_of_range_are_refused():
    for bad in ({"known": 0}, {"party": "owner"}, {"structure": 1}):
        with pytest.raises(UserError):
            KnownPairs(**bad)
    with pytest.raises(UserError, match="auxiliary=1"):
        MeanMatching(auxiliary=1)
