"""Failed, missing, skipped and impossible cells: each is shown, and the row that needs it is incomplete."""

import pytest
from boards import UNATTACKED, by_defense, hand, record


def test_a_failed_counting_cell_makes_the_row_incomplete():
    records = [r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.seed == 1)]
    records += [
        record("noise", "dlg", 1, status="timeout", reason="20 minutes passed"),
        record("noise", "idlg", 1, [0.5, 0.04], [0, 0], 0.81),
        record("noise", "weak", 1, [0, 0], [0, 0], 0.81),
    ]
    row = by_defense(records)["noise"]
    assert row.summary == "1 of 6 cells failed: timeout"
    assert (row.complete, row.pareto) == (False, False)
    assert [(f.attack, f.seed, f.reason, f.counts) for f in row.failures] == [("dlg", 1, "20 minutes passed", True)]
    assert row.privacy is not None  # shown, not credited


def test_a_missing_seed_is_a_failure():
    row = by_defense([r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.seed == 1)])["noise"]
    assert row.summary == "3 of 6 cells missing"
    assert not row.complete


def test_a_failure_of_an_attack_that_does_not_count_is_shown_only():
    records = [r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.attack.name == "weak")]
    records += [record("noise", "weak", seed, status="error", reason="x") for seed in (0, 1)]
    row = by_defense(records)["noise"]
    assert row.summary == "2 of 6 cells failed: error"
    assert (row.complete, row.pareto) == (True, True)


def test_skipped_is_not_a_failure():
    records = [r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.attack.name == "idlg")]
    records += [record("noise", "idlg", seed, status="skipped", reason="no labels") for seed in (0, 1)]
    row = by_defense(records)["noise"]
    assert (row.complete, row.failures, len(row.skipped)) == (True, (), 2)
    assert row.skipped[0].reason == "no labels"


@pytest.mark.parametrize("attack", ["dlg", "idlg"])
def test_skipped_on_some_seeds_only_is_a_gap(attack):
    records = [
        record("noise", attack, 1, status="skipped", reason="chosen")
        if (r.cell.defense.name, r.cell.attack.name, r.cell.seed) == ("noise", attack, 1)
        else r
        for r in hand()
    ]
    row = by_defense(records)["noise"]
    assert (row.complete, row.pareto, row.failures) == (False, False, ())
    assert row.summary == "1 of 6 cells skipped, on some seeds only"
    assert [(skip.seed, skip.counts) for skip in row.skipped] == [(1, True)]


def test_a_seed_whose_cells_are_all_skipped_leaves_a_gap_in_the_utility():
    task = UNATTACKED
    records = [record("none", None, seed, task=task) for seed in (0, 1)]
    records += [record("noise", None, 0, task=task), record("noise", None, 1, task=task, status="skipped", reason="x")]
    row = by_defense(records)["noise"]
    assert (row.complete, row.utility.seeds) == (False, 1)


def test_a_weak_attack_that_is_skipped_on_some_seeds_is_shown_only():
    weak = record("noise", "weak", 1, status="skipped", reason="x")
    row = by_defense([weak if r.cell_id == weak.cell_id else r for r in hand()])["noise"]
    assert (row.complete, row.pareto, len(row.skipped)) == (True, True, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: {"reconstructed": [r.reconstructed[0]]}, "no trained"),
        (lambda r: {"utility": None}, "no utility"),
        (
            lambda r: {"reconstructed": [m.model_copy(update={"victims": []}) for m in r.reconstructed]},
            "no initial and no trained",
        ),
        (
            lambda r: {"reconstructed": [m.model_copy(update={"victims": m.victims[:1]}) for m in r.reconstructed]},
            "exactly the task's victims",
        ),
        (lambda r: {"cost": r.cost.model_copy(update={"bytes_total": 10**400})}, "impossible"),
        (lambda r: {"cost": r.cost.model_copy(update={"rounds": 0})}, "impossible"),
        (
            lambda r: {
                "reconstructed": [
                    m.model_copy(update={"victims": [v.model_copy(update={"mse": 1e308}) for v in m.victims]})
                    for m in r.reconstructed
                ]
            },
            "MSE above 1",
        ),
    ],
)
def test_an_ok_record_that_holds_less_or_more_than_it_can(change, reason):
    records = hand()
    records[6] = records[6].model_copy(update=change(records[6]))
    row = by_defense(records)["noise"]
    assert not row.complete
    assert any(reason in failure.reason for failure in row.failures)
