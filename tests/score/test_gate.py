"""The gate: which attacks count, and what the table says where none does."""

import pytest
from boards import by_defense, hand, record, with_images

from fl_attack_bench import score
from fl_attack_bench.suite import Gate


def test_gate_counts_an_attack_only_where_it_breaks_the_undefended():
    row = by_defense(hand())["noise"]
    passed = {(s.attack, s.moment): s.passed for s in row.attacks}
    shares = {(s.attack, s.moment): s.baseline_share for s in row.attacks}
    assert passed == {
        ("dlg", "initial"): True,
        ("dlg", "trained"): True,
        ("idlg", "initial"): True,
        ("idlg", "trained"): False,
        ("weak", "initial"): False,
        ("weak", "trained"): False,
    }
    assert shares["dlg", "trained"] == 0.75
    assert shares["idlg", "initial"] == 0.5
    assert shares["weak", "initial"] == 0.25


def test_no_attack_breaks_the_undefended():
    weak = [0.3, 0.3]
    table = by_defense([record("none", initial=weak, trained=weak), record("noise", initial=weak, trained=weak)])
    row = table["noise"]
    assert (row.verdict, row.privacy, row.moments, row.pareto) == ("attack too weak", None, (), False)
    assert row.attacks[0].mean == pytest.approx(0.3)
    assert row.complete


def test_no_undefended_record():
    assert by_defense([record("noise", initial=[0, 0], trained=[0, 0])])["noise"].verdict == "no baseline"


def test_a_path_called_none_is_not_the_baseline():
    row = score.rows([record("./none.py", initial=[0, 0], trained=[0, 0])])[0]
    assert (row.defense, row.verdict) == ("none", "no baseline")


def test_a_looser_gate_in_a_strangers_record_changes_nothing():
    stranger = record("noise", initial=[0.3, 0.3], trained=[0.3, 0.3]).model_copy(
        update={"gate": Gate(mse=0.9, share=0.1)}
    )
    baseline = record("none", initial=[0.3, 0.3], trained=[0.3, 0.3])
    assert by_defense([baseline, stranger])["noise"].verdict == "attack too weak"


def test_an_image_on_which_the_attack_ran_off_is_not_broken_however_close_it_is():
    ran_off = with_images(record("none", initial=[0.001, 0.002], trained=[0.001, 0.002]), diverged=[True, False])
    row = by_defense([ran_off])["none"]
    assert [score.baseline_share for score in row.attacks] == [0.5, 0.5]
    assert [score.diverged for score in row.attacks] == [1, 1]
    assert row.verdict == "scored"
    assert (row.privacy.broken, row.privacy.mean.value) == (0.5, pytest.approx(0.0015))


def test_an_attack_that_always_runs_off_does_not_count():
    ran_off = with_images(record("none", initial=[0.001, 0.002], trained=[0.001, 0.002]), diverged=[True, True])
    row = by_defense([ran_off])["none"]
    assert (row.verdict, row.attacks[0].passed, row.attacks[0].mean) == (
        "attack too weak",
        False,
        pytest.approx(0.0015),
    )


def test_what_one_attack_breaks_is_broken_even_where_another_came_closer_and_ran_off():
    broken = [0.001, 0.001]
    records = [record("none", attack, initial=broken, trained=broken) for attack in ("dlg", "idlg")]
    records += [
        with_images(record("noise", "dlg", initial=[0.003, 0.003], trained=[0.5, 0.5]), diverged=[True, True]),
        record("noise", "idlg", initial=[0.004, 0.4], trained=[0.5, 0.5]),
    ]
    privacy = by_defense(records)["noise"].privacy
    assert (privacy.moment, privacy.broken) == ("initial", 0.5)
    assert privacy.mean.value == pytest.approx(0.003)
    assert privacy.strongest == (("dlg", 2),)
