"""The display: a line a cell where there is no terminal, no markup from strangers where there is one."""

import io
from datetime import UTC, datetime

import pytest
from running import stand_in

from fl_attack_bench import progress
from fl_attack_bench.jobs import Job, Outcome
from fl_attack_bench.progress import Estimate, Lines, Screen, described, duration, make
from fl_attack_bench.store import Store


@pytest.fixture
def cell(tmp_path):
    return stand_in.cells(stand_in.suite(tmp_path))[0]


def outcome(seconds):
    return Outcome(status="ok", seconds=seconds, started=datetime.now(UTC))


def test_lines_tell_each_cell_and_each_failure(tmp_path):
    out = io.StringIO()
    defenses = [{"behave": "raise", "at": "training"}, {"behave": "fine", "at": "never"}]
    stand_in.go(tmp_path, stand_in.suite(tmp_path, defenses=defenses), progress=make(out))
    lines = out.getvalue().splitlines()
    assert lines[0] == "6 cells; 14 jobs to play on 1 workers"
    assert len(lines) == 7
    assert lines[-1].startswith("[6/6] ")
    assert sum("error   t1 | plain[" in line and "ValueError: bad luck" in line for line in lines) == 2


def test_time_left_counts_what_runs_side_by_side(cell):
    estimate = Estimate({"timing": 1, "training": 4, "attack": 4}, workers=2)
    assert estimate.seconds() is None
    estimate.finished(Job(kind="training", cell=cell), outcome(10))
    assert estimate.seconds() == pytest.approx(10 + 3 * 10 / 2 + 4 * 10 / 2)
    estimate.finished(Job(kind="attack", cell=cell), outcome(2))
    assert estimate.seconds() == pytest.approx(6 + 3 * 10 / 2 + 3 * 2 / 2)
    estimate.finished(Job(kind="attack", cell=cell), outcome(0))  # never played
    assert estimate.seconds() == pytest.approx(6 + 3 * 10 / 2 + 2 * 2 / 2)


def test_durations_read_well():
    assert [duration(s) for s in (0.4, 45, 100, 3600, 11100)] == ["0 s", "45 s", "2 min", "60 min", "3 h 05 min"]


def test_the_screen_counts_and_takes_nothing_for_markup(tmp_path, cell, monkeypatch):
    stand_in.go(tmp_path, stand_in.suite(tmp_path))
    record = Store(tmp_path / "runs").load()[0][0]
    failed = record.model_copy(update={"status": "error", "reason": "[bold]<b>\x07 boom[/nothing]"})
    from rich.console import Console

    out = io.StringIO()
    screen = Screen()
    screen._console = Console(file=out, force_terminal=True, width=200)
    screen.begin(3, 1, {"training": 1}, 2)
    job = Job(kind="training", cell=cell)
    screen.started(job)
    screen.finished(job, outcome(1))
    screen.cell(failed)
    screen.end()
    text = out.getvalue()
    assert "[bold]<b>" in text
    assert "2/3 cells" in text
    assert "1 failed" in text


def test_no_terminal_means_lines(monkeypatch):
    assert isinstance(make(io.StringIO()), Lines)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(make(), Screen)


def test_a_failure_is_described_in_one_line(tmp_path):
    stand_in.go(tmp_path, stand_in.suite(tmp_path))
    record = Store(tmp_path / "runs").load()[0][0]
    text = described(record.model_copy(update={"status": "timeout", "reason": "first\nsecond"}))
    assert text.endswith(": first")
