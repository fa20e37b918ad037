"""How records are gathered into rows: by task and hardware, the latest play of a cell, in any order."""

import subprocess
import sys
from datetime import datetime
from random import Random

import pytest
from boards import TASK, UNATTACKED, UNTRAINED, by_defense, changed, hand, record
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import score
from fl_attack_bench.suite import MethodSpec, Suite


def test_every_row_names_its_commands():
    row = by_defense(hand())["noise"]
    assert len(row.commands) == len(row.records) == row.cells == 6
    assert "flab run hand --defense noise --attack dlg --seed 0" in row.commands


def test_privacy_only():
    table = by_defense(
        [
            record("none", initial=[0, 0], task=UNTRAINED),
            record("noise", initial=[0.2, 0.4], task=UNTRAINED),
        ]
    )
    row = table["noise"]
    assert row.privacy.mean.value == pytest.approx(0.3)
    assert table["none"].privacy.psnr is None
    assert (row.utility, row.cost, row.complete, row.pareto) == (None, None, True, False)


def test_utility_only():
    row = by_defense([record("none", None, task=UNATTACKED), record("noise", None, task=UNATTACKED)])["noise"]
    assert (row.verdict, row.privacy, row.complete, row.cells) == ("not attacked", None, True, 1)
    assert row.utility.difference == 0


def test_hardware_profiles_are_apart():
    both = [*hand(), *(record("noise", "dlg", 0, [0.1, 0.1], [0.1, 0.1], hardware="gpu") for _ in range(1))]
    assert {(row.hardware, row.verdict) for row in score.rows(both)} == {("cpu", "scored"), ("gpu", "no baseline")}


def test_the_later_play_of_a_cell_counts():
    early = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.1, day=0)
    late = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.7, day=1)
    for order in ([early, late], [late, early]):
        assert score.rows(order)[0].utility.accuracy == pytest.approx(0.7)


def test_naive_and_aware_start_times_compare():
    early = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.1)
    naive = early.provenance.model_copy(update={"started": datetime(2027, 1, 1)})
    late = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.7).model_copy(update={"provenance": naive})
    assert score.rows([late, early])[0].utility.accuracy == pytest.approx(0.7)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(random: Random):
    records = [*hand(), record("noise", "dlg", 0, [0, 0], [0, 0], day=-3)]
    shuffled = list(records)
    random.shuffle(shuffled)
    assert score.rows(shuffled) == score.rows(records)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"provenance": {"dataset_fingerprint": "g"}}, "different versions of the dataset"),
        ({"provenance": {"packages": {"fl-attack-bench": "9"}}}, "different engine versions"),
        ({"attack": {"source_sha256": "1" * 64}}, "different versions of an attack's source"),
        ({"defense": {"source_sha256": "1" * 64}}, "different versions of the source"),
        ({"provenance": {"dirty": True}}, "uncommitted changes"),
    ],
)
def test_records_that_do_not_belong_together_are_noted(change, note):
    records = hand()
    assert by_defense(records)["noise"].notes == ()
    records[6] = changed(records[6], **change)
    table = by_defense(records)
    assert any(note in text for text in table["noise"].notes)
    assert table["none"].notes == ()
    assert table["noise"].pareto == ("dataset" not in note)


def test_a_record_without_data_says_nothing_of_the_data():
    failed = record("noise", "weak", 0, status="error", reason="x")
    records = [r for r in hand() if r.cell_id != failed.cell_id]
    row = by_defense([*records, changed(failed, provenance={"dataset_fingerprint": ""})])["noise"]
    assert (row.notes, row.pareto) == ((), True)


def test_none_with_parameters_is_not_the_baseline():
    spec, other = MethodSpec(name="none"), MethodSpec(name="none", parameters={"x": 1})
    assert (spec.is_baseline, other.is_baseline) == (True, False)
    grid = {"suite": "s", "version": 1, "title": "t", "seeds": [0], "attacks": ["dlg"]}
    suite = Suite.model_validate({**grid, "tasks": [TASK.model_dump()], "defenses": [{"none": {"x": 1}}]})
    assert [cell.defense for cell in suite.cells("cpu")] == [spec, other]
    table = by_defense([record("none", parameters={"x": 1}, initial=[0, 0], trained=[0, 0])])
    assert [row.baseline for row in table.values()] == [False]


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, fl_attack_bench.score;"
        "print([m for m in ('torch', 'mlflow', 'pandas', 'matplotlib', 'seaborn', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
