"""Finds methods in the two folders, installed entry points and files given by path; imports one when asked to."""

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal

from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.method import Method
from fl_attack_bench.suite import MethodSpec

Kind = Literal["attack", "defense"]
Origin = Literal["built-in", "entry-point", "path"]
_FOLDERS = {"attack": "fl_attack_bench.attacks", "defense": "fl_attack_bench.defenses"}
_BASES = {
    "attack": "PassiveAttack, ActiveAttack, BackdoorAttack, LabelAttack, FeatureAttack or OutsourcedAttack",
    "defense": "HorizontalDefense, VerticalDefense or OutsourcedDefense",
}


@dataclass(frozen=True)
class Found:
    """A method's class with where it came from.

    Args:
        name: what suites and records call it.
        cls: the class.
        origin: how it was found.
        source_sha256: hash of the file that defines it.
    """

    name: str
    cls: type[Method]
    origin: Origin
    source_sha256: str


def names(kind: Kind) -> list[str]:
    """All methods that can be asked for by name, without importing any."""
    return sorted({*_built_in(kind), *_plugins(kind)})


def find(kind: Kind, name: str, where: str = "") -> Found:
    """The method of this name, or in the file at this path (a name that ends in ``.py``).

    Raises:
        UserError: no such name (the nearest one is suggested) or file, or the file cannot be imported.
    """
    if name.endswith(".py"):
        return _from_path(kind, Path(name), where)
    if name in _built_in(kind):
        module = importlib.import_module(f"{_FOLDERS[kind]}.{name}")
        return _describe(kind, name, module, "built-in")
    if name in _plugins(kind):
        return _from_plugin(kind, _plugins(kind)[name])
    raise UnknownNameError(kind, name, names(kind), where)


def source_sha256(kind: Kind, name: str, where: str = "") -> str:
    """Hash of the file that defines a method, found without importing it: strangers' code runs in workers only.

    For an entry point it is the file of the module that the entry point names.

    Raises:
        UserError: no such name (the nearest one is suggested) or file.
    """
    if name.endswith(".py"):
        return _hash(_existing(kind, Path(name), where))
    if name in _built_in(kind):
        return _hash(_module_file(f"{_FOLDERS[kind]}.{name}"))
    if name in _plugins(kind):
        return _hash(_module_file(_plugins(kind)[name].module))
    raise UnknownNameError(kind, name, names(kind), where)


def fingerprint(kind: Kind, spec: MethodSpec, where: str = "") -> str:
    """The source hash of a method, of a chain one over those of its links.

    Raises:
        UserError: as :func:`source_sha256`.
    """
    hashes = [source_sha256(kind, part.name, where) for part in spec.parts]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def origin(kind: Kind, name: str) -> Origin:
    """Where ``find`` would look for a method."""
    if name.endswith(".py"):
        return "path"
    return "built-in" if name in _built_in(kind) else "entry-point"


@cache
def _built_in(kind: Kind) -> frozenset[str]:
    package = importlib.import_module(_FOLDERS[kind])
    return frozenset(module.name for module in pkgutil.iter_modules(package.__path__))


@cache
def _plugins(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_FOLDERS[kind])}


def _from_plugin(kind: Kind, entry: EntryPoint) -> Found:
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:
        raise UserError(f"{kind} {entry.name!r} of entry point {entry.value!r} does not import: {error}") from error
    if isinstance(loaded, types.ModuleType):
        return _describe(kind, entry.name, loaded, "entry-point")
    return Found(entry.name, _checked(kind, entry.name, loaded), "entry-point", _hash(_module_file(entry.module)))


def _from_path(kind: Kind, path: Path, where: str) -> Found:
    path = _existing(kind, path, where)
    digest = _hash(path)
    module_name = f"fl_attack_bench_path_{path.stem}_{digest[:12]}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # a script that ends itself is no method
            del sys.modules[module_name]
            raise UserError(f"{path} does not import: {type(error).__name__}: {error}") from error
    return _describe(kind, path.stem, module, "path")


def _describe(kind: Kind, name: str, module: types.ModuleType, origin: Origin) -> Found:
    own = [
        value
        for label, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not label.startswith("_")
        if issubclass(value, Method)
    ]
    if len(own) != 1:
        listed = ", ".join(cls.__name__ for cls in own) or "none"
        raise UserError(f"{module.__file__}: a method's file holds one public {_BASES[kind]}; found {listed}")
    return Found(name, _checked(kind, name, own[0]), origin, _hash_at_import(str(module.__file__)))


def _checked(kind: Kind, name: str, cls: object) -> type[Method]:
    from fl_attack_bench import api

    attacks = (
        api.PassiveAttack,
        api.ActiveAttack,
        api.BackdoorAttack,
        api.LabelAttack,
        api.FeatureAttack,
        api.OutsourcedAttack,
    )
    bases = attacks if kind == "attack" else (api.HorizontalDefense, api.VerticalDefense, api.OutsourcedDefense)
    if not (inspect.isclass(cls) and issubclass(cls, bases)):
        raise UserError(f"{kind} {name!r} is not a {_BASES[kind]}: derive its class from fl_attack_bench.api")
    if not hasattr(cls, "card"):
        raise UserError(f"{kind} {name!r} has no card: add `card = Card(title=..., paper=..., threat=...)`")
    return cls


def _existing(kind: Kind, path: Path, where: str) -> Path:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{where + ': ' if where else ''}{kind} file {path} does not exist")
    return path


def _module_file(dotted: str) -> Path:
    """The file of a module, by asking the finders for each part; `find_spec` of importlib would import the parents."""
    search: Sequence[str] | None = None
    spec = None
    parts = dotted.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        loaded = sys.modules.get(name)
        found = loaded.__spec__ if loaded else None
        spec = found or next((s for f in sys.meta_path if (s := f.find_spec(name, search))), None)
        if spec is None:
            break
        # a loaded package may have grown its path, as this one does in a source checkout
        search = list(loaded.__path__) if loaded and hasattr(loaded, "__path__") else spec.submodule_search_locations
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise UserError(f"module {dotted} has no source file")
    return Path(spec.origin)


@cache
def _hash_at_import(path: str) -> str:
    """Of the code that this process runs: a file that is edited later does not change what was imported."""
    return _hash(path)


def _hash(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
