"""Two real packages, installed as pip installs them: one brings methods, the other does not import."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_suite

from fl_attack_bench.store import Store

HERE = Path(__file__).resolve().parent
MAIN = "import sys; from fl_attack_bench.cli import main; sys.exit(main())"

pytestmark = pytest.mark.xdist_group("plugins")  # one worker installs them, once


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder on the path that holds both packages and what pip knows of them."""
    target, sources = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("sources")
    for name in ("plugin_package", "broken_package"):
        shutil.copytree(HERE / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    pip = subprocess.run([*command, *map(str, sources.iterdir())], capture_output=True, text=True, check=False)
    assert pip.returncode == 0, pip.stderr
    return target


@pytest.fixture
def flab(installed, tmp_path):
    """The program in an empty folder, in a process that finds the packages as any installed one."""

    def call(*words):
        environment = os.environ | {"PYTHONPATH": str(installed)}
        command = [sys.executable, "-c", MAIN, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return call


def test_what_a_package_brings_is_listed_and_what_does_not_import_is_named_and_left_out(flab):
    listed = flab("list", "defenses")
    assert (listed.returncode, listed.stderr) == (0, "")
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in listed.stdout.splitlines()}
    assert rows["example_clamp"] == "entry-point"
    assert rows["none"] == "built-in"
    assert rows["broken_defense"] == (
        "left out: defense 'broken_defense' of entry point 'flab_plugin_broken:Broken' does not import: "
        "it wants version 0.0.1 of something"
    )
    assert rows["gone_defense"].endswith("does not import: No module named 'flab_plugin_gone'")
    assert "example_labels" in flab("list", "attacks").stdout


@pytest.mark.parametrize("name", ["example_clamp", "example_labels"])
def test_what_a_package_brings_keeps_its_contract_by_its_name(flab, name):
    checked = flab("check", name)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
    assert " 0 failed" in checked.stdout


def test_it_is_played_by_its_name_beside_the_others_with_its_own_source(flab, tmp_path, installed):
    task = tiny_suite.TINY["tasks"][0] | {"victims": {"first": 2}}
    suite = tiny_suite.TINY | {"tasks": [task], "attacks": ["label_inference"], "seeds": [0], "defenses": ["none"]}
    (tmp_path / "tiny.yaml").write_text(json.dumps(suite))
    words = ["--defense", "example_clamp[limit=0.5]", "--attack", "example_labels", "--no-tracking"]
    played = flab("run", "tiny.yaml", *words)
    assert played.returncode == 0, played.stdout + played.stderr
    records, warnings = Store(tmp_path / "flab-runs").load()
    assert not warnings
    assert {record.cell.defense.name for record in records} == {"none", "example_clamp"}
    for record in records:
        assert (record.status, record.attack.origin, record.attack.title) == (
            "ok",
            "entry-point",
            "Labels of a plugin",
        )
        assert record.reconstructed[0].label_accuracy == 1.0
    (mine,) = [record.defense for record in records if record.cell.defense.name == "example_clamp"]
    source = (installed / "flab_plugin_example" / "clamp.py").read_bytes()
    assert (mine.origin, mine.parameters) == ("entry-point", {"limit": 0.5})
    assert mine.source_sha256 == hashlib.sha256(source).hexdigest()


def test_the_broken_one_is_refused_by_name_where_it_is_asked_for(flab, tmp_path):
    (tmp_path / "tiny.yaml").write_text(json.dumps(tiny_suite.TINY))
    refused = flab("run", "tiny.yaml", "--defense", "broken_defense", "--no-tracking")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "defense 'broken_defense' of entry point 'flab_plugin_broken:Broken' does not import: it wants" in (
        refused.stderr
    )
    assert refused.stderr.count("\n") == 1
