"""Which defenses an attack breaks: by the gate's own rule, worked out by hand and by a second way of counting."""

import pytest
from boards import UNTRAINED, attacked, hand, inferring, learned, record, with_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outsourced_records import inputs
from outsourced_records import record as outsourced
from outsourced_records import task as outsourced_task
from vertical_boards import hand as vertical_hand
from vertical_boards import replaced
from vertical_records import features, labels
from vertical_records import learned as trained
from vertical_records import record as vertical
from vertical_records import task as vertical_task

from fl_attack_bench import score
from fl_attack_bench.score import reach
from fl_attack_bench.suite import Gate

MSES = st.lists(st.floats(0, 0.02), min_size=2, max_size=2)


def on_images(records):
    kept = score.latest(records)
    return reach.on_images(score.rows(kept), {one.cell_id: one for one in kept})


def by_place(found):
    return {(one.row.defense, one.spec.label): one for one in found}


class TestImages:
    def test_by_hand(self):
        found = by_place(on_images(hand()))
        assert {place: one.breaks for place, one in found.items()} == {
            ("none", "dlg"): True,
            ("none", "idlg"): True,  # at round 0
            ("none", "weak"): False,
            ("noise", "dlg"): False,
            ("noise", "idlg"): True,  # after training; that it does not count there is another matter
            ("noise", "weak"): True,
        }
        first, last = found["none", "dlg"].figures.moments
        assert (first.share, last.share, last.images) == (1.0, 0.75, 4)
        assert last.mse == pytest.approx((0.001 + 0.002 + 0.005 + 0.3) / 4)

    def test_the_strongest_comes_closest_on_most_images_of_the_attacks_that_count(self):
        found = by_place(on_images(hand()))
        # At round 0, the worse moment: dlg is closest on 0.02 and 0.40, idlg on 0.20 and 0.04; first by name.
        assert [one.spec.label for one in found.values() if one.strongest and one.row.defense == "noise"] == ["dlg"]
        assert not found["noise", "weak"].strongest

    @given(MSES, MSES, st.lists(st.booleans(), min_size=2, max_size=2))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_on_the_undefended_it_is_the_gate_and_elsewhere_the_same_count(self, base, noise, ran_off):
        defended = with_images(record("noise", initial=noise, task=UNTRAINED), diverged=ran_off)
        found = by_place(on_images([record("none", initial=base, task=UNTRAINED), defended]))
        undefended = found["none", "dlg"]
        assert undefended.breaks == undefended.row.attacks[0].passed
        rebuilt = [mse < 0.01 and not off for mse, off in zip(noise, ran_off, strict=True)]
        assert found["noise", "dlg"].breaks == (sum(rebuilt) >= 1)
        assert found["noise", "dlg"].figures.moments[0].share == sum(rebuilt) / 2

    def test_labels_and_representations_are_held_against_no_gate(self):
        made = [inferring(record(name), 0.9, {"fc1": 0.7}) for name in ("none", "noise")]
        for one in on_images(made):
            assert (one.breaks, one.strongest, one.figures.mse) == (None, False, None)
            assert {(at.share, at.labels, at.correlations["fc1"]) for at in one.figures.moments} == {(None, 0.9, 0.7)}

    def test_a_defenses_record_does_not_loosen_the_gate(self):
        stranger = record("noise", initial=[0.3, 0.3]).model_copy(update={"gate": Gate(mse=0.9, share=0.1)})
        found = by_place(on_images([record("none", initial=[0.0, 0.0]), stranger]))
        assert found["noise", "dlg"].breaks is False

    def test_a_failed_cell_reaches_nothing(self):
        found = on_images([record("none", initial=[0.0, 0.0]), record("noise", status="timeout", reason="slow")])
        assert [one.row.defense for one in found] == ["none"]
        assert reach.on_images((), {}) == reach.by_clients((), {}) == reach.on_vertical((), {}) == ()


def by_clients(records):
    kept = score.latest(records)
    return by_place(reach.by_clients(score.rows(kept), {one.cell_id: one for one in kept}))


class TestClients:
    def test_it_breaks_where_more_than_the_gate_s_loss_is_lost(self):
        found = by_clients(
            [
                attacked("none", clients=2, honest=learned(0.90), under=learned(0.84)),
                attacked("shares", clients=2, honest=learned(0.90), under=learned(0.86)),
                attacked("shares", clients=2, seed=1, honest=learned(0.90), under=learned(0.83)),
                attacked("shares", clients=3, honest=learned(0.90), under=learned(0.80)),
            ]
        )
        told = {place: (round(one.figures.lost, 4), one.breaks, one.strongest) for place, one in found.items()}
        assert told == {
            ("none", "poisoning[clients=2]"): (0.06, True, True),
            ("shares", "poisoning[clients=2]"): (0.055, True, False),
            ("shares", "poisoning[clients=3]"): (0.1, True, True),
        }

    def test_of_numbers_r_squared_is_compared_and_not_the_rmse(self):
        made = [
            attacked("none", honest=learned(loss=0.02), under=learned(loss=0.021)),  # R^2 0.6 and 0.58
            attacked("shares", honest=learned(loss=0.02), under=learned(loss=0.025)),  # and 0.5
        ]
        found = by_clients(made)
        assert {row: one.breaks for (row, _), one in found.items()} == {"none": False, "shares": True}
        assert found["shares", "poisoning[clients=2]"].figures.quantity == "rmse"

    def test_without_an_honest_training_nothing_is_judged(self):
        alone = attacked("none", under=learned(0.3)).model_copy(update={"utility": None})
        (one,) = by_clients([alone]).values()
        assert (one.breaks, one.figures.lost) == (None, None)


