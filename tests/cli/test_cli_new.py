"""`flab new`: a file that works as it is written, and its test; nothing is overwritten."""

import ast
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.testing import child

SCENARIOS = ("horizontal", "vertical", "outsourced")
KINDS = ("defense", "attack")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_keeps_its_contract(flab, tmp_path, kind, scenario):
    status, out, err = flab("new", kind, "my_own", "--scenario", scenario)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "wrote my_own.py and test_my_own.py"
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["flab", "check"],
        ["pytest", "test_my_own.py"],
        ["flab", "run"],
    ]
    spec = MethodSpec(name=str(tmp_path / "my_own.py"))
    listing = child.describe(kind, spec)
    found = [child.describe(f"{kind}: {check}", spec) for check in listing.checks]
    assert not [one for one in found if one.verdict == "failed"]
    assert sum(one.verdict == "passed" for one in found) >= 2
    assert any(one.check.startswith((f"{scenario}: ", "attack: ")) and one.verdict == "passed" for one in found)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_that_is_printed_plays_it(flab, tmp_path, kind, scenario, asked):
    _, out, _ = flab("new", kind, "my_own", "--scenario", scenario)
    words = shlex.split(out.splitlines()[-1])
    assert words[:2] == ["flab", "run"]
    assert flab(*words[1:], "--no-tracking")[0] == 0
    ((_, cells, _, _),) = asked
    assert all(cell.task.scenario == scenario for cell in cells)
    paths = {getattr(cell, kind).name for cell in cells if getattr(cell, kind) is not None}
    assert "my_own.py" in {Path(path).name for path in paths}
    if kind == "defense":
        assert {Path(path).name for path in paths} == {"none", "my_own.py"}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_in_the_houses_style(flab, tmp_path, kind, scenario):
    flab("new", kind, "my_own", "--scenario", scenario, "--folder", "deep/down")
    for path in sorted((tmp_path / "deep" / "down").iterdir()):
        text = path.read_text()
        assert "$" not in text
        assert max(map(len, text.splitlines())) <= 120
        for node in ast.walk(ast.parse(text)):
            if path.name == "my_own.py" and isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                assert ast.get_docstring(node) or node.name.startswith("_"), node.name
    assert "class MyOwn(" in (tmp_path / "deep" / "down" / "my_own.py").read_text()


def test_its_test_passes_as_it_is_written(flab, tmp_path):
    flab("new", "defense", "my_own", "--scenario", "vertical")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_own.py"]
    played = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stdout
    assert "1 passed" in played.stdout


@pytest.mark.parametrize("there", ["my_own.py", "test_my_own.py"])
def test_nothing_is_overwritten(flab, tmp_path, there):
    (tmp_path / there).write_text("mine")
    status, out, err = flab("new", "defense", "my_own")
    assert (status, out) == (2, "")
    assert f"{there} exists already" in err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two words", "no name for a method"),
        ("my-own", "no name for a method"),
        ("../up", "no name for a method"),
        ("class", "no name for a method"),
        ("größe", "no name for a method"),
        ("MyOwn", "in lower case"),
        ("_hidden", "begin with a letter"),
        ("soteria", "an installed defense"),
        ("dlg", "an installed attack"),
    ],
)
def test_names_that_cannot_be(flab, tmp_path, name, said):
    status, out, err = flab("new", "defense", name)
    assert (status, out) == (2, "")
    assert said in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(flab, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = flab("new", "defense", "my_own", "--folder", "file")
    assert status == 2
    assert "cannot be written" in err
