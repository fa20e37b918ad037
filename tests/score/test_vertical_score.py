"""The vertical table by hand: gate, worst case by kind of attack, utility, cost, gaps, Pareto marks, papers."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vertical_records import EPOCHS, SAMPLES, cost, features, labels, learned, record, spec, task

from fl_attack_bench import score
from fl_attack_bench.score import vertical
from fl_attack_bench.suite import Gate, MethodSpec

WHERE = task()
SHARE = st.floats(0, 1)


def hand():
    """Two seeds, gate 0.5. Undefended: `strong` succeeds on 1.0 and 0.8, `mild` on 0.4 and 0.5: too weak by 0.05.

    Labels, majority 0.2: `sign` finds 1.0 and 0.8 (advantage (1 + 0.75) / 2), `guess` 0.5 and 0.6 (0.4375): too weak.
    Features, blind 0.1: `invert` has MSE 0.02 and 0.04 over its victims (advantage 0.7).
    """
    found = []
    for seed, (strong, mild, sign, guess, mses) in enumerate(
        [(1.0, 0.4, 1.0, 0.5, (0.01, 0.03)), (0.8, 0.5, 0.8, 0.6, (0.04, 0.04))]
    ):
        honest = {"honest": learned(0.9 - 0.1 * seed, 0.02)}
        found += [
            record(WHERE, "none", "strong", seed, attacked=learned(0.88 - 0.1 * seed, strong), **honest),
            record(WHERE, "none", "mild", seed, attacked=learned(0.9 - 0.1 * seed, mild), **honest),
            record(WHERE, "none", "sign", seed, labels=labels(sign), **honest),
            record(WHERE, "none", "guess", seed, labels=labels(guess), **honest),
            record(WHERE, "none", "invert", seed, features=features(*mses), **honest),
        ]
        changed = {"honest": learned(0.85 - 0.1 * seed, 0.04), "cost": cost(WHERE, down=250.0, seconds=2.0)}
        found += [
            record(WHERE, "noise", "strong", seed, attacked=learned(0.7, 0.3 + 0.2 * seed), **changed),
            record(WHERE, "noise", "mild", seed, attacked=learned(0.7, 0.9), **changed),
            record(WHERE, "noise", "sign", seed, labels=labels(0.3), **changed),
            record(WHERE, "noise", "guess", seed, labels=labels(0.9), **changed),
            record(WHERE, "noise", "invert", seed, features=features(0.06, 0.08 + 0.04 * seed), **changed),
        ]
    return found


def rows(records):
    return {row.defense: row for row in score.vertical_rows(records)}


def without(records, defense, attack, seed):
    return [
        one
        for one in records
        if (one.cell.defense.name, one.cell.attack.name, one.cell.seed) != (defense, attack, seed)
    ]


def replaced(records, made):
    return [made if one.cell_id == made.cell_id else one for one in records]


class TestGate:
    def test_advantages_are_means_over_seeds_of_what_a_blind_guess_leaves_over(self):
        base = rows(hand())["none"]
        found = {one.attack: (one.advantage, one.passed) for one in (*base.backdoors, *base.inferences)}
        assert found == {
            "strong": (pytest.approx((0.9 - 0.02) / 0.98), True),
            "mild": (pytest.approx((0.45 - 0.02) / 0.98), False),
            "sign": (pytest.approx((1 + 0.6 / 0.8) / 2), True),
            "guess": (pytest.approx((0.3 / 0.8 + 0.4 / 0.8) / 2), False),
        }
        assert base.inversions[0].advantage == pytest.approx((0.8 + 0.6) / 2)
        assert base.asked == {"backdoor", "labels", "features"}

    def test_the_strictest_of_the_baselines_gates_holds(self):
        made = record(WHERE, "none", "strong", 0, attacked=learned(0.88, 1.0), gate=Gate(advantage=0.95))
        row = rows(replaced(hand(), made))["noise"]
        assert (row.backdoor, row.labels, row.features) == (None, None, None)
        lenient = record(WHERE, "noise", "strong", 0, attacked=learned(0.7, 0.3), gate=Gate(advantage=0.01))
        assert rows(replaced(hand(), lenient))["noise"].backdoor.attack == "strong"

    def test_attacks_that_are_all_too_weak_credit_nobody(self):
        found = rows([one for one in hand() if one.cell.attack.name in ("mild", "guess")])
        assert {row.verdict for row in found.values()} == {"attack too weak"}
        assert not any(row.pareto or row.backdoor or row.labels for row in found.values())
        assert found["noise"].backdoors[0].figures.success.mean == pytest.approx(0.9)

    def test_without_an_undefended_record_nothing_counts(self):
        (row,) = rows([one for one in hand() if one.cell.defense.name == "noise"]).values()
        assert (row.verdict, row.backdoors[0].advantage, row.backdoor) == ("no baseline", None, None)

    @given(st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=3), st.floats(0.01, 1))
    @settings(deadline=None, max_examples=40)
    def test_no_weak_attack_is_ever_credited(self, successes, least):
        told = {"gate": Gate(advantage=least)}
        found = [
            record(WHERE, defense, "strong", seed, attacked=learned(0.88, success), honest=learned(0.9, 0.0), **told)
            for seed, pair in enumerate(successes)
            for defense, success in zip(("none", "noise"), pair, strict=True)
        ]
        row = rows(found)["noise"]
        reached = sum(first for first, _ in successes) / len(successes)
        if abs(reached - least) > 1e-9:
            assert (row.backdoor is not None) == (reached > least) == (row.verdict == "scored")
        assert row.backdoor is not None or not row.pareto


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


def test_an_attack_that_leaves_the_training_as_it_is_stands_beside_the_worst_that_is_planted():
    records = hand()
    for seed in (0, 1):
        for defense, honest in (("none", learned(0.9 - 0.1 * seed, 0.02)), ("noise", learned(0.85 - 0.1 * seed, 0.04))):
            asleep = honest.model_copy(update={"triggered": learned(0.5, 0.99).triggered})
            changed = {} if defense == "none" else {"cost": cost(WHERE, down=250.0, seconds=2.0)}
            records.append(record(WHERE, defense, "asleep", seed, attacked=asleep, honest=honest, **changed))
    found = rows(records)["noise"]
    assert (found.backdoor.attack, found.backdoor.figures.dormant) == ("asleep", True)
    assert found.backdoor.figures.success.mean == pytest.approx(0.99)
    assert (found.planted.attack, found.planted.figures.dormant) == ("strong", False)
    assert found.planted.figures.success.mean == pytest.approx(0.4)


def test_one_seed_with_another_training_is_enough_to_be_planted():
    records = hand()
    for seed in (0, 1):
        honest = learned(0.9 - 0.1 * seed, 0.02)
        attacked = honest if seed else learned(0.5, 0.9)
        records.append(record(WHERE, "none", "asleep", seed, attacked=attacked, honest=honest))
    (result,) = [one for one in rows(records)["none"].backdoors if one.attack == "asleep"]
    assert not result.figures.dormant


@pytest.mark.parametrize(("lost", "counts"), [(0.04, True), (0.06, False)])
def test_a_backdoor_that_spoils_the_main_task_of_the_baseline_does_not_count(lost, counts):
    honest = learned(0.9, 0.02)
    found = [
        record(WHERE, defense, "strong", attacked=learned(0.9 - lost, 1.0), honest=honest)
        for defense in ("none", "noise")
    ]
    assert (rows(found)["noise"].backdoor is not None) == counts
    assert (rows(found)["none"].verdict == "scored") == counts


def test_one_that_spoils_it_under_a_defense_stands_behind_one_that_does_not():
    honest = learned(0.9, 0.02)
    found = [record(WHERE, "none", name, attacked=learned(0.9, 0.9), honest=honest) for name in ("loud", "quiet")]
    found.append(record(WHERE, "noise", "loud", attacked=learned(0.1, 1.0), honest=honest))
    found.append(record(WHERE, "noise", "quiet", attacked=learned(0.89, 0.3), honest=honest))
    row = rows(found)["noise"]
    assert (row.backdoor.attack, row.backdoor.figures.spoils) == ("quiet", False)
    assert {one.attack: one.figures.spoils for one in row.backdoors} == {"loud": True, "quiet": False}


def test_a_trigger_that_leads_to_the_target_anyway_is_no_backdoor():
    found = [record(WHERE, "none", "strong", attacked=learned(0.9, 0.7), honest=learned(0.9, 0.7))]
    (row,) = rows(found).values()
    assert (row.backdoors[0].advantage, row.verdict) == (0.0, "attack too weak")


def test_scores_of_other_classes_do_not_break_the_board():
    honest = learned(0.9, 0.02)
    odd = honest.triggered.model_copy(update={"scores": [0.25] * 4})
    found = [
        record(WHERE, "none", "strong", 0, attacked=honest, honest=honest),
        record(WHERE, "none", "strong", 1, attacked=honest.model_copy(update={"triggered": odd}), honest=honest),
    ]
    (row,) = rows(found).values()
    assert row.backdoors[0].figures.scores in ((), tuple(honest.triggered.scores))


def test_a_training_that_was_never_evaluated_is_not_taken_for_the_honest_one():
    honest = learned(0.9, 0.02, losses=[])
    found = [record(WHERE, "none", "strong", attacked=learned(0.8, 0.9, losses=[]), honest=honest)]
    (row,) = rows(found).values()
    assert not row.backdoors[0].figures.dormant
