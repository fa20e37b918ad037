"""Narrow a suite's grid to what the command line names, and add methods that the suite does not name."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fl_attack_bench import notation, registry
from fl_attack_bench.data import catalogue
from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.schema import parse
from fl_attack_bench.suite import Cell, MethodSpec, Suite
from fl_attack_bench.tasks import HorizontalTask, OutsourcedTask, Task, VerticalTask


def narrow(
    suite: Suite,
    *,
    tasks: Sequence[str] = (),
    attacks: Sequence[str] = (),
    defenses: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> Suite:
    """The part of a suite that is asked for; an axis of which nothing is named stays whole.

    A method that the suite names, with just these parameters or by its name alone, stands for the suite's own entries;
    any other takes their place. The identity of a cell does not depend on what else is played, so its record is the
    same as that of the whole suite.

    Raises:
        UserError: a name or seed that is neither the suite's nor anybody's.
    """
    where = f"suite {suite.suite!r}"
    chosen: dict[str, Any] = {name: getattr(suite, name) for name in type(suite).model_fields}
    if tasks:
        chosen["tasks"] = _tasks(suite, tasks, where)
    if seeds:
        foreign = sorted(set(seeds) - set(suite.seeds))
        if foreign:
            legal = ", ".join(map(str, suite.seeds))
            raise UserError(f"{where}: seed {foreign[0]} is none of its seeds ({legal}); another seed is another suite")
        chosen["seeds"] = [seed for seed in suite.seeds if seed in seeds]
    if attacks:
        chosen["attacks"] = _methods("attack", suite.attacks, attacks)
        chosen["tasks"] = [task for task in chosen["tasks"] if task.attacked]
        if not chosen["tasks"]:
            raise UserError(f"{where}: none of the tasks has victims, so --attack finds nothing to attack")
    if defenses:
        chosen["defenses"] = _methods("defense", suite.defenses, defenses)
    return parse(Suite, chosen, where)


def check_tasks(cells: Iterable[Cell], data_dir: Path, *, download: bool) -> None:
    """Refuse datasets that are unknown or absent and networks and feature splits that do not fit, before any training.

    Raises:
        UserError: names the task and says what to do.
    """
    for task in {cell.task.name: cell.task for cell in cells}.values():
        try:
            if isinstance(task, HorizontalTask):
                _check_network(task)
            elif task.dataset in catalogue.NUMBERS:
                scenario = "vertical" if isinstance(task, VerticalTask) else "outsourced"
                raise UserError(f"the targets of {task.dataset} are numbers; {scenario} tasks are for class labels")
            here = catalogue.present(task.dataset, data_dir)
            if not here and not (download and catalogue.fetched(task.dataset)):
                raise UserError(catalogue.absent(task.dataset, data_dir))
            if here and isinstance(task, VerticalTask):
                _check_features(task, data_dir)
            elif here and isinstance(task, OutsourcedTask):
                _check_layers(task, data_dir)
        except UserError as error:
            raise UserError(f"task {task.name!r}: {error}") from None


def _check_network(task: HorizontalTask) -> None:
    from fl_attack_bench import models

    models.check(task.model)
    numbers = task.dataset in catalogue.NUMBERS
    models.fits(task.model, task.dataset, numbers=numbers)
    if numbers and task.victims is not None:
        raise UserError(f"the targets of {task.dataset} are numbers; attacks on privacy are for class labels")


def _check_features(task: VerticalTask, data_dir: Path) -> None:
    """Refuse a split that does not fit the data, and a backdoor without poisoned or known samples."""
    from fl_attack_bench.data import datasets, features
    from fl_attack_bench.seeds import Streams

    features.deal(task, datasets.load(task.dataset, data_dir), Streams(0))


def _check_layers(task: OutsourcedTask, data_dir: Path) -> None:
    """Refuse layers that do not fit the images or the classes."""
    from fl_attack_bench.data import datasets
    from fl_attack_bench.models import stack

    dataset = datasets.load(task.dataset, data_dir)
    stack.fitted(task, dataset.image_shape, dataset.classes)


def _tasks(suite: Suite, names: Sequence[str], where: str) -> list[Task]:
    legal = [task.name for task in suite.tasks]
    for name in names:
        if name not in legal:
            raise UnknownNameError("task", name, legal, where)
    return [task for task in suite.tasks if task.name in names]


def _methods(kind: registry.Kind, named: Sequence[MethodSpec], texts: Sequence[str]) -> list[MethodSpec]:
    found: list[MethodSpec] = []
    for text in texts:
        spec = notation.parse(text)
        own = [known for known in named if known == spec]
        if not own and not any(part.parameters for part in spec.parts):
            own = [known for known in named if known.name == spec.name]
        if not own:
            registry.fingerprint(kind, spec, f"--{kind}")  # refuses what does not exist
        found += [entry for entry in own or [spec] if entry not in found]
    return found
