"""Whose the processor time was: the program's own, with what it started, or that of others."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from running import stand_in

from fl_attack_bench import usage
from fl_attack_bench.store import Store
from fl_attack_bench.usage import Usage

BURN = "while True: pass"
WATCH = """
import json, time
from fl_attack_bench import usage
begun = usage.now()
time.sleep(1.5)
ended = usage.now()
print(json.dumps([usage.others(begun, ended), ended.own - begun.own]))
"""
WORK = """
import sys, time
while time.process_time() < 0.5: pass
print(flush=True)
if sys.argv[1] == "stays": time.sleep(60)
"""
EMPLOY = f"""
import json, subprocess, sys
from fl_attack_bench import usage
begun = usage.now()
command = [sys.executable, "-c", {WORK!r}, sys.argv[1]]
started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
for one in started:
    one.stdout.readline()
    sys.argv[1] == "stays" or one.wait()
ended = usage.now()
for one in started:
    one.kill()
print(json.dumps(ended.own - begun.own))
"""


@contextlib.contextmanager
def busy_machine():
    """Every core that we may use computes for somebody else."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(usage.now().cores)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def measured(script, *words):
    command = [sys.executable, "-c", script, *words]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_the_share_of_others_is_what_is_left_of_the_busy_time():
    begun = Usage(wall=10, busy=100, own=50, cores=4)
    assert usage.others(begun, Usage(wall=12, busy=106, own=52, cores=4)) == 0.5
    assert usage.others(begun, Usage(wall=12, busy=102, own=52.1, cores=4)) == 0.0  # ticks are not exact
    assert usage.others(begun, Usage(wall=11, busy=110, own=50, cores=4)) == 1.0
    assert usage.others(begun, Usage(wall=10.4, busy=101, own=50, cores=4)) is None


def test_processes_that_are_not_ours_are_others():
    with busy_machine():
        others, own = measured(WATCH)
    assert others > 0.6
    assert own < 0.3


@pytest.mark.parametrize("how", ["stays", "ends"])
def test_what_the_program_started_is_its_own_whether_it_runs_or_has_ended(how):
    assert 0.9 < measured(EMPLOY, how) < 2  # two processes that computed for half a second each


def test_a_run_on_a_busy_machine_is_marked_on_its_records(tmp_path):
    with busy_machine():
        played = subprocess.run([sys.executable, stand_in.__file__, str(tmp_path)], check=False, timeout=120)
    assert played.returncode == 0
    records, _ = Store(tmp_path / "runs").load()
    assert records
    for record in records:
        found = record.provenance.conditions
        assert found.others > 0.2
        assert "busy" in {mark.kind for mark in found.marks}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets nobody choose cores")
def test_only_the_cores_that_it_may_use_count():
    script = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    script += "from fl_attack_bench import usage; print(usage.now().cores)"
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert answer.stdout == "1\n"
