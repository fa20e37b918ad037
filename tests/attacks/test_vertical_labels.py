"""Attacks on labels by a passive party."""

from dataclasses import replace

import pytest
import torch
from fl_attack_bench.attacks.direct_label_inference import DirectLabelInference
from fl_attack_bench.attacks.gradient_direction import GradientDirection
from fl_attack_bench.attacks.gradient_norm import GradientNorm, separating, two_means
from fl_attack_bench.attacks.model_completion import ModelCompletion
from hypothesis import given, settings
from hypothesis import strategies as st
from vertical_views import noisy, picked, play, sparse

from fl_attack_bench.api import LabelAttack, PassiveView, SkipCell
from fl_attack_bench.errors import UserError
from fl_attack_bench.seeds import Streams

ALL = (
    DirectLabelInference(),
    DirectLabelInference(features=False),
    GradientDirection(),
    GradientNorm(),
    ModelCompletion(),
    ModelCompletion(head="ridge"),
    ModelCompletion(reads="features"),
)


def accuracy(attack: LabelAttack, view: PassiveView, data: str = "digits") -> float:
    """Over the samples whose label is not known."""
    truth = play(data).labels
    hidden = torch.ones(len(truth), dtype=torch.bool)
    hidden[view.known] = False
    return float((attack.infer(view, Streams(0)) == truth)[hidden].double().mean())


def majority(data: str = "digits") -> float:
    labels = play(data).labels
    return float(labels.bincount().max()) / len(labels)


@pytest.mark.parametrize("attack", ALL, ids=repr)
@pytest.mark.parametrize("top", ["sum", "dense"])
def test_same_seed_same_result_of_the_stated_shape_and_no_global_number(attack: LabelAttack, top: str):
    view = play("cancer", top).passive(known=2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found, again = (attack.infer(view, Streams(0)) for _ in range(2))
    assert torch.equal(found, again)
    assert torch.equal(before, torch.get_rng_state())
    assert (found.shape, found.dtype) == ((len(view.features),), torch.int64)
    assert found.min() >= 0
    assert found.max() < view.classes
    assert torch.equal(found[view.known], view.known_labels)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_numbers_that_are_not_finite_or_all_zero_do_no_harm(attack: LabelAttack):
    view = play("cancer").passive(known=1)
    for value in (torch.nan, torch.inf, 0.0):
        epochs = tuple(replace(e, gradients=torch.full_like(e.gradients, value)) for e in view.epochs)
        found = attack.infer(replace(view, epochs=epochs), Streams(0))
        assert found.min() >= 0
        assert found.max() < 2


@pytest.mark.parametrize("features", [True, False])
def test_undefended_gradients_give_every_label_away(features: bool):
    played = play()
    for name in played.places:
        found = DirectLabelInference(features=features).infer(played.passive(name=name), Streams(0))
        assert torch.equal(found, played.labels)


@pytest.mark.parametrize("features", [True, False])
def test_noise_averages_out_over_epochs(features: bool):
    view = play().passive()
    epochs = noisy(view.epochs, 2.0)
    few, many = (
        accuracy(DirectLabelInference(features=features), replace(view, epochs=part)) for part in (epochs[:2], epochs)
    )
    assert majority() < few < many - 0.05


def test_own_features_help_against_noise():
    view = play().passive()
    view = replace(view, epochs=noisy(view.epochs, 2.0))
    with_features, without = (accuracy(DirectLabelInference(features=use), view) for use in (True, False))
    assert with_features > without + 0.1


@pytest.mark.parametrize("features", [True, False])
def test_sparse_gradients_are_read_by_what_was_sent(features: bool):
    view, attack = play().passive(), DirectLabelInference(features=features)
    epochs = sparse(view.epochs, 1)
    assert accuracy(attack, replace(view, epochs=epochs)) == 1
    # What stands in entries that were not sent is no evidence.
    garbage = tuple(replace(e, gradients=e.gradients.where(e.sent, -100.0 * torch.rand(16))) for e in epochs)
    assert accuracy(attack, replace(view, epochs=garbage)) == 1


def test_own_features_help_against_noise_on_sparse_gradients():
    view = play().passive()
    epochs = tuple(replace(e, gradients=e.gradients * e.sent) for e in noisy(sparse(view.epochs, 4), 1.5))
    view = replace(view, epochs=epochs)
    with_features, without = (accuracy(DirectLabelInference(features=use), view) for use in (True, False))
    assert with_features > without + 0.03


def test_own_features_speak_for_a_sample_of_which_nothing_was_sent():
    view = play().passive()
    sent = view.epochs[0].sent.clone()
    sent[:200] = False
    view = replace(view, epochs=tuple(replace(e, sent=sent) for e in view.epochs))
    found = DirectLabelInference().infer(view, Streams(0))
    assert torch.equal(found[200:], play().labels[200:])
    assert (found[:200] == play().labels[:200]).double().mean() > 0.6


def test_a_sample_of_which_nothing_was_sent_gets_the_most_frequent_label():
    view = play().passive()
    sent = view.epochs[0].sent.clone()
    sent[:5] = False
    view = replace(view, epochs=tuple(replace(e, sent=sent) for e in view.epochs))
    found = DirectLabelInference(features=False).infer(view, Streams(0))
    assert torch.equal(found[5:], play().labels[5:])
    assert set(found[:5].tolist()) == {int(play().labels[5:].bincount().argmax())}


def test_too_narrow_an_embedding_is_skipped():
    view = replace(play().passive(), classes=17)
    with pytest.raises(SkipCell, match="16 entries"):
        DirectLabelInference().infer(view, Streams(0))


@pytest.mark.parametrize("known", [1, 4])
def test_directions_give_labels_away_behind_a_trainable_top(known: int):
    view = play(top="dense").passive(known)
    assert accuracy(GradientDirection(known=known), view) > 0.95
    assert accuracy(DirectLabelInference(), view) < 0.5


def test_means_over_all_samples_are_better_than_those_of_the_known_ones():
    view = play(top="dense").passive(1)
    view = replace(view, epochs=noisy(view.epochs, 0.1))
    first, later = (accuracy(GradientDirection(rounds=rounds), view) for rounds in (0, 20))
    assert later > first + 0.1


def test_the_first_round_is_the_nearest_known_direction():
    """Against a loop over samples and epochs."""
    view = play(top="dense").passive(2)
    found = GradientDirection(rounds=0).infer(view, Streams(0))
    for sample in range(0, 300, 7):
        score = torch.zeros(10)
        for epoch in view.epochs:
            for label in range(10):
                ids = view.known[view.known_labels == label].tolist()
                mean = torch.stack([epoch.gradients[i] / epoch.gradients[i].norm() for i in ids]).sum(0)
                score[label] += torch.cosine_similarity(epoch.gradients[sample], mean, dim=0)
        assert sample in view.known.tolist() or int(found[sample]) == int(score.argmax())


@pytest.mark.parametrize("attack", [GradientDirection(), ModelCompletion()], ids=repr)
def test_a_class_without_a_known_sample_is_skipped(attack: LabelAttack):
    view = play().passive(1)
    with pytest.raises(SkipCell, match="each of the 10 classes"):
        attack.infer(replace(view, known=view.known[:9], known_labels=view.known_labels[:9]), Streams(0))


def test_attacks_that_need_known_samples_refuse_none():
    for cls in (GradientDirection, ModelCompletion):
        with pytest.raises(UserError, match="known=0"):
            cls(known=0)


def test_lengths_tell_two_classes_apart_with_a_few_known():
    view = play("cancer", "dense", 20).passive(4)
    assert accuracy(GradientNorm(known=4), view, "cancer") > 0.9


def test_without_known_labels_the_longer_gradients_are_class_1():
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 1.0], [6.0, 0.0], [0.1, 0.0]])
    view = play("cancer").passive()
    epoch = replace(view.epochs[0], gradients=gradients, sent=torch.ones(5, 2, dtype=torch.bool))
    assert GradientNorm().infer(replace(view, epochs=(epoch,)), Streams(0)).tolist() == [1, 0, 0, 1, 0]


