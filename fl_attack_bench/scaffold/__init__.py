"""Begins a method: one file that works and says what belongs where, and its test."""

import keyword
from importlib.resources import files
from pathlib import Path
from string import Template

from fl_attack_bench import registry
from fl_attack_bench.errors import UserError

# The smallest run of each scenario whose data come with the program.
RUNS = {
    "horizontal": "quick",
    "vertical": "vertical-backdoor --task digits-halves --seed 0",
    "outsourced": "outsourced --task digits-logistic --seed 0",
}
_SUFFIX = ".py.template"


def write(kind: registry.Kind, name: str, scenario: str, folder: Path) -> tuple[Path, Path]:
    """Write the method's file and its test; returns both.

    Args:
        kind: ``attack`` or ``defense``.
        name: of the method and of its file, a Python identifier in lower case.
        scenario: ``horizontal``, ``vertical`` or ``outsourced``.
        folder: where to; it is made where it is missing.

    Raises:
        UserError: the name is no identifier or taken, or one of the files is there already.
    """
    _check(kind, name)
    method, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (method, test):
        if path.exists():
            raise UserError(f"{path} exists already, and nothing is overwritten: choose another name, or remove it")
    words = {"name": name, "cls": _camel(name), "kind": kind, "title": name.replace("_", " ").capitalize()}
    texts = [_filled(f"{scenario}_{kind}", words), _filled("test", words)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip((method, test), texts, strict=True):
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    return method, test


def _check(kind: registry.Kind, name: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UserError(f"{name!r} is no name for a method: write a Python identifier, as my_{kind}")
    if name != name.lower() or name.startswith("_"):
        raise UserError(f"{name!r} is no name for a file of a method: begin with a letter, in lower case, as my_{kind}")
    kinds: tuple[registry.Kind, ...] = ("attack", "defense")
    for other in kinds:
        if name in registry.names(other):
            raise UserError(f"{name!r} is the name of an installed {other}: choose another one")


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _filled(template: str, words: dict[str, str]) -> str:
    text = (files(__name__) / f"{template}{_SUFFIX}").read_text(encoding="utf-8")
    return Template(text).substitute(words)
