"""What stands on which page: rows gathered into tasks and defenses, each with its file name."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score.board_row import DIRTY, BoardRow, Failure
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site import formats
from fl_attack_bench.suite import MethodSpec

MAX_PACKAGES = 12
TESTED = ("scored", "integrity")  # verdicts of rows that hold a figure of an attack that counts
STANDINGS = ("self-reported", "re-run")  # the weaker first
R = TypeVar("R", bound=BoardRow)


@dataclass(frozen=True)
class Scene(Generic[R]):
    """One task on one hardware profile: the rows that may be compared with each other."""

    suite: str
    version: int
    hardware: str
    label: str
    rows: tuple[R, ...]

    @property
    def baseline(self) -> R | None:
        """The undefended row."""
        return next((row for row in self.rows if row.baseline), None)

    @property
    def slug(self) -> str:
        """A file name's stem for what belongs to this scene."""
        identity = json.dumps([task_identity(self.rows[0]), self.hardware])
        return formats.page_name("task", self.label, identity).removesuffix(".html")


@dataclass(frozen=True)
class TaskPage(Generic[R]):
    """A task of a suite version with one scene a hardware profile."""

    path: str
    label: str
    scenes: tuple[Scene[R], ...]


@dataclass(frozen=True)
class DefensePage:
    """A defense with all its variants on all tasks, a tuple of rows for each track."""

    path: str
    name: str
    title: str
    method: MethodUsed | None
    rows: tuple[Row, ...]
    vertical: tuple[VerticalRow, ...]
    outsourced: tuple[OutsourcedRow, ...]

    @property
    def everything(self) -> tuple[BoardRow, ...]:
        """The rows of all tracks."""
        return (*self.rows, *self.vertical, *self.outsourced)


@dataclass(frozen=True)
class Contents:
    """The whole board, before it is drawn. The tracks share no table: their figures are of different things.

    Args:
        rows: those of horizontal tasks, in the order in which tables show them.
        vertical: likewise, of vertical tasks.
        outsourced: likewise, of outsourced tasks.
        tasks: one page a horizontal task.
        vertical_tasks: one page a vertical task.
        outsourced_tasks: one page an outsourced task.
        defenses: one page a defense, the undefended first.
        records: by cell id.
        labels: each task page's path with the task's name on the board.
        standings: of records that were handed in, by cell id, one of :data:`STANDINGS`.
    """

    rows: tuple[Row, ...]
    vertical: tuple[VerticalRow, ...]
    outsourced: tuple[OutsourcedRow, ...]
    tasks: tuple[TaskPage[Row], ...]
    vertical_tasks: tuple[TaskPage[VerticalRow], ...]
    outsourced_tasks: tuple[TaskPage[OutsourcedRow], ...]
    defenses: tuple[DefensePage, ...]
    records: Mapping[str, Record]
    labels: Mapping[str, str]
    standings: Mapping[str, str]

    @property
    def everything(self) -> tuple[BoardRow, ...]:
        """The rows of all tracks."""
        return (*self.rows, *self.vertical, *self.outsourced)

    @cached_property
    def undefended(self) -> Mapping[tuple[str, str], BoardRow]:
        """The baselines by the task's identity and the hardware profile."""
        return {(task_identity(row), row.hardware): row for row in self.everything if row.baseline}

    def standing(self, row: BoardRow) -> str:
        """What a row's submission stands on: the weakest of its records; empty where none of them was handed in."""
        held = {self.standings[cell_id] for cell_id in row.records if cell_id in self.standings}
        return next((standing for standing in STANDINGS if standing in held), "")

    @property
    def pages(self) -> tuple[TaskPage[Any], ...]:
        """Every task's, of all tracks."""
        return (*self.tasks, *self.vertical_tasks, *self.outsourced_tasks)

    @property
    def scenes(self) -> tuple[Scene[Row], ...]:
        """Every horizontal task on every hardware profile."""
        return tuple(scene for task in self.tasks for scene in task.scenes)

    @property
    def vertical_scenes(self) -> tuple[Scene[VerticalRow], ...]:
        """Every vertical task on every hardware profile."""
        return tuple(scene for task in self.vertical_tasks for scene in task.scenes)

    @property
    def outsourced_scenes(self) -> tuple[Scene[OutsourcedRow], ...]:
        """Every outsourced task on every hardware profile."""
        return tuple(scene for task in self.outsourced_tasks for scene in task.scenes)

    @property
    def curious(self) -> tuple[Row, ...]:
        """Those of the tasks whose adversary is a curious server: they alone may be compared on privacy."""
        return by_server(self.rows)

    @property
    def embattled(self) -> tuple[Scene[Row], ...]:
        """Those of the horizontal scenes in which malicious clients attack, and not a curious server."""
        return tuple(scene for scene in self.scenes if scene.rows[0].task.adversary == "clients")

    def label(self, row: BoardRow) -> str:
        """The task's name on the board."""
        return self.labels[task_path(row)]

    @cached_property
    def versions(self) -> list[str]:
        """Suites and packages behind the records, as text."""
        suites = sorted({f"suite {row.suite} v{row.suite_version}" for row in self.everything})
        packages: dict[str, set[str]] = defaultdict(set)
        for record in self.records.values():
            for name, version in record.provenance.packages.items():
                packages[name].add(version)
        named = [f"{name} {', '.join(sorted(versions)[:3])}" for name, versions in sorted(packages.items())]
        return suites + named[:MAX_PACKAGES]

    @cached_property
    def newest(self) -> str:
        """The day of the newest record. The board has no date of its own: the same records give the same board."""
        days = [record.provenance.started.date().isoformat() for record in self.records.values()]
        return max(days, default="")


