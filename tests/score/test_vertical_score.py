"""The vertical table by hand: worst case by kind of attack, utility, cost, gaps, Pareto marks, papers."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vertical_boards import WHERE, hand, replaced, rows, without
from vertical_records import EPOCHS, SAMPLES, cost, features, labels, learned, record, spec, task

from fl_attack_bench import score
from fl_attack_bench.score import vertical
from fl_attack_bench.suite import MethodSpec


class TestWorstCase:
    def test_the_worst_attack_of_each_kind_that_counts(self):
        row = rows(hand())["noise"]
        assert (row.backdoor.attack, row.labels.attack, row.features.attack) == ("strong", "sign", "invert")
        success, mse = row.backdoor.figures.success, row.features.figures.mse
        assert (success.mean, success.low, success.high, success.seeds) == (pytest.approx(0.4), 0.3, 0.5, 2)
        assert row.backdoor.figures.accuracy.mean == pytest.approx(0.7)
        assert row.backdoor.figures.difference == pytest.approx(((0.7 - 0.85) + (0.7 - 0.75)) / 2)
        assert row.labels.figures.accuracy.mean == pytest.approx(0.3)
        assert row.labels.figures.majority == pytest.approx(0.2)
        assert (mse.mean, mse.low, mse.high) == (pytest.approx(0.08), pytest.approx(0.07), pytest.approx(0.09))
        assert row.features.figures.blind == pytest.approx(0.1)

    def test_of_two_that_count_the_worse_for_the_defense(self):
        found = [
            *(record(WHERE, "none", attack, attacked=learned(0.9, 0.9)) for attack in ("one", "two")),
            record(WHERE, "noise", "one", attacked=learned(0.9, 0.2)),
            record(WHERE, "noise", "two", attacked=learned(0.9, 0.3)),
            *(record(WHERE, "none", attack, features=features(0.01, 0.01)) for attack in ("three", "four")),
            record(WHERE, "noise", "three", features=features(0.05, 0.05)),
            record(WHERE, "noise", "four", features=features(0.03, 0.04)),
        ]
        row = rows(found)["noise"]
        assert (row.backdoor.attack, row.features.attack) == ("two", "four")

    def test_scores_are_means_over_seeds(self):
        found = [record(WHERE, "none", "strong", seed, attacked=learned(0.9, 1.0 - 0.2 * seed)) for seed in (0, 1)]
        (row,) = rows(found).values()
        assert row.backdoor.figures.scores[3] == pytest.approx(0.9)
        assert sum(row.backdoor.figures.scores) == pytest.approx(1)
        assert row.utility.scores[3] == pytest.approx(0.02)


class TestUtilityAndCost:
    def test_utility(self):
        row = rows(hand())["noise"]
        assert (row.utility.accuracy, row.utility.difference) == (pytest.approx(0.8), pytest.approx(-0.05))
        assert row.utility.sd == pytest.approx(0.1 / 2**0.5)
        assert row.utility.floor.mean == pytest.approx(0.04)
        assert rows(hand())["none"].utility.difference == 0

    def test_bytes_by_party_and_seconds_by_link(self):
        row = rows(hand())["noise"]
        assert {name: (party.sent, party.received) for name, party in row.cost.passive.items()} == {
            "a": (1000, 250),
            "b": (1000, 250),
        }
        assert (row.cost.active.sent, row.cost.active.received) == (500, 2000)
        assert (row.cost.bytes_epoch, row.cost.bytes_total) == (2500, 2500 * EPOCHS)
        times = row.cost.epoch_times, row.cost.up_times, row.cost.down_times, row.cost.inference_times
        assert times == pytest.approx((2500 / 4000, 1, 0.25, 1))
        assert row.cost.seconds == {"lan": pytest.approx(1.51), "wan": pytest.approx(2.5)}
        assert row.cost.seconds_times["wan"] == pytest.approx(2.5 / 2)

    def test_a_training_that_stopped_early_is_no_cheaper(self):
        made = record(WHERE, "noise", "strong", attacked=learned(), cost=cost(WHERE, down=500.0, epochs=2))
        row = rows([record(WHERE, "none", "strong", attacked=learned(0.9, 1.0)), made])["noise"]
        assert (row.cost.bytes_epoch, row.cost.epoch_times) == (3000, pytest.approx(0.75))


class TestGaps:
    def test_a_missing_cell_counts_where_its_attack_does(self):
        gap = rows(without(hand(), "noise", "strong", 1))["noise"]
        assert (gap.complete, gap.summary, gap.cells) == (False, "1 of 10 cells missing", 10)
        weak = rows(without(hand(), "noise", "mild", 1))["noise"]
        assert (weak.complete, weak.failures[0].counts) == (True, False)

    def test_an_attack_that_never_applies_is_no_gap_but_leaves_its_kind_open(self):
        told = {"status": "skipped", "reason": "no sign to read"}
        found = hand()
        for seed in (0, 1):
            found = replaced(found, record(WHERE, "noise", "sign", seed, **told))
        row = rows(found)["noise"]
        assert (row.complete, row.summary, [skip.counts for skip in row.skipped]) == (True, "", [False, False])
        assert (row.labels, row.competes) == (None, False)
        row = rows(replaced(hand(), record(WHERE, "noise", "sign", 1, **told)))["noise"]
        assert (row.complete, row.summary) == (False, "1 of 10 cells skipped, on some seeds only")

    def test_a_record_without_what_its_attack_is_for_is_an_error(self):
        (failure,) = rows(replaced(hand(), record(WHERE, "noise", "strong", 0)))["noise"].failures
        assert (failure.status, failure.counts) == ("error", True)
        assert failure.reason == "the record holds nothing of the attack's kind: backdoor"
        made = record(WHERE, "noise", "strong", 0, honest=None, attacked=learned())
        (failure,) = rows(replaced(hand(), made))["noise"].failures
        assert failure.reason == "the record holds no honest training"

    def test_other_data_and_a_diverged_training_bar_from_competing(self):
        row = rows(
            replaced(hand(), record(WHERE, "noise", "sign", 0, labels=labels(0.3), provenance={"fingerprint": "g"}))
        )
        assert not row["noise"].competes
        assert "its records come from different versions of the dataset" in row["noise"].notes
        found = [
            record(WHERE, "none", "strong", attacked=learned(0.9, 1.0)),
            record(WHERE, "noise", "strong", attacked=learned(0.9, 0.1), honest=learned(0.5, diverged=True)),
        ]
        row = rows(found)["noise"]
        assert (row.utility.diverged, row.competes, row.notes) == (1, False, ("training diverged",))


def test_tasks_on_which_nobody_attacks():
    quiet = task(malicious=None, backdoor=None)
    found = [record(quiet, defense, None, honest=learned(0.9, None)) for defense in ("none", "noise")]
    row = rows(found)["noise"]
    assert (row.verdict, row.cells, row.complete, row.utility.floor) == ("not attacked", 1, True, None)


class TestPareto:
    def board(self, **noise):
        """One seed; `noise` halves the success and the labels at equal bytes, unless told otherwise."""
        given_ = {"success": 0.5, "found": 0.5, "mse": 0.02, "accuracy": 0.9, "down": 1000.0} | noise
        found = []
        for defense, told in (
            ("none", {"success": 1.0, "found": 1.0, "mse": 0.02, "accuracy": 0.9, "down": 1000.0}),
            ("noise", given_),
        ):
            common = {"honest": learned(told["accuracy"]), "cost": cost(WHERE, down=told["down"])}
            found += [
                record(WHERE, defense, "strong", attacked=learned(0.8, told["success"]), **common),
                record(WHERE, defense, "sign", labels=labels(told["found"]), **common),
                record(WHERE, defense, "invert", features=features(told["mse"], told["mse"]), **common),
            ]
        return {name: row.pareto for name, row in rows(found).items()}

    @pytest.mark.parametrize(
        ("noise", "marks"),
        [
            ({}, (False, True)),
            ({"accuracy": 0.89}, (True, True)),
            ({"down": 1001.0}, (True, True)),
            ({"down": 999.0, "success": 1.0, "found": 1.0}, (False, True)),
            ({"mse": 0.019}, (True, True)),
            ({"success": 1.0, "found": 1.0, "mse": 0.03}, (False, True)),
            ({"success": 1.0, "found": 1.0, "accuracy": 0.88}, (True, False)),
            ({"success": 0.995, "found": 1.0}, (True, True)),  # within the tolerance they are equal
        ],
    )
    def test_every_measure_counts(self, noise, marks):
        assert tuple(self.board(**noise).values()) == marks


class TestSoundness:
    def fault(self, where=WHERE, attack="strong", **fields):
        made = record(where, "noise", attack, **fields)
        base = record(where, "none", attack, attacked=learned(0.9, 1.0) if where.backdoor else None)
        row = rows([base, made])["noise"]
        return next((failure.reason for failure in row.failures), "")

    def test_a_sound_record_has_none(self):
        assert self.fault(attacked=learned(0.8, 0.3)) == ""

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"attacked": learned(curve=[(EPOCHS + 1, 0.5)])}, "outside the 10 epochs"),
            ({"honest": learned(losses=[(3, -0.1)])}, "a loss below 0"),
            ({"attacked": learned(0.9, None)}, "no triggered samples on a task with a backdoor"),
            ({"attacked": learned(0.9, 0.1, triggered=99)}, "its triggered samples are not those of the undefended"),
            ({"features": features(0.1)}, "exactly the task's victims"),
            ({"features": features(0.1, 1.2)}, "a clipped MSE above 1"),
            ({"labels": labels(0.5).model_copy(update={"samples": 10**10})}, "labels are impossible"),
            ({"cost": cost(task(parties=3))}, "a cost of other parties"),
            ({"cost": cost(WHERE, epochs=EPOCHS + 1)}, "a cost of 11 epochs of 10"),
            ({"cost": cost(WHERE, up=1e18)}, "a cost above 1e+18"),
            ({"cost": cost(WHERE).model_copy(update={"bytes_total": 7})}, "do not sum to those of the training"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, fields, said):
        assert said in self.fault(**fields)

    def test_prediction_scores_are_those_of_classes(self):
        for scores, said in (([0.5] * 10, "do not sum to 1"), ([0.5, 0.5], "though the target is class 3")):
            made = learned(0.8, 0.3)
            triggered = made.triggered.model_copy(update={"scores": scores})
            assert said in self.fault(attacked=made.model_copy(update={"triggered": triggered}))

    def test_a_task_without_a_backdoor_or_an_adversary(self):
        clean = task(backdoor=None)
        assert "without a backdoor" in self.fault(clean, honest=learned(0.9, 0.1))
        quiet = task(backdoor=None, malicious=None)
        assert "without a malicious party" in self.fault(quiet, honest=learned(0.9, None), labels=labels(0.5))

    def test_results_of_the_other_track(self):
        from boards import record as horizontal

        foreign = horizontal("noise", initial=[0.1, 0.1])
        made = record(WHERE, "noise", "strong", attacked=learned(0.8, 0.3))
        mixed = made.model_copy(update={"utility": foreign.utility})
        row = rows([record(WHERE, "none", "strong", attacked=learned(0.9, 1.0)), mixed])["noise"]
        assert "a horizontal task on a vertical one" in row.failures[0].reason
        (line,) = score.rows([foreign.model_copy(update={"vertical": made.vertical})])
        assert "a vertical task on a horizontal one" in line.failures[0].reason
        assert (score.rows([made]), score.vertical_rows([foreign])) == ((), ())

    def test_another_training_set_than_the_undefended_ones(self):
        found = [record(WHERE, "none", "sign", labels=labels(1.0))]
        fewer = labels(0.1).model_copy(update={"samples": SAMPLES - 1})
        row = rows([*found, record(WHERE, "noise", "sign", labels=fewer)])["noise"]
        assert row.failures[0].reason == "its training samples are not those of the undefended record"
        more = rows([*found, record(WHERE, "noise", "sign", labels=labels(0.1, known=10))])["noise"]
        assert more.failures == ()


def test_papers_figures_stand_beside_ours():
    asked = [
        {"quantity": "backdoor", "value": 0.98, "attack": "strong", "defense": "noise"},
        {"quantity": "backdoor", "value": 0.98, "defense": "noise"},
        {"quantity": "accuracy", "value": 0.957},
        {"quantity": "accuracy", "value": 0.95, "attack": "strong"},
        {"quantity": "label_accuracy", "value": 1.0, "attack": "sign"},
        {"quantity": "mse", "value": 0.1, "defense": "noise"},
        {"quantity": "backdoor", "value": 0.5, "attack": "other"},
        {"quantity": "accuracy", "value": 0.5, "defense": "other"},
    ]
    where = task(published=[{"source": "Liu et al. 2020"} | one for one in asked])
    found = [one.model_copy(update={"cell": one.cell.model_copy(update={"task": where})}) for one in hand()]
    assert {one.cell.id for one in found} == {one.cell_id for one in hand()}
    ours = [[one.value for one in item.ours] for item in vertical.published(score.vertical_rows(found))]
    assert ours == [
        [pytest.approx(0.4)],
        [pytest.approx(0.9)],
        [pytest.approx(0.85)],
        [pytest.approx(0.83)],
        [pytest.approx(0.9)],
        [pytest.approx(0.08)],
        [],
        [],
    ]


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=10)
def test_the_order_of_records_does_not_matter(rng: random.Random):
    shuffled = hand()
    rng.shuffle(shuffled)
    assert score.vertical_rows(shuffled) == score.vertical_rows(hand())


def test_chains_and_sweeps_are_rows_of_their_own_and_the_undefended_comes_first():
    chained = MethodSpec.chain([spec("noise[variance=0.1]"), spec("clipping")])
    found = [
        record(WHERE, defense, "strong", attacked=learned(0.9, 0.9))
        for defense in ("zero", chained, "noise[variance=0.1]", "noise[variance=0.2]", "none")
    ]
    table = score.vertical_rows(found)
    assert [row.defense for row in table] == [
        "none",
        "noise[variance=0.1]",
        "noise[variance=0.1]+clipping",
        "noise[variance=0.2]",
        "zero",
    ]


def test_the_latest_play_of_a_cell_counts():
    early = record(WHERE, "none", "strong", attacked=learned(0.9, 0.6))
    late = record(WHERE, "none", "strong", attacked=learned(0.9, 0.7), provenance={"day": 1})
    for order in ([early, late], [late, early]):
        assert rows(order)["none"].backdoor.figures.success.mean == 0.7
