"""The wheel: built from a copy of the checkout, opened, and used away from it."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("attacks", "defenses", "fl_attack_bench", "benchmarks", "tests")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")

pytestmark = pytest.mark.xdist_group("wheel")  # one worker builds it, once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def inside(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(script, *, path=None, cwd=None):
    """Run a script in an interpreter that sees ``path`` before everything else."""
    lines = f"import sys\nsys.path.insert(0, {str(path)!r})\n" if path else ""
    command = [sys.executable, "-P", "-c", lines + script]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def expected(folder, pattern, under):
    """The names that files of a folder of the checkout must have in the wheel."""
    found = {
        f"fl_attack_bench/{under}{path.relative_to(ROOT / folder)}"
        for path in (ROOT / folder).rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found
    return found


def test_there_is_one_top_level_package(inside):
    top = {name.split("/")[0] for name in inside}
    assert {name for name in top if not re.fullmatch(r"fl_attack_bench-[0-9.]+\.dist-info", name)} == {
        "fl_attack_bench"
    }


@pytest.mark.parametrize(
    ("folder", "pattern", "under"),
    [
        ("attacks", "*.py", "attacks/"),
        ("defenses", "*.py", "defenses/"),
        ("fl_attack_bench", "*.py", ""),
        ("fl_attack_bench", "py.typed", ""),
        ("fl_attack_bench/site/templates", "*", "site/templates/"),
        ("fl_attack_bench/site/static", "*", "site/static/"),
        ("benchmarks/suites", "*.yaml", "benchmarks/suites/"),
        ("benchmarks/papers", "*.yaml", "benchmarks/papers/"),
        ("benchmarks/hardware", "*.yaml", "benchmarks/hardware/"),
    ],
)
def test_nothing_is_missing(inside, folder, pattern, under):
    assert not expected(folder, pattern, under) - inside


def test_nothing_else_is_inside(inside):
    assert not [name for name in inside if re.search(r"(^|/)(tests|perf|leaderboard|__pycache__)/|\.pyc$", name)]
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def test_the_entry_points_are_there(unpacked):
    (path,) = unpacked.glob("*.dist-info/entry_points.txt")
    scripts = set(re.findall(r"^(\S+) = fl_attack_bench\.cli:main$", path.read_text(), re.MULTILINE))
    assert scripts == {"flab", "fl-attack-bench"}


def test_the_unpacked_wheel_works_away_from_the_checkout(unpacked, tmp_path):
    script = """
from pathlib import Path
import fl_attack_bench
from fl_attack_bench import hardware, registry, suite
assert Path(fl_attack_bench.__file__).is_relative_to(sys.path[0]), fl_attack_bench.__file__
assert list(fl_attack_bench.__path__) == [str(Path(sys.path[0]) / "fl_attack_bench")]
print(*registry.names("attack"), *registry.names("defense"), *suite.bundled(), *hardware.bundled())
assert all(suite.load(name).cells(profile) for name in suite.bundled() for profile in hardware.bundled())
found = registry.find("defense", "none")
assert sys.modules[found.cls.__module__].__file__.startswith(sys.path[0])
from fl_attack_bench.cli import main
sys.exit(main(["list", "suites"]))
"""
    answer = python(script, path=unpacked, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    names = {
        path.stem
        for folder, pattern in (
            ("attacks", "*.py"),
            ("defenses", "*.py"),
            ("benchmarks/suites", "*.yaml"),
            ("benchmarks/papers", "*.yaml"),
            ("benchmarks/hardware", "*.yaml"),
        )
        for path in (ROOT / folder).glob(pattern)
        if path.stem != "__init__"
    }
    assert set(answer.stdout.splitlines()[0].split()) == names
    listed = {line.split()[0] for line in answer.stdout.splitlines()[1:]}
    assert {path.stem for path in (ROOT / "benchmarks" / "suites").glob("*.yaml")} < listed


@pytest.mark.parametrize("name", ["attacks", "defenses"])
def test_the_bare_name_says_what_to_import_instead(name):
    answer = python(f"import {name}", path=ROOT)
    assert answer.returncode == 1
    assert f"ImportError: import fl_attack_bench.{name} instead of {name}" in answer.stderr


def test_continuous_integration_runs_what_the_readme_says():
    command = "pip install -q -c constraints.txt -e '.[test]' && pytest -q -n 2"
    assert f"\n{command} || status=1\n" in (ROOT / ".ci" / "run").read_text()
    assert command in (ROOT / "README.md").read_text()


def test_the_constraints_name_every_dependency():
    pinned = {
        re.split("==", line)[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    wanted = {
        re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in [*project["dependencies"], *extras]
    }
    assert not wanted - pinned - {"fl-attack-bench"}
    assert not [name for name in pinned if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_every_library_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w.-]+", line)[0].replace("-", "_") for line in project["dependencies"]}
    called = {
        "yaml": "pyyaml",
        "PIL": "pillow",
        "sklearn": "scikit_learn",
        "pydantic_core": "pydantic",
        "grpc": "grpcio",
    }
    imported = set()
    for folder in ("attacks", "defenses", "fl_attack_bench"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add((node.module or "").split(".")[0])
    ours = {"fl_attack_bench", "attacks", "defenses"}
    assert not {called.get(name, name) for name in imported - set(sys.stdlib_module_names) - ours} - declared
