"""What ``flab show`` prints of each kind of thing that has a name or a file."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from fl_attack_bench import hardware, registry, safe_yaml, suite
from fl_attack_bench.cli.output import columns, line
from fl_attack_bench.conditions import Range
from fl_attack_bench.errors import UserError
from fl_attack_bench.notation import written
from fl_attack_bench.registry import Kind
from fl_attack_bench.suite import Suite


def show(name: str) -> bool:
    """Print everything that goes by a name but networks and cells; returns whether there was anything.

    Raises:
        UserError: a file that holds neither a method, a suite nor a profile.
    """
    if name.endswith(".py"):
        _show_file(name)
        return True
    if name.endswith((".yaml", ".yml")):
        _show_yaml(name)
        return True
    found = [show_one for show_one, known in _KINDS if name in known()]
    for show_one in found:
        show_one(name)
    return bool(found)


def show_model(name: str) -> bool:
    """Print a network; returns whether there is one of this name. Apart from the rest, as this imports torch."""
    from fl_attack_bench import models

    if name not in models.names():
        return False
    found = models.describe(name)
    print(f"model {name}: {found.title}")
    print(found.text)
    rows = [("paper", found.paper), ("batch norm", found.batch_norm), ("images", f"{found.smallest} pixels or more")]
    columns([*rows, *(("option", f"{key} = {value}") for key, value in found.options.items())], indent="  ")
    return True


def names() -> list[str]:
    """All names, for a suggestion."""
    from fl_attack_bench import models

    return sorted({*models.names(), *(name for _, known in _KINDS for name in known())})


def _show_file(path: str) -> None:
    """A method's file does not say what kind it is: it is the kind whose base it has."""
    try:
        registry.find("defense", path)
    except UserError:
        _show_method("attack", path)
    else:
        _show_method("defense", path)


def _show_yaml(path: str) -> None:
    """A suite's file or a profile's: its keys tell."""
    data = safe_yaml.load(Path(path))
    if isinstance(data, dict) and "suite" not in data and "device" in data:
        _show_profile(path)
    else:
        _show_suite(path)


def _show_method(kind: Kind, name: str) -> None:
    from fl_attack_bench.cli.parameters import described

    found = registry.find(kind, name)
    card = found.cls.card
    print(f"{kind} {found.name}: {line(card.title)}")
    print(line(((found.cls.__doc__ or "").strip().splitlines() or [""])[0]))
    told = {"paper": card.paper, "threat": card.threat, "assumes": card.assumes, "notes": card.notes}
    told |= {"origin": found.origin, "source": f"sha256 {found.source_sha256}"}
    columns([(label, text) for label, text in told.items() if text], indent="  ")
    rows = described(found.cls)
    print("parameters:" if rows else "no parameters")
    columns(rows, indent="  ")


def _show_suite(name: str) -> None:
    found = suite.load(name)
    print(f"suite {found.suite}, version {found.version}: {line(found.title)}")
    print(line(found.description))
    print(f"{len(found.cells('any'))} cells: tasks x attacks x defenses x seeds, the undefended baseline among them")
    columns(_grid(found), indent="  ")


def _grid(found: Suite) -> Iterable[tuple[str, ...]]:
    yield from (("task", task.name, f"{task.dataset}, {task.network}") for task in found.tasks)
    yield from (("attack", written(spec), "") for spec in found.attacks)
    yield from (("defense", written(spec), "") for spec in found.defenses)
    yield "seeds", ", ".join(map(str, found.seeds)), ""
    yield "limits", f"{found.limits.minutes:g} minutes and {found.limits.memory_gib:g} GiB a job", ""
    yield "gate", f"{found.gate.share:.0%} of the victims below MSE {found.gate.mse:g}", ""


def _show_task(name: str) -> None:
    for known in sorted(suite.bundled()):
        for task in suite.load(known).tasks:
            if task.name == name:
                print(f"task {name} of suite {known}")
                columns([(key, value) for key, value in task.model_dump().items() if key != "name"], indent="  ")


def _show_profile(name: str) -> None:
    profile = hardware.load(name)
    why = profile.mismatch(hardware.detect())
    print(f"hardware profile {profile.name}: {line(profile.title)}")
    print(f"does not match this machine: {line(why)}" if why else "matches this machine")
    rows = [("device", profile.device), ("threads", profile.threads), ("TF32", "on" if profile.tf32 else "off")]
    rows += [
        (f"link {link.name}", f"{link.bits_per_second / 1e6:g} Mbit/s, {link.round_trip_seconds * 1e3:g} ms round trip")
        for link in profile.links
    ]
    rows += [(name, _range(stated)) for name, stated in profile.calibration.items()]
    columns(rows, indent="  ")


def _range(stated: Range) -> str:
    bounds = (("at least", stated.at_least), ("at most", stated.at_most))
    return ", ".join(f"{word} {value:g}" for word, value in bounds if value is not None)


def _tasks() -> list[str]:
    return [task.name for name in suite.bundled() for task in suite.load(name).tasks]


_KINDS: list[tuple[Callable[[str], None], Callable[[], Iterable[str]]]] = [
    (partial(_show_method, "attack"), partial(registry.names, "attack")),
    (partial(_show_method, "defense"), partial(registry.names, "defense")),
    (_show_suite, suite.bundled),
    (_show_profile, hardware.bundled),
    (_show_task, _tasks),
]
