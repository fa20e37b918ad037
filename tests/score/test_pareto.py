"""Pareto marks, by hand and on arbitrary boards."""

import pytest
from boards import arbitrary, by_defense, changed, crowded, hand, record
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import score


def test_pareto():
    table = by_defense(hand())
    assert table["none"].pareto  # more accurate
    assert table["noise"].pareto  # better in MSE and bytes
    dominated = [
        record("worse", attack, seed, [0.01, 0.02], [0.1, 0.1], 0.8, up=60.0, seconds=1.0)
        for attack in ("dlg", "idlg", "weak")
        for seed in (0, 1)
    ]
    table = by_defense([*hand(), *dominated])
    assert not table["worse"].pareto  # 3% faster than noise: within the tolerance, so no reason to keep it
    assert table["noise"].pareto


def test_a_clearly_faster_row_is_not_dominated():
    faster = [
        record("fast", attack, seed, [0.01, 0.02], [0.1, 0.1], 0.8, up=60.0, seconds=0.1)
        for attack in ("dlg", "idlg", "weak")
        for seed in (0, 1)
    ]
    assert by_defense([*hand(), *faster])["fast"].pareto


@settings(max_examples=40, deadline=None)
@given(st.one_of(arbitrary(), crowded()))
def test_a_dominated_row_is_never_marked_and_one_is_always_left(records):
    table = score.rows(records)
    for row in table:
        assert not score.dominates(row, row)
        dominators = [other for other in table if score.dominates(other, row)]
        assert row.pareto == (not dominators)
        assert not any(score.dominates(row, other) for other in dominators)
    assert any(row.pareto for row in table)


def pair(**better):
    """Two defenses that are alike but for what is given."""
    alike = {"initial": [0.2, 0.2], "trained": [0.2, 0.2], "accuracy": 0.8, "up": 100.0, "seconds": 1.0}
    found = [record("none", "dlg", 0, [0, 0], [0, 0]), record("b", **alike), record("a", **alike | better)]
    table = by_defense(found)
    return table["a"], table["b"]


@pytest.mark.parametrize(
    ("better", "wins"),
    [
        ({"initial": [0.2019, 0.2019], "trained": [0.3, 0.3]}, False),
        ({"initial": [0.2021, 0.2021], "trained": [0.3, 0.3]}, True),
        ({"accuracy": 0.8009}, False),
        ({"accuracy": 0.801}, False),
        ({"accuracy": 0.8011}, True),
        ({"up": 99.0}, True),
        ({"seconds": 0.9}, False),
        ({"seconds": 0.5}, True),
    ],
)
def test_only_more_than_the_tolerance_is_better(better, wins):
    a, b = pair(**better)
    assert score.dominates(a, b) == wins
    assert not score.dominates(b, a)


def test_what_is_lost_within_the_tolerance_saves_no_row():
    a, b = pair(initial=[0.1985, 0.1985], accuracy=0.7992, up=50.0)
    assert score.dominates(a, b)
    assert not score.dominates(*pair(initial=[0.197, 0.197], up=50.0))
    assert not score.dominates(*pair(accuracy=0.798, up=50.0))


def test_rows_that_would_dominate_each_other_in_a_circle():
    """At equal bytes: a over b by MSE, b over c by accuracy, c over a by seconds, each worse elsewhere but within."""

    def made(name, mse, accuracy, seconds):
        return record(name, "dlg", 0, [mse] * 2, [mse] * 2, accuracy, seconds=seconds - 0.5, network=0.0)

    table = by_defense(
        [
            record("none", "dlg", 0, [0, 0], [0, 0]),
            made("a", 0.2 * 1.0105, 0.5010, 2.0),
            made("b", 0.2, 0.5015, 1.9),
            made("c", 0.2 * 1.005, 0.5000, 1.81),
        ]
    )
    assert any(table[name].pareto for name in "abc")


def diverge(found):
    return changed(found, utility={"diverged": True})


def test_a_training_that_diverged_does_not_compete():
    records = [*hand(), *(record("cheap", a, s, [0.9, 0.9], [0.9, 0.9], 0.95, up=1.0) for a, s in CELLS)]
    assert by_defense(records)["cheap"].pareto
    assert not by_defense(records)["noise"].pareto
    records[-1] = diverge(records[-1])
    table = by_defense(records)
    assert (table["cheap"].complete, table["cheap"].pareto, table["noise"].pareto) == (True, False, True)
    assert "training diverged" in table["cheap"].notes
    assert "training diverged" not in table["noise"].notes


CELLS = [(attack, seed) for attack in ("dlg", "idlg", "weak") for seed in (0, 1)]


def test_a_training_that_stopped_early_is_not_cheap():
    alike = ([0.2, 0.2], [0.2, 0.2], 0.8)
    found = [record("none", "dlg", 0, [0, 0], [0, 0]), record("long", "dlg", 0, *alike)]
    table = by_defense([*found, record("short", "dlg", 0, *alike, rounds=1)])
    assert table["short"].cost.bytes_total < table["long"].cost.bytes_total
    assert not score.dominates(table["short"], table["long"])
    assert table["short"].cost.round_times == table["long"].cost.round_times == 1.0


def test_other_data_than_the_baselines_do_not_compete():
    records = [
        changed(r, provenance={"dataset_fingerprint": "g"}) if r.cell.defense.name == "noise" else r for r in hand()
    ]
    table = by_defense(records)
    assert (table["noise"].pareto, table["none"].pareto) == (False, True)
    assert "the dataset is not the undefended federation's" in table["noise"].notes
    assert table["none"].notes == ()
