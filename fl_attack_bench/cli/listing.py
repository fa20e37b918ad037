"""``flab list``: the names that the other commands take."""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns, line
from fl_attack_bench.errors import UnknownNameError

Rows = Iterator[tuple[str, ...]]


def list_names(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="attacks, defenses, tasks, suites, hardware, datasets or models"),
    ],
    data_dir: options.DataDir = None,
) -> None:
    """List what there is by name; `flab show NAME` tells more of one."""
    if what == "datasets":
        rows = _datasets(data_dir)
    elif what in _LISTS:
        rows = _LISTS[what]()
    else:
        raise UnknownNameError("list", what, [*_LISTS, "datasets"])
    columns(rows)


def _attacks() -> Rows:
    yield from _methods("attack")


def _defenses() -> Rows:
    yield from _methods("defense")


def _methods(kind: Literal["attack", "defense"]) -> Rows:
    """Those of packages that do not import are named with the reason: nothing else can use them."""
    from fl_attack_bench import plugins, registry

    names = registry.names(kind)
    faults = plugins.faults(kind, names)
    for name in names:
        yield name, f"left out: {line(faults[name])}" if name in faults else registry.origin(kind, name)


def _tasks() -> Rows:
    from fl_attack_bench import suite

    for name in sorted(suite.bundled()):
        for task in suite.load(name).tasks:
            yield task.name, name, task.scenario, task.dataset, task.network, task.length, task.at_stake


def _suites() -> Rows:
    from fl_attack_bench import suite

    for name in sorted(suite.bundled()):
        found = suite.load(name)
        yield name, f"version {found.version}", f"{len(found.cells('any'))} cells", found.title


def _hardware() -> Rows:
    from fl_attack_bench import hardware

    machine = hardware.detect()
    for name in sorted(hardware.bundled()):
        profile = hardware.load(name)
        why = profile.mismatch(machine)
        yield name, profile.title, f"does not match: {why}" if why else "matches this machine"


def _datasets(given: "options.DataDir") -> Rows:
    from fl_attack_bench.data import catalogue

    folder = options.data_dir(given)
    for name in catalogue.names():
        here = "comes with the package" if name in catalogue.BUNDLED else f"in {folder}"
        how = "`flab run ... --download`" if catalogue.fetched(name) else "`flab doctor` tells where to ask for it"
        yield name, here if catalogue.present(name, folder) else f"not in {folder}: {how}"
    for path in sorted(folder.glob("*.npz")):
        yield f"{catalogue.PREFIX}{path.stem}", f"in {folder}"


def _models() -> Rows:
    from fl_attack_bench import models

    for name in models.names():
        yield name, models.describe(name).title


_LISTS: dict[str, Callable[[], Rows]] = {
    "attacks": _attacks,
    "defenses": _defenses,
    "tasks": _tasks,
    "suites": _suites,
    "hardware": _hardware,
    "models": _models,
}
