"""The engine's hash covers all that numbers come from."""

import ast
from pathlib import Path

from fl_attack_bench import __version__, engine

PACKAGE = Path(engine.__file__).parent
# Sees to it that input is sound and results are kept; no number depends on how.
PLUMBING = {"conditions", "errors", "record", "registry", "safe_yaml", "schema", "engine", "notation"}


def imported(path: Path) -> set[str]:
    """The top-level rooms and modules of the package that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fl_attack_bench":
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("fl_attack_bench.")}
    return found - {"__version__"}


def test_everything_that_play_imports_is_hashed_or_plumbing() -> None:
    reached: set[str] = set()
    waiting = {"play", "inversion", "accountant", "secure_aggregation"}  # methods import the latter three
    while waiting:
        name = waiting.pop()
        reached.add(name)
        files = list((PACKAGE / name).rglob("*.py")) or [PACKAGE / f"{name}.py"]
        waiting |= {other for file in files for other in imported(file)} - reached - PLUMBING
    # The worker sets threads, precision and determinism for what it plays.
    assert reached | {"worker"} == set(engine.ROOMS) | set(engine.MODULES)


def test_the_version_carries_the_hash() -> None:
    assert engine.version().startswith(f"{__version__}+engine.")
    assert len(engine.version().rpartition(".")[2]) == 12
