"""Provenance says enough to make a record again."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fl_attack_bench import provenance, registry
from fl_attack_bench.errors import UserError
from fl_attack_bench.suite import Cell, MethodSpec

METHOD = '''"""A defense by path."""
from dataclasses import dataclass
from fl_attack_bench.api import Card, HorizontalDefense

@dataclass(frozen=True)
class Mine(HorizontalDefense):
    """Mine."""

    card = Card(title="My defense", paper="https://example.org/mine", threat="none")
    prune: float = 0.5
    tags: str = "a b"
'''


def cell(**changes):
    data = {
        "suite": "quick", "suite_version": 1,
        "task": {"name": "t", "dataset": "digits", "model": "mlp", "victims": {"first": 1}},
        "attack": {"name": "dlg", "parameters": {"restarts": 4, "strong_wolfe": True}},
        "defense": {"name": "./my defense.py", "parameters": {"prune": 0.9}}, "seed": 0, "hardware": "generic-cpu",
    }  # fmt: skip
    return Cell.model_validate(data | changes)


def test_the_command_survives_a_shell():
    line = provenance.command("quick", cell(), data_dir=Path("/data/o'brien"))
    assert shlex.split(line) == [
        "flab", "run", "quick", "--task", "t", "--attack", "dlg[restarts=4,strong_wolfe=true]",
        "--defense", "./my defense.py[prune=0.9]", "--seed", "0",
        "--data-dir", "/data/o'brien", "--hardware", "generic-cpu",
    ]  # fmt: skip
    assert "--attack" not in provenance.command("quick", cell(attack=None))


def test_packages_are_named_without_importing_them():
    script = (
        "import sys; from fl_attack_bench import provenance, runner, tracking, store, progress, pool, worker\n"
        "provenance.packages()\n"
        "heavy = {'torch', 'mlflow', 'numpy', 'matplotlib', 'PIL', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    found = provenance.packages()
    assert {"python", "torch", "torchvision", "numpy", "fl-attack-bench", "dp-accounting"} == set(found)


def test_the_revision_is_a_git_hash_or_nothing():
    revision, dirty = provenance.revision()
    assert revision is None or re.fullmatch(r"[0-9a-f]{40}", revision)
    assert (revision is None) == (dirty is None)


def test_a_method_is_described_with_its_defaults(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    spec = MethodSpec(name=str(path), parameters={"prune": 0.25})
    used = provenance.describe("defense", spec)
    assert (used.name, used.title, used.origin) == ("mine", "My defense", "path")
    assert used.parameters == {"prune": 0.25, "tags": "a b"}
    assert used.source_sha256 == registry.source_sha256("defense", str(path))
    outlined = provenance.outlined("defense", spec)
    assert (outlined.name, outlined.source_sha256, outlined.origin) == ("mine", used.source_sha256, "path")
    with pytest.raises(
        UserError, match=r"defense mine\[prun=1\]: unknown parameter of Mine 'prun'; did you mean 'prune'"
    ):
        provenance.describe("defense", MethodSpec(name=str(path), parameters={"prun": 1}))


def test_hashing_a_method_runs_none_of_its_code(tmp_path):
    path = tmp_path / "trap.py"
    path.write_text("raise SystemExit('executed')\n")
    assert len(registry.source_sha256("attack", str(path))) == 64


@pytest.mark.parametrize("kind", ["attack", "defense"])
def test_hashes_of_built_in_methods_agree_with_those_of_imported_ones(kind):
    for name in registry.names(kind):
        assert registry.find(kind, name).source_sha256 == registry.source_sha256(kind, name)
        assert registry.origin(kind, name) in ("built-in", "entry-point")


def test_a_module_inside_a_package_is_found_without_importing_the_package(tmp_path, monkeypatch):
    (tmp_path / "trap_package").mkdir()
    (tmp_path / "trap_package" / "__init__.py").write_text("raise SystemExit('executed')\n")
    (tmp_path / "trap_package" / "inner.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry._module_file("trap_package.inner") == tmp_path / "trap_package" / "inner.py"
    with pytest.raises(UserError, match=r"module trap_package.absent has no source file"):
        registry._module_file("trap_package.absent")
