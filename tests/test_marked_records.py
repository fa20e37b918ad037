"""A run looks at the machine before and after what it times, and marks its records."""

import json
import shutil

import pytest
from running import stand_in
from test_runner import Heard

from fl_attack_bench import hardware, usage
from fl_attack_bench.conditions import Range
from fl_attack_bench.store import Store

NAME = "matrix_product_gflops"


@pytest.fixture
def planted(monkeypatch):
    """A profile's range, the figures that are measured one after the other, and the share of others."""

    def plant(*values, others=0.0, ranges=None):
        monkeypatch.setattr(usage, "others", lambda begun, ended: others)
        figures = json.dumps([{NAME: value} for value in values])
        monkeypatch.setattr(stand_in, "ENVIRONMENT", stand_in.ENVIRONMENT | {"FIGURES": figures})
        profile = hardware.load("generic-cpu").model_copy(update={"calibration": ranges or {}})
        monkeypatch.setattr(stand_in, "load", lambda name: profile)

    return plant


def marked(folder):
    records, _ = Store(folder / "runs").load()
    assert records
    found = {record.provenance.conditions.model_dump_json() for record in records}
    assert len(found) == 1
    return [(mark.kind, mark.reason) for mark in records[0].provenance.conditions.marks]


def test_a_run_measures_before_and_after_and_marks_every_record(tmp_path, planted):
    planted(100, 60, others=0.5, ranges={NAME: Range(at_least=80)})
    heard = Heard()
    stand_in.go(tmp_path, stand_in.suite(tmp_path), progress=heard)
    kinds = [kind for kind, _ in marked(tmp_path)]
    assert kinds == ["busy", "out of range", "slower"]
    assert [f"the records are marked: {reason}" for _, reason in marked(tmp_path)] == heard.said
    record = Store(tmp_path / "runs").load()[0][0]
    assert record.provenance.calibration == {NAME: 100}
    assert record.provenance.conditions.after == {NAME: 60}


def test_a_quiet_machine_that_is_what_it_claims_is_not_marked(tmp_path, planted):
    planted(100, 99, others=0.02, ranges={NAME: Range(at_least=80, at_most=120)})
    heard = Heard()
    stand_in.go(tmp_path, stand_in.suite(tmp_path), progress=heard)
    assert (marked(tmp_path), heard.said) == ([], [])


def test_seconds_of_an_earlier_run_keep_its_marks_and_a_new_range_replays_nothing(tmp_path, planted):
    suite = stand_in.suite(tmp_path)
    planted(100, 100, others=0.9)
    stand_in.go(tmp_path, suite)
    shutil.rmtree(tmp_path / "runs" / "records")
    planted(100, 100, others=0.0, ranges={NAME: Range(at_least=500)})
    heard = Heard()
    summary = stand_in.go(tmp_path, suite, progress=heard)
    assert (heard.jobs, summary.played > 0) == ([], True)
    assert [kind for kind, _ in marked(tmp_path)] == ["busy"]
