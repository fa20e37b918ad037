"""Which attacks count on a vertical task, and which of those that do stands first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vertical_boards import WHERE, hand, replaced, rows
from vertical_records import cost, learned, record

from fl_attack_bench.suite import Gate

SHARE = st.floats(0, 1)


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
