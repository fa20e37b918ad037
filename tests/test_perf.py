"""The speed tests: each method has one, one that raises fails the job, and seconds are kept by hardware profile."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_workflows import commands

from fl_attack_bench import hardware, registry
from fl_attack_bench.api import HorizontalDefense, OutsourcedDefense, VerticalDefense

ROOT = Path(__file__).resolve().parent.parent
PERF = ROOT / "benchmarks" / "perf"
PROFILE = hardware.load("generic-cpu")
FIRST_PARTS = {HorizontalDefense: "client", VerticalDefense: "active", OutsourcedDefense: "inference"}
pytestmark = pytest.mark.skipif(not PERF.is_dir(), reason="an installed package has no speed tests")
TINY = """
import measured
import pytest

def broken():
    raise ZeroDivisionError("of the measured work")

def test_fine(benchmark):
    assert benchmark._timer is measured.clock
    benchmark.pedantic(lambda: None, rounds=3)

def test_several(benchmark):
    measured.repeated(benchmark, lambda: None)

def test_raises(benchmark):
    benchmark(broken)

def test_raises_when_repeated(benchmark):
    measured.repeated(benchmark, broken)
"""


def run(*words, folder=ROOT):
    # A worker of pytest-xdist, as which it would otherwise take itself, keeps no benchmarks.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    called = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", *words]
    return subprocess.run(
        [str(word) for word in called],
        check=False,
        cwd=folder,
        env=outside | {"FLAB_HARDWARE": PROFILE.name},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("environment", ["bench", "gpu"])
def test_both_environments_run_all_speed_tests(environment):
    called = commands(environment)[0]
    assert called[0] == "pytest"
    assert {"benchmarks/perf", "--benchmark-enable", "--benchmark-autosave"} <= set(called)


def test_a_benchmark_that_raises_fails_the_job_and_the_others_are_kept(tmp_path):
    for name in ("conftest.py", "measured.py"):
        shutil.copy(PERF / name, tmp_path)
    (tmp_path / "test_tiny.py").write_text(TINY)
    options = [word for word in commands("bench")[0][1:] if word not in ("benchmarks/perf", "{posargs}")]
    done = run("--rootdir", tmp_path, *options, tmp_path, folder=tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "2 failed, 2 passed" in done.stdout
    assert len(re.findall(r"^E +ZeroDivisionError: of the measured work", done.stdout, re.MULTILINE)) == 2
    (kept,) = (tmp_path / ".benchmarks" / PROFILE.name).rglob("*.json")
    told = json.loads(kept.read_text())
    assert {one["name"] for one in told["benchmarks"]} == {"test_fine", "test_several"}
    machine = told["machine_info"]
    assert (machine["hardware_profile"], machine["device"]) == (PROFILE.name, "cpu")
    assert all(figure > 0 for figure in machine["calibration"].values())
    several = next(one for one in told["benchmarks"] if one["name"] == "test_several")
    assert several["stats"]["rounds"] == 30
    assert several["stats"]["min"] > 0


def test_every_method_that_is_registered_is_timed():
    done = run("--collect-only", "-q", PERF / "test_every_attack.py", PERF / "test_every_defense.py")
    assert done.returncode == 0, done.stdout + done.stderr
    attacks = set(re.findall(r"test_attack\[(.+)-\w+\]", done.stdout))
    assert attacks == set(registry.names("attack"))
    timed = set(re.findall(r"test_defense\[(.+)-(\w+)-(\w+)\]", done.stdout))
    assert {name for name, _, _ in timed} == set(registry.names("defense"))
    for name in registry.names("defense"):
        cls = registry.find("defense", name).cls
        for base, part in FIRST_PARTS.items():
            assert ((name, base.__name__, part) in timed) == issubclass(cls, base)
