"""Every cell ends as a record: failures too, and whatever kills the run in between."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from running import stand_in

from fl_attack_bench.errors import UserError
from fl_attack_bench.jobs import PICTURES
from fl_attack_bench.progress import Quiet
from fl_attack_bench.store import GRID, Store


class Heard(Quiet):
    def __init__(self):
        self.said, self.begun, self.jobs, self.records = [], None, [], []

    def begin(self, cells, kept, jobs, workers):
        self.begun = (cells, kept, dict(jobs))

    def finished(self, job, outcome):
        self.jobs.append(job.kind)

    def cell(self, record):
        self.records.append(record)

    def say(self, message):
        self.said.append(message)


class FakeLog:
    def __init__(self):
        self.logged, self.events = [], []

    def start(self):
        self.events.append("start")

    def log(self, record):
        self.logged.append(record.cell_id)

    def close(self, *, wait):
        self.events.append(f"close {wait}")


def events(folder):
    for line in (folder / "runs" / "events").read_text().splitlines():
        when, what, kind, key = line.split()
        yield float(when), what, kind, key


def load(folder):
    records, warnings = Store(folder / "runs").load()
    assert not warnings
    return {record.cell_id: record for record in records}


def only(folder, task):
    return next(record for record in load(folder).values() if record.cell.task.name == task)


def test_a_whole_run_shares_jobs_times_alone_and_resumes_with_nothing_to_do(tmp_path):
    suite = stand_in.suite(tmp_path, defenses=[{"sleep": 0.05}, {"sleep": 0.06}], seeds=(0, 1))
    heard, log = Heard(), FakeLog()
    summary = stand_in.go(tmp_path, suite, workers=2, progress=heard, log=log)
    assert (summary.exit_status, summary.played, summary.kept) == (0, 12, 0)
    assert summary.counts == {"ok": 12}
    # two tasks x two defenses x two seeds, two attacks on the first task; timing is shared by the seeds
    assert Counter(heard.jobs) == {"centralised": 4, "training": 8, "timing": 4, "attack": 8}
    assert heard.begun == (12, 0, dict(Counter(heard.jobs)))
    records = load(tmp_path)
    assert sorted(log.logged) == sorted(records)
    assert log.events[:2] == ["start", "close True"]

    running = set()
    beside_timing, widest = 0, 0
    for _, what, kind, key in sorted(events(tmp_path)):
        (running.add if what == "begin" else running.discard)((kind, key))
        widest = max(widest, len(running))
        beside_timing += len(running) > 1 and any(kind == "timing" for kind, _ in running)
    assert (beside_timing, widest) == (0, 2)

    record = only(tmp_path, "t1")
    assert record.provenance.dataset_fingerprint == "f" * 64
    assert record.provenance.calibration.keys() == {"speed"}
    assert record.cost.client_seconds is not None
    assert record.utility.centralised_accuracy >= 0
    assert (Store(tmp_path / "runs").place(record.cell_id) / PICTURES).is_file()
    assert (Store(tmp_path / "runs").place(record.cell_id) / GRID).read_bytes().startswith(b"\x89PNG")

    again = Heard()
    summary = stand_in.go(tmp_path, suite, workers=2, progress=again)
    assert (summary.played, summary.kept, again.jobs) == (0, 12, [])


def test_active_attacks_are_jobs_of_their_own_on_the_training_that_all_share(tmp_path):
    suite = stand_in.suite(tmp_path, defenses=[{}, {"behave": "raise", "at": "corrupted"}], adversary="clients")
    heard = Heard()
    stand_in.go(tmp_path, suite, progress=heard)
    assert Counter(heard.jobs) == {"centralised": 2, "training": 4, "timing": 4, "attack": 4, "corrupted": 4}
    played = [record for record in load(tmp_path).values() if record.cell.task.name == "t2"]
    fine, failed = ([r for r in played if r.status == status] for status in ("ok", "error"))
    assert len(fine) == len(failed) == 2
    for record in fine:
        assert (record.integrity.clients, record.integrity.failures) == (1, ["x"])
        assert record.integrity.accuracy != record.utility.accuracy
    assert len({record.integrity.accuracy for record in fine}) == 2
    assert len({record.utility.accuracy for record in fine}) == 1
    for record in failed:
        assert record.integrity is None
        assert record.utility is not None
        assert record.reason.startswith("corrupted: ValueError: bad luck")


def test_failures_become_records_and_the_rest_goes_on(tmp_path):
    bad = [
        {"behave": "raise", "at": "training"},
        {"behave": "crash", "at": "timing"},
        {"behave": "skip", "at": "attack"},
        {"behave": "nonsense", "at": "never"},
        {"behave": "broken import"},
        {"behave": "fine", "at": "never"},
    ]
    summary = stand_in.go(tmp_path, stand_in.suite(tmp_path, defenses=bad), workers=2)
    found = {
        (r.cell.defense.parameters["behave"], r.cell.task.name): r
        for r in load(tmp_path).values()
        if r.cell.attack is None or "guess2" not in r.cell.attack.name
    }
    record = found["raise", "t1"]
    assert record.status == "error"
    assert record.reason.startswith("training: ValueError: bad luck")
    assert record.utility is None
    assert not record.reconstructed
    record = found["crash", "t1"]
    assert record.status == "error"
    assert record.reason.startswith("timing: worker died: signal 11")
    assert record.cost.client_seconds is None
    assert record.utility is not None
    assert record.reconstructed
    record = found["skip", "t1"]
    assert (record.status, record.reason) == ("skipped", "attack: not on this task")
    assert record.utility is not None
    assert found["skip", "t2"].status == "ok"
    assert found["nonsense", "t2"].reason.startswith("the results make no sound record: utility.accuracy")
    record = found["broken import", "t1"]
    assert record.status == "error"
    assert "does not load: worker died: signal 11" in record.reason
    assert record.defense.name == "plain"
    assert {found["fine", task].status for task in ("t1", "t2")} == {"ok"}
    assert summary.exit_status == 1
    assert len(summary.failures) == 12
    assert summary.counts["skipped"] == 2

    kept = Heard()
    assert stand_in.go(tmp_path, stand_in.suite(tmp_path, defenses=bad), progress=kept).played == 0
    assert not kept.jobs


def test_timeouts_reach_the_records_of_all_that_depend(tmp_path):
    defenses = [{"behave": "hang", "at": "training"}]
    suite = stand_in.suite(tmp_path, defenses=defenses, limits={"minutes": 0.01, "memory_gib": 2})
    stand_in.go(tmp_path, suite)
    records = load(tmp_path).values()
    assert len(records) == 3
    assert {(r.status, r.reason) for r in records} == {("timeout", "training: timeout after 0.01 min")}


def test_failed_cells_are_played_again_only_on_demand(tmp_path):
    suite = stand_in.suite(tmp_path, defenses=[{"behave": "user", "at": "training"}])
    assert stand_in.go(tmp_path, suite).exit_status == 1
    assert stand_in.go(tmp_path, suite).played == 0
    summary = stand_in.go(tmp_path, suite, retry_failed=True)
    assert (summary.played, summary.kept, summary.exit_status) == (3, 0, 1)
    trained = [kind for _, what, kind, _ in events(tmp_path) if what == "begin" and kind == "training"]
    assert len(trained) == 4


def test_a_changed_method_is_played_again_and_a_changed_gate_only_put_together_again(tmp_path):
    stand_in.go(tmp_path, stand_in.suite(tmp_path))
    (tmp_path / "guess.py").write_text("# changed\n")
    heard = Heard()
    assert stand_in.go(tmp_path, stand_in.suite(tmp_path), progress=heard).played == 1
    assert heard.jobs == ["attack"]
    heard = Heard()
    assert stand_in.go(tmp_path, stand_in.suite(tmp_path, gate={"mse": 0.5}), progress=heard).played == 3
    assert heard.jobs == []


def test_a_corrupt_record_is_named_kept_aside_and_played_again(tmp_path):
    suite = stand_in.suite(tmp_path)
    stand_in.go(tmp_path, suite)
    record = only(tmp_path, "t1")
    path = Store(tmp_path / "runs").place(record.cell_id) / "record.json"
    path.write_text(path.read_text()[:200])
    heard = Heard()
    summary = stand_in.go(tmp_path, suite, progress=heard)
    assert (summary.played, summary.kept) == (1, 2)
    assert any(str(path) in line and "record.json.corrupt" in line for line in heard.said)
    assert path.with_name("record.json.corrupt").is_file()
    assert load(tmp_path)[record.cell_id].without_timings() == record.without_timings()


def test_bad_input_ends_the_run_before_anything_is_played(tmp_path):
    with pytest.raises(UserError, match=r"suite 'stand-in': defense plain\[unknown=1\]: unknown parameter 'unknown'"):
        stand_in.go(tmp_path, stand_in.suite(tmp_path, defenses=[{"unknown": 1}]))
    suite = stand_in.suite(tmp_path)
    (tmp_path / "guess.py").unlink()
    with pytest.raises(UserError, match=r"suite 'stand-in': attack file .*guess.py does not exist"):
        stand_in.go(tmp_path, suite)
    assert not (tmp_path / "runs" / "events").exists()


def start(folder):
    return subprocess.Popen(
        [sys.executable, stand_in.__file__, str(folder)],
        env={**os.environ, **stand_in.ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_ten_kills_at_random_moments_change_nothing(tmp_path):
    # both folders hold the methods under the same path, as their paths are part of the cells
    for name in ("calm", "wild"):
        (tmp_path / name).mkdir()
    here = tmp_path / "here"
    here.symlink_to("calm")
    assert start(here).wait(timeout=120) == 0
    calm = {key: record.without_timings() for key, record in load(here).items()}
    here.unlink()
    here.symlink_to("wild")
    hit = 0
    moments = random.Random(7)
    for _ in range(10):
        parent = start(here)
        time.sleep(moments.uniform(0.3, 1.6))
        hit += parent.poll() is None
        parent.kill()
        parent.wait()
    assert hit >= 7
    assert start(here).wait(timeout=120) == 0
    wild = {key: record.without_timings() for key, record in load(here).items()}
    assert len(calm) == 18
    assert wild == calm
    scratch = [path for path in (here / "runs" / "work").rglob(".*") if path.name != ".lock"]
    assert not scratch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_what_is_finished(tmp_path, number):
    parent = start(tmp_path)
    deadline = time.monotonic() + 30
    while not list((tmp_path / "runs" / "records").glob("*/record.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    parent.send_signal(number)
    assert parent.wait(timeout=20) == 130
    assert 0 < len(load(tmp_path)) < 18


def test_a_broken_outcome_file_is_no_obstacle(tmp_path):
    suite = stand_in.suite(tmp_path)
    stand_in.go(tmp_path, suite)
    for path in (tmp_path / "runs" / "work").rglob("*.outcome"):
        path.write_text("{")
    for path in (tmp_path / "runs" / "records").glob("*/record.json"):
        json.loads(path.read_text())
        path.unlink()
    heard = Heard()
    summary = stand_in.go(tmp_path, suite, progress=heard)
    assert (summary.played, summary.exit_status, heard.jobs) == (3, 0, [])
