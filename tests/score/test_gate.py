"""The gate: which attacks count, and what the table says where none does."""

import pytest
from boards import by_defense, hand, record

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
