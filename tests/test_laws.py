"""The laws of the house (DESIGN.md), read off the source: who imports whom, who names whom, who draws at random."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = sorted((ROOT / "fl_attack_bench").rglob("*.py"))
METHODS = sorted(
    path for folder in ("attacks", "defenses") for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"
)
NAMES = {path.stem for path in METHODS}
METHOD_PACKAGES = ("fl_attack_bench.attacks", "fl_attack_bench.defenses", "attacks", "defenses")
# What a method may import of the engine: the public modules.
PUBLIC = {"api", "inversion", "representation", "crypto", "metrics", "accountant", "secure_aggregation", "sharing"}
# What score.py, compare.py and site/ may import of the engine: records and what they are made of.
PURE = {
    "record",
    "outsourced_record",
    "vertical_record",
    "suite",
    "tasks",
    "schema",
    "errors",
    "score",
    "compare",
    "site",
}
PLOTTING = {"matplotlib", "seaborn", "plotly", "PIL"}
HEAVY = {"mlflow", "ray", "dask", "distributed", "pandas", "jinja2", "sklearn", *PLOTTING}
RIGHT = {"score", "compare", "site", "cli"}
CHANNELS = {"socket", "multiprocessing", "subprocess", "queue", "threading", "asyncio", "http", "urllib", "pickle"}
DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"}
IN_PLACE = {"normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_", "log_normal_", "geometric_"}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), place(path))


def module(path: Path) -> str:
    dotted = place(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    return dotted if dotted.startswith("fl_attack_bench") else f"fl_attack_bench.{dotted}"


def imports(path: Path, *, at_the_top: bool = False) -> Iterator[str]:
    """Every dotted name that a file imports; ``at_the_top``: only when the file itself is imported."""
    for node in walk(tree(path), into_functions=not at_the_top):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(path)}:{node.lineno}: a relative import hides whom it imports"
            base = node.module or ""
            # `from fl_attack_bench import suite` imports a module, `from fl_attack_bench.suite import Suite` a name
            yield from (f"{base}.{alias.name}" if base == "fl_attack_bench" else base for alias in node.names)


def walk(node: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if (is_function and not into_functions) or (not into_functions and for_types_only(child)):
            continue
        yield child
        yield from walk(child, into_functions=into_functions)


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def within(name: str, packages) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room(name: str) -> str | None:
    """The engine's module or folder that an import is of."""
    parts = name.split(".")
    return parts[1] if parts[0] == "fl_attack_bench" and len(parts) > 1 else None


def test_the_source_is_where_these_tests_look():
    assert len(ENGINE) > 30
    assert {"none", "dlg", "idlg", "gradient_compression"} <= NAMES


# 1. The engine never imports a method by name, and never tests for a method's name.


@pytest.mark.parametrize("path", ENGINE, ids=place)
def test_1_the_engine_imports_no_method(path):
    assert not [name for name in imports(path) if within(name, METHOD_PACKAGES)]


@pytest.mark.parametrize("path", ENGINE, ids=place)
def test_1_the_engine_names_no_method(path):
    assert not [f"{place(path)}:{line}: {name!r}" for line, name in named_methods(tree(path))]


def named_methods(source: ast.Module) -> Iterator[tuple[int, str]]:
    """Strings that are a method's name; ``none`` is also a plain word, so it counts beside a method or its name only.

    The one place for a method's name is a constant of its own at the top of a module, as ``BASELINE = "none"``.
    """
    constants = {
        id(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if ast.unparse(node.targets[0]).isupper() and node.value.value == "none"
    }
    compared: set[int] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Compare) and re.search(r"name|label|attack|defense|spec|method", ast.unparse(node)):
            compared |= {id(part) for part in ast.walk(node)}
        if isinstance(node, ast.Match) and re.search(r"name|label|attack|defense|spec", ast.unparse(node.subject)):
            compared |= {id(part) for case in node.cases for part in ast.walk(case.pattern)}
    for node in ast.walk(source):
        if not isinstance(node, ast.Constant) or node.value not in NAMES or id(node) in constants:
            continue
        if node.value != "none" or id(node) in compared:
            yield node.lineno, node.value