def gather(
    rows: Sequence[Row],
    vertical: Sequence[VerticalRow],
    outsourced: Sequence[OutsourcedRow],
    records: Iterable[Record],
    standings: Mapping[str, str],
) -> Contents:
    """Group rows into pages."""
    given: list[BoardRow] = [*rows, *vertical, *outsourced]
    names = Counter(task for task, _ in {(row.task.name, task_identity(row)) for row in given})
    tasks, vertical_tasks = _tasks(rows, names, _standing), _tasks(vertical, names, _by_label)
    outsourced_tasks = _tasks(outsourced, names, _by_label)
    ordered, vertically, shared_out = _ordered(tasks), _ordered(vertical_tasks), _ordered(outsourced_tasks)
    pages: dict[str, DefensePage] = {}
    for row in (*ordered, *vertically, *shared_out):
        if row.spec.name not in pages:
            own = (_of(row.spec.name, ordered), _of(row.spec.name, vertically), _of(row.spec.name, shared_out))
            method = _method([*own[0], *own[1], *own[2]])
            pages[row.spec.name] = DefensePage(defense_path(row), row.spec.name, title(row), method, *own)
    by_id = {record.cell_id: record for record in records}
    return Contents(
        ordered,
        vertically,
        shared_out,
        tuple(tasks),
        tuple(vertical_tasks),
        tuple(outsourced_tasks),
        tuple(sorted(pages.values(), key=lambda page: (not page.everything[0].baseline, page.name))),
        by_id,
        dict([*_labels(tasks), *_labels(vertical_tasks), *_labels(outsourced_tasks)]),
        dict(standings),
    )


def uncommitted(rows: Sequence[BoardRow]) -> int:
    """How many of them hold records of a checkout with uncommitted changes."""
    return sum(DIRTY in row.notes for row in rows)


