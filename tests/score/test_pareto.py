"""Pareto marks, by hand and on arbitrary boards."""

from boards import arbitrary, by_defense, hand, record
from hypothesis import given, settings

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
@given(arbitrary())
def test_a_dominated_row_is_never_marked(records):
    table = score.rows(records)
    for row in table:
        dominated = any(score.dominates(other, row) for other in table)
        assert row.pareto == (not dominated)
    assert any(row.pareto for row in table)