def test_1_what_the_tests_above_would_find():
    for text in ("if spec.name == 'none': pass", "x = {'dlg': 1}", "found = name in ('soteria', 'dlg')"):
        assert list(named_methods(ast.parse(text))), text
    for text in ("BASELINE = 'none'", "if options.normalise != 'none': pass", "print('none')"):
        assert not list(named_methods(ast.parse(text))), text


# 2. A method imports the engine's public modules and never another method's file.


@pytest.mark.parametrize("path", METHODS, ids=place)
def test_2_a_method_imports_public_modules_only(path):
    names = list(imports(path))
    assert not [name for name in names if within(name, METHOD_PACKAGES)]
    assert not [name for name in names if room(name) not in PUBLIC | {None} or name == "fl_attack_bench"]


@pytest.mark.parametrize("folder", ["inversion", "representation", "crypto"])
def test_2_what_methods_share_knows_no_method_and_no_runner(folder):
    allowed = PUBLIC | {"errors", "seeds", "update", "codec", "wire", "flat_model", "method", "models"}
    for path in (ROOT / "fl_attack_bench" / folder).rglob("*.py"):
        assert {room(name) for name in imports(path)} <= allowed | {None}, place(path)


# 3. All that passes between parties passes through the wire.


@pytest.mark.parametrize("path", sorted((ROOT / "fl_attack_bench" / "scenarios").rglob("*.py")), ids=place)
def test_3_a_scenario_holds_no_other_channel(path):
    assert not [name for name in imports(path) if name.split(".")[0] in CHANNELS]


# 4. score.py, compare.py and site/ are pure functions of records; nothing on the right is imported from its left.


@pytest.mark.parametrize("path", [p for p in ENGINE if room(module(p)) in RIGHT - {"cli"}], ids=place)
def test_4_the_board_knows_records_only(path):
    names = list(imports(path))
    assert {room(name) for name in names} <= PURE | {None, "__version__"}
    assert not [name for name in names if name.split(".")[0] in {"torch", "mlflow"}]


@pytest.mark.parametrize(
    "path", [p for p in ENGINE if room(module(p)) not in ("score", "compare", "site", "cli")], ids=place
)
def test_4_nothing_on_the_left_knows_the_board(path):
    assert not {room(name) for name in imports(path)} & RIGHT


# 5. Importing the package or a method imports neither MLflow, nor a plotting library, nor a cluster engine.


@pytest.mark.parametrize("path", [*ENGINE, *METHODS], ids=place)
def test_5_heavy_libraries_are_imported_where_they_are_used(path):
    allowed = PLOTTING | {"pandas", "jinja2"} if room(module(path)) == "site" else set()
    assert not {name.split(".")[0] for name in imports(path, at_the_top=True)} & (HEAVY - allowed)


def loaded_by(*names: str) -> set[str]:
    script = f"import sys\nimport {', '.join(names)}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(answer.stdout.split())


def test_5_the_package_alone_imports_nothing():
    assert not loaded_by("fl_attack_bench", "fl_attack_bench.cli") & (HEAVY | {"torch", "numpy", "pydantic"})


def test_5_methods_import_no_heavy_library():
    assert not loaded_by(*map(module, METHODS)) & HEAVY


# 6. Every random number comes from a generator that is passed in. The worker alone seeds the global ones, so that a
# method that breaks this law does not also break the next cell's record.


@pytest.mark.parametrize("path", [*(p for p in ENGINE if p.name != "worker.py"), *METHODS], ids=place)
def test_6_random_numbers_come_from_generators(path):
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [f"{place(path)}:{call.lineno}: {ast.unparse(call.func)}" for call in calls if draws_globally(call)]
    assert "random" not in set(imports(path))


def draws_globally(call: ast.Call) -> bool:
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if owner in {"np.random", "numpy.random"} or name == "default_rng":
        return name != "default_rng" or not call.args
    if owner == "torch" and name in {"manual_seed", "seed"}:
        return True
    draws = (owner == "torch" and name in DRAWS) or name in IN_PLACE or re.fullmatch(r"rand\w*_like", name)
    return bool(draws) and "generator" not in {keyword.arg for keyword in call.keywords}