def test_more_classes_than_two_are_skipped():
    with pytest.raises(SkipCell, match="not 10"):
        GradientNorm().infer(play().passive(1), Streams(0))


VALUES = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=12)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_two_means_is_the_best_of_all_splits(numbers: list[float]):
    values = torch.tensor(numbers, dtype=torch.float64)

    def within(threshold: float) -> float:
        parts = values[values <= threshold], values[values > threshold]
        return sum(float((p - p.mean()).square().sum()) for p in parts if len(p))

    best = min(within(cut) for cut in values.tolist())
    assert within(two_means(values)) == pytest.approx(best, abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.integers(0, 2**12 - 1), st.floats(-25, 25))
def test_the_threshold_puts_as_many_right_as_any(numbers: list[float], bits: int, wanted: float):
    values = torch.tensor(numbers, dtype=torch.float64)
    labels = torch.tensor([bits >> n & 1 for n in range(len(numbers))])

    def right(threshold: float, above: int) -> int:
        return int((torch.where(values > threshold, above, 1 - above) == labels).sum())

    cuts = [*sorted(set(numbers)), min(numbers) - 1]
    best = max(right(cut, above) for cut in cuts for above in (0, 1))
    assert right(*separating(values, labels, wanted)) == best


@pytest.mark.parametrize("top", ["sum", "dense"])
@pytest.mark.parametrize("head", ["spread", "ridge"])
def test_a_completed_model_beats_the_majority_whatever_the_gradients(top: str, head: str):
    view = play(top=top).passive(4)
    blank = tuple(replace(e, gradients=torch.zeros_like(e.gradients)) for e in view.epochs)
    attack = ModelCompletion(head=head)
    assert accuracy(attack, view) > majority() + 0.3
    assert torch.equal(attack.infer(view, Streams(0)), attack.infer(replace(view, epochs=blank), Streams(0)))


def test_the_spread_is_that_of_the_dense_matrices():
    """Zhou et al. 2004, with the whole matrix."""
    keep = torch.arange(200)
    view = play().passive()
    known = picked(play().labels[keep], 2)
    view = replace(view, features=view.features[keep], known=known, known_labels=play().labels[known])
    found = ModelCompletion(reads="features").infer(view, Streams(0))
    distance = torch.cdist(view.features.double(), view.features.double()).fill_diagonal_(torch.inf)
    directed = torch.zeros(200, 200, dtype=torch.float64).scatter(1, distance.topk(10, largest=False).indices, 1.0)
    edges = directed + directed.T
    scale = edges.sum(1).rsqrt()
    start = torch.zeros(200, 10, dtype=torch.float64)
    start[known, view.known_labels] = 1
    weight = start
    for _ in range(30):
        weight = 0.99 * (scale[:, None] * edges * scale) @ weight + 0.01 * start
    assert torch.equal(found, (weight / weight.sum(0)).argmax(1))


def test_the_blind_head_sees_nothing_of_the_protocol():
    view = play().passive(4)
    blind = ModelCompletion(reads="features")
    other = replace(view, bottom=torch.nn.Linear(view.features.shape[1], 3), epochs=())
    assert torch.equal(blind.infer(view, Streams(0)), blind.infer(other, Streams(0)))