def by_server(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Those whose adversary is a curious server, or nobody."""
    return tuple(row for row in rows if row.task.adversary == "server")


def by_clients(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Those whose adversary are malicious clients."""
    return tuple(row for row in rows if row.task.adversary == "clients")


def troubles(rows: Sequence[BoardRow]) -> list[tuple[BoardRow, Failure]]:
    """Every cell of some rows without a usable result, with its row; failures first, then skipped ones."""
    failed = [(row, failure) for row in rows for failure in row.failures]
    return failed + [(row, failure) for row in rows for failure in row.skipped]


def task_identity(row: BoardRow) -> str:
    """What makes a task this task: name alone is not enough."""
    content = row.task.model_dump(mode="json", exclude_defaults=True, exclude={"published"})
    return json.dumps([row.suite, row.suite_version, content], sort_keys=True)


def places(rows: Iterable[BoardRow]) -> int:
    """On how many tasks they stand, each hardware profile by itself."""
    return len({(task_path(row), row.hardware) for row in rows})


def task_path(row: BoardRow) -> str:
    """File name of the task's page."""
    return formats.page_name("task", row.task.name, task_identity(row))


def defense_path(row: BoardRow) -> str:
    """File name of the defense's page. A method given by path shares no page with a built-in one of its name."""
    return formats.page_name("defense", row.spec.family, row.spec.name)


def title(row: BoardRow) -> str:
    """What a person calls the defense."""
    if row.baseline:
        return "Undefended"
    return row.method.title if row.method and row.method.title else row.spec.family


def variant(row: BoardRow) -> str:
    """The parameters that the suite sets, link by link for a chain; empty where it sets none."""
    inside = [parameters(part) for part in row.spec.parts]
    return " + ".join(text or "defaults" for text in inside) if any(inside) else ""


def in_order(text: str) -> list[tuple[int, float, str]]:
    """A sort key by which numbers within a label are in numeric order, so that a sweep reads as a sweep."""
    found: list[tuple[int, float, str]] = []
    for part in re.split(r"[,=\[\] ]+|(?<![eE])\+", text):
        try:
            number = float(part)
            found.append((0, number, "") if math.isfinite(number) else (1, 0.0, part))
        except ValueError:
            found.append((1, 0.0, part))
    return found


def parameters(spec: MethodSpec) -> str:
    """A single method's parameters as its label writes them; empty where there are none."""
    return spec.label.removeprefix(spec.family)[1:-1]


def _tasks(rows: Sequence[R], names: Mapping[str, int], standing: Callable[[R], Any]) -> list[TaskPage[R]]:
    found: dict[str, dict[str, list[R]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[task_identity(row)][row.hardware].append(row)
    firsts = {identity: next(iter(scenes.values()))[0] for identity, scenes in found.items()}
    pages = []
    for identity in sorted(
        found, key=lambda key: (firsts[key].suite, firsts[key].suite_version, firsts[key].task.name)
    ):
        first = firsts[identity]
        path = task_path(first)
        twin = names[first.task.name] > 1
        label = f"{first.task.name} ({first.suite} v{first.suite_version}, {path[-15:-9]})" if twin else first.task.name
        scenes = tuple(
            Scene(first.suite, first.suite_version, hardware, label, tuple(sorted(group, key=standing)))
            for hardware, group in sorted(found[identity].items())
        )
        pages.append(TaskPage(path, label, scenes))
    return pages


def _labels(pages: Iterable[TaskPage[R]]) -> list[tuple[str, str]]:
    return [(page.path, page.label) for page in pages]


def _ordered(pages: Iterable[TaskPage[R]]) -> tuple[R, ...]:
    """All their rows in the order in which tables show them: where something was tested first, then the others."""
    scenes = [scene for page in pages for scene in page.scenes]
    scenes.sort(key=lambda scene: not any(row.verdict in TESTED for row in scene.rows))
    return tuple(row for scene in scenes for row in scene.rows)


def _of(defense: str, rows: Iterable[R]) -> tuple[R, ...]:
    """Those of one defense, with all its variants."""
    return tuple(row for row in rows if row.spec.name == defense)


def _standing(row: Row) -> tuple[bool, bool, float, str]:
    """The undefended first, then the most private; those without a figure last."""
    return (not row.baseline, row.privacy is None, -row.privacy.mean.value if row.privacy else 0.0, row.defense)


def _by_label(row: BoardRow) -> tuple[bool, list[tuple[int, float, str]]]:
    """The undefended first. No single figure ranks the others: sweeps stand together."""
    return (not row.baseline, in_order(row.defense))


def _method(rows: Sequence[BoardRow]) -> MethodUsed | None:
    return next((row.method for row in rows if row.method), None)
