"""The workflows run what a person runs: tox environments that exist, programs and options that exist."""

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fl_attack_bench import hardware, safe_yaml, suite

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini")
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an installed package has no workflows")


def jobs(path):
    return safe_yaml.load(path)["jobs"].values()


def environments(path):
    """The tox environments that a workflow's steps run, those of a matrix one by one."""
    for job in jobs(path):
        for step in job["steps"]:
            for name in re.findall(r"tox -e (\S.*)", step.get("run", "")):
                chosen = job.get("strategy", {}).get("matrix", {})
                yield from chosen["env"] if "matrix.env" in name else [name]


def commands(environment):
    section = TOX[f"testenv:{environment}"]
    lines = section.get("commands", TOX["testenv"]["commands"]).strip().splitlines()
    return [shlex.split(re.sub(r"\{env:(\w+):([^}]*)\}", r"\2", line)) for line in lines]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_environments_of_tox(path):
    found = list(environments(path))
    assert found
    assert not [name for name in found if f"testenv:{name}" not in TOX]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_no_more_unless_it_says_so(path):
    assert safe_yaml.load(path)["permissions"]["contents"] == "read"
    assert all("timeout-minutes" in job for job in jobs(path))


@pytest.mark.parametrize("environment", ["quick", "board", "gpu"])
def test_what_these_environments_call_exists_with_its_options(environment):
    called = [words for words in commands(environment) if words[0] == "flab"]
    assert called
    for words in called:
        script = f"from fl_attack_bench.cli import main; main({[*own(words), '--help']})"
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert not [word for word in words if word.startswith("--") and word not in shown]
        if words[1] == "run":
            assert words[2] in suite.bundled()


def own(words):
    """The command's own words: ``run``, or ``board build``."""
    return words[1:3] if words[1] == "board" else words[1:2]


def test_the_runners_are_named_after_hardware_profiles():
    (job,) = jobs(ROOT / ".github" / "workflows" / "gpu.yml")
    assert set(job["strategy"]["matrix"]["hardware"]) <= set(hardware.bundled())