def on_vertical(records):
    kept = score.latest(records)
    return by_place(reach.on_vertical(score.vertical_rows(kept), {one.cell_id: one for one in kept}))


class TestVertical:
    def test_on_the_undefended_it_is_the_gate(self):
        for one in on_vertical(vertical_hand()).values():
            assert one.figures.result.kind in ("backdoor", "labels", "features")
            if one.row.baseline:
                assert one.breaks == one.figures.result.passed
                assert one.figures.advantage == pytest.approx(one.figures.result.advantage)

    def test_a_backdoor_that_spoils_the_main_task_breaks_nothing(self):
        where = vertical_task()
        made = [
            vertical(where, name, attacked=trained(accuracy, 0.97))
            for name, accuracy in (("none", 0.89), ("noise", 0.86), ("clipping", 0.84))
        ]
        found = on_vertical(made)
        assert {row: one.breaks for (row, _), one in found.items()} == {"none": True, "noise": True, "clipping": False}
        assert found["clipping", "replacement"].figures.advantage == pytest.approx((0.97 - 0.02) / 0.98)

    @pytest.mark.parametrize(("share", "broken"), [(0.59, False), (0.61, True), (0.1, False)])
    def test_labels_are_held_against_what_a_guess_leaves_over(self, share, broken):
        where = vertical_task()
        made = [vertical(where, name, "sign", labels=labels(value)) for name, value in (("none", 1.0), ("n", share))]
        one = on_vertical(made)["n", "sign"]
        assert (one.breaks, one.figures.advantage) == (broken, pytest.approx((share - 0.2) / 0.8))

    def test_features_are_held_against_the_guess_s_error(self):
        where = vertical_task()
        made = [
            vertical(where, "none", "inversion", features=features(0.01, 0.01)),
            vertical(where, "half", "inversion", features=features(0.04, 0.058)),  # blind 0.1
            vertical(where, "more", "inversion", features=features(0.04, 0.064)),
        ]
        found = on_vertical(made)
        assert [found[row, "inversion"].breaks for row in ("none", "half", "more")] == [True, True, False]

    def test_the_strongest_of_each_kind(self):
        found = on_vertical(vertical_hand())
        for row in {one.row.defense: one.row for one in found.values()}.values():
            worst = {one.attack for one in (row.backdoor, row.labels, row.features) if one}
            assert {one.spec.label for one in found.values() if one.strongest and one.row is row} == worst

    def test_the_strictest_gate_of_the_baseline_holds(self):
        made = vertical(vertical_task(), "none", "strong", 0, attacked=trained(0.88, 1.0), gate=Gate(advantage=1.0))
        found = on_vertical(replaced(vertical_hand(), made))
        assert not any(one.breaks for one in found.values())


class TestOutsourced:
    def test_the_mean_over_victims_must_be_below(self):
        where = outsourced_task()
        made = [
            outsourced(where, "none", "reading", inputs=inputs(0.0, 0.0, party="compute/0")),
            outsourced(where, "a", "ranks", inputs=inputs(0.0, 0.019)),
            outsourced(where, "b", "ranks", inputs=inputs(0.0, 0.02)),
            outsourced(where, "b", "shares", inputs=inputs(0.5, 0.5)),
        ]
        found = by_place(reach.on_inputs(score.outsourced_rows(made), 0.01))
        assert {place: one.breaks for place, one in found.items()} == {
            ("none", "reading"): True,
            ("a", "ranks"): True,
            ("b", "ranks"): False,
            ("b", "shares"): False,
        }
        assert [place for place, one in found.items() if one.strongest] == [
            ("none", "reading"),
            ("a", "ranks"),
            ("b", "ranks"),
        ]

    def test_the_strongest_of_one_moment_is_not_that_of_the_other(self):
        where = outsourced_task()
        made = [
            outsourced(where, "a", "late", inputs=inputs(0.01, 0.01)),
            outsourced(where, "a", "early", inputs=inputs(0.05, 0.05, moment="training")),
        ]
        found = by_place(reach.on_inputs(score.outsourced_rows(made), 0.01))
        assert (found["a", "late"].strongest, found["a", "early"].strongest) == (True, False)
