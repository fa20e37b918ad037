"""Attacks that return no images: what they infer is shown, and credits or damns no defense."""

import pytest
from boards import TASK, by_defense, hand, inferring, record
from hypothesis import given, settings
from hypothesis import strategies as st

SHARE = st.floats(0, 1)


def only_labels(**accuracies):
    return [
        inferring(record(name, "labels", seed), share) for name, seeds in accuracies.items() for seed, share in seeds
    ]


def test_figures_are_means_over_seeds():
    records = [
        inferring(record("none", "rep", 0), correlations={"fc1": 0.5, "fc2": 0.9}, classes_found=0.5),
        inferring(record("none", "rep", 1), correlations={"fc1": 0.7}, classes_found=1.0),
        *only_labels(none=[(0, 0.25), (1, 0.75)]),
    ]
    labels, _, rep, _ = by_defense(records)["none"].attacks
    assert (labels.attack, labels.moment, labels.label_accuracy) == ("labels", "initial", 0.5)
    assert (labels.mean, labels.baseline_share, labels.passed, labels.correlations) == (None, None, False, {})
    assert rep.correlations == pytest.approx({"fc1": 0.6, "fc2": 0.9})
    assert (rep.label_accuracy, rep.classes_found) == (None, 0.75)


def test_a_task_with_only_such_attacks_is_neither_unattacked_nor_attacked_too_weakly():
    table = by_defense(only_labels(none=[(0, 1.0)], noise=[(0, 0.1)]))
    for row in table.values():
        assert (row.verdict, row.privacy, row.moments, row.competes) == ("no images", None, (), False)
        assert (row.complete, row.failures) == (True, ())
    assert by_defense(only_labels(noise=[(0, 0.1)]))["noise"].verdict == "no images"


def test_a_weak_attack_beside_them_is_still_too_weak_and_a_missing_baseline_still_missing():
    weak, told = [0.3, 0.3], only_labels(none=[(0, 1.0)], noise=[(0, 1.0)])
    attacked = [record(name, "dlg", initial=weak, trained=weak) for name in ("none", "noise")]
    assert {row.verdict for row in by_defense([*told, *attacked]).values()} == {"attack too weak"}
    assert by_defense([*told, attacked[1]])["noise"].verdict == "no baseline"


def test_a_failed_attack_that_would_return_images_is_no_verdict_on_images():
    failed = record("none", "labels", status="error", reason="x")
    assert by_defense([failed])["none"].verdict == "no baseline"


@settings(max_examples=20, deadline=None)
@given(SHARE, SHARE, st.dictionaries(st.sampled_from(["fc1", "fc2"]), SHARE))
def test_what_they_infer_changes_no_triple_and_no_mark(undefended, defended, correlations):
    told = [inferring(record("none", "labels", s), undefended, correlations) for s in (0, 1)]
    told += [
        inferring(record("noise", "labels", s, accuracy=0.85 - 0.04 * s, up=50.0, seconds=1.05), defended)
        for s in (0, 1)
    ]
    before, after = by_defense(hand()), by_defense([*hand(), *told])
    for name in before:
        for part in ("verdict", "privacy", "moments", "pareto", "complete"):
            assert getattr(after[name], part) == getattr(before[name], part)


def test_their_failure_is_shown_and_does_not_count():
    failed = record("noise", "labels", 0, status="error", reason="x")
    told = only_labels(none=[(0, 1.0), (1, 1.0)], noise=[(1, 1.0)])
    row = by_defense([*hand(), *told, failed])["noise"]
    assert [(failure.attack, failure.counts) for failure in row.failures] == [("labels", False)]
    assert (row.complete, row.verdict) == (True, "scored")


DEVICES = TASK.model_copy(update={"victims": TASK.victims.model_validate({"devices": 2})})


def dealt(name, ids, seed=0, mses=(0.0, 0.1)):
    """A record of a task whose victims the partition deals."""
    named = record(name, seed=seed, initial=list(mses), trained=list(mses))
    cell = named.cell.model_copy(update={"task": DEVICES})
    moments = [
        done.model_copy(
            update={"victims": [s.model_copy(update={"victim": i}) for s, i in zip(done.victims, ids, strict=True)]}
        )
        for done in named.reconstructed
    ]
    return named.model_copy(update={"cell": cell, "cell_id": cell.id, "reconstructed": moments})


def test_dealt_victims_are_those_of_the_undefended_record_of_the_same_seed():
    sound = [dealt("none", (5, 9)), dealt("none", (2, 3), 1), dealt("noise", (9, 5)), dealt("noise", (2, 3), 1)]
    row = by_defense(sound)["noise"]
    assert (row.complete, row.privacy.reconstructions) == (True, 4)
    row = by_defense([*sound[:3], dealt("noise", (2, 4), 1)])["noise"]
    assert [(failure.seed, failure.status) for failure in row.failures] == [(1, "error")]
    assert "not those of the undefended" in row.failures[0].reason
    assert not row.complete


def test_a_sample_that_is_dealt_twice_is_two_images():
    privacy = by_defense([dealt("none", (5, 5)), dealt("noise", (5, 5), mses=(0.2, 0.4))])["noise"].privacy
    assert (privacy.reconstructions, privacy.mean.value) == (2, pytest.approx(0.3))
