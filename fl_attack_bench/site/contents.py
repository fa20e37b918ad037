"""What stands on which page: rows gathered into tasks and defenses, each with its file name."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score.row import DIRTY, Failure, Row
from fl_attack_bench.site import formats
from fl_attack_bench.suite import MethodSpec

MAX_PACKAGES = 12


@dataclass(frozen=True)
class Scene:
    """One task on one hardware profile: the rows that may be compared with each other."""

    suite: str
    version: int
    hardware: str
    label: str
    rows: tuple[Row, ...]

    @property
    def baseline(self) -> Row | None:
        """The undefended federation's row."""
        return next((row for row in self.rows if row.baseline), None)

    @property
    def by_clients(self) -> bool:
        """Whether malicious clients attack here, and not a curious server."""
        return self.rows[0].task.adversary == "clients"

    @property
    def slug(self) -> str:
        """A file name's stem for what belongs to this scene."""
        identity = json.dumps([task_identity(self.rows[0]), self.hardware])
        return formats.page_name("task", self.label, identity).removesuffix(".html")


@dataclass(frozen=True)
class TaskPage:
    """A task of a suite version with one scene a hardware profile."""

    path: str
    label: str
    scenes: tuple[Scene, ...]


@dataclass(frozen=True)
class DefensePage:
    """A defense with all its variants on all tasks."""

    path: str
    name: str
    title: str
    method: MethodUsed | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Contents:
    """The whole board, before it is drawn.

    Args:
        rows: all of them, in the order in which tables show them.
        tasks: one page a task.
        defenses: one page a defense, the undefended first.
        records: by cell id.
        labels: each task page's path with the task's name on the board.
    """

    rows: tuple[Row, ...]
    tasks: tuple[TaskPage, ...]
    defenses: tuple[DefensePage, ...]
    records: Mapping[str, Record]
    labels: Mapping[str, str]

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """Every task on every hardware profile."""
        return tuple(scene for task in self.tasks for scene in task.scenes)

    @property
    def curious(self) -> tuple[Row, ...]:
        """Those of the tasks whose adversary is a curious server: they alone may be compared on privacy."""
        return by_server(self.rows)

    def label(self, row: Row) -> str:
        """The task's name on the board."""
        return self.labels[task_path(row)]

    def choices(self) -> dict[str, list[str]]:
        """What the overview's filters offer."""
        return {
            "task": sorted({self.label(row) for row in self.curious}),
            "dataset": sorted({row.task.dataset for row in self.curious}),
            "hardware": sorted({row.hardware for row in self.rows}),
            "attack": sorted({score.attack for row in self.rows for score in row.attacks if score.mean is not None}),
        }

    def versions(self) -> list[str]:
        """Suites and packages behind the records, as text."""
        suites = sorted({f"suite {row.suite} v{row.suite_version}" for row in self.rows})
        packages: dict[str, set[str]] = defaultdict(set)
        for record in self.records.values():
            for name, version in record.provenance.packages.items():
                packages[name].add(version)
        named = [f"{name} {', '.join(sorted(versions)[:3])}" for name, versions in sorted(packages.items())]
        return suites + named[:MAX_PACKAGES]

    def uncommitted(self) -> int:
        """How many rows hold records of a checkout with uncommitted changes."""
        return sum(DIRTY in row.notes for row in self.rows)

    def newest(self) -> str:
        """The day of the newest record. The board has no date of its own: the same records give the same board."""
        days = [record.provenance.started.date().isoformat() for record in self.records.values()]
        return max(days, default="")


def gather(rows: Sequence[Row], records: Iterable[Record]) -> Contents:
    """Group rows into pages."""
    tasks = _tasks(rows)
    ordered = [row for page in tasks for scene in page.scenes for row in scene.rows]
    families: dict[str, list[Row]] = defaultdict(list)
    for row in ordered:
        families[row.spec.name].append(row)
    pages = [
        DefensePage(defense_path(group[0]), name, _title(group), _method(group), tuple(group))
        for name, group in sorted(families.items(), key=lambda item: (not item[1][0].baseline, item[0]))
    ]
    by_id = {record.cell_id: record for record in records}
    return Contents(tuple(ordered), tuple(tasks), tuple(pages), by_id, {page.path: page.label for page in tasks})


def by_server(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Those whose adversary is a curious server, or nobody."""
    return tuple(row for row in rows if row.task.adversary == "server")


def by_clients(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Those whose adversary are malicious clients."""
    return tuple(row for row in rows if row.task.adversary == "clients")


def troubles(rows: Sequence[Row]) -> list[tuple[Row, Failure]]:
    """Every cell of some rows without a usable result, with its row; failures first, then skipped ones."""
    failed = [(row, failure) for row in rows for failure in row.failures]
    return failed + [(row, failure) for row in rows for failure in row.skipped]


def task_identity(row: Row) -> str:
    """What makes a task this task: name alone is not enough."""
    content = row.task.model_dump(mode="json", exclude_defaults=True, exclude={"published"})
    return json.dumps([row.suite, row.suite_version, content], sort_keys=True)


def task_path(row: Row) -> str:
    """File name of the task's page."""
    return formats.page_name("task", row.task.name, task_identity(row))


def defense_path(row: Row) -> str:
    """File name of the defense's page. A method given by path shares no page with a built-in one of its name."""
    return formats.page_name("defense", row.spec.family, row.spec.name)


def title(row: Row) -> str:
    """What a person calls the defense."""
    if row.baseline:
        return "Undefended"
    return row.method.title if row.method and row.method.title else row.spec.family


def variant(row: Row) -> str:
    """The parameters that the suite sets, link by link for a chain; empty where it sets none."""
    inside = [parameters(part) for part in row.spec.parts]
    return " + ".join(text or "defaults" for text in inside) if any(inside) else ""


def parameters(spec: MethodSpec) -> str:
    """A single method's parameters as its label writes them; empty where there are none."""
    return spec.label.removeprefix(spec.family)[1:-1]


def attack_data(row: Row) -> str:
    """Each attack's own MSE for the overview's script, as JSON: value, text and a note."""
    found: dict[str, dict[str, str | float]] = {}
    for score in row.attacks:
        if score.mean is None:
            continue
        other = found.get(score.attack)
        if other is None or score.mean < float(other["value"]):
            counts = "counts" if score.passed else "does not break the undefended: does not count"
            found[score.attack] = {
                "value": score.mean,
                "text": formats.mse(score.mean),
                "note": f"{formats.moment(score.moment)}; {counts}",
            }
    return json.dumps(found)


def search_text(row: Row, label: str) -> str:
    """What the overview's text filter looks in."""
    parts = [title(row), row.defense, label, row.task.dataset, row.task.model.name, row.hardware, row.suite]
    return " ".join(formats.short(part, 200) for part in parts).lower()


def _tasks(rows: Sequence[Row]) -> list[TaskPage]:
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[task_identity(row)][row.hardware].append(row)
    firsts = {identity: next(iter(scenes.values()))[0] for identity, scenes in found.items()}
    names = [first.task.name for first in firsts.values()]
    pages = []
    for identity in sorted(
        found, key=lambda key: (firsts[key].suite, firsts[key].suite_version, firsts[key].task.name)
    ):
        first = firsts[identity]
        path = task_path(first)
        twin = names.count(first.task.name) > 1
        label = f"{first.task.name} ({first.suite} v{first.suite_version}, {path[-15:-9]})" if twin else first.task.name
        scenes = tuple(
            Scene(first.suite, first.suite_version, hardware, label, tuple(sorted(group, key=_standing)))
            for hardware, group in sorted(found[identity].items())
        )
        pages.append(TaskPage(path, label, scenes))
    return pages


def _standing(row: Row) -> tuple[bool, bool, float, str]:
    """The undefended first, then the most private; those without a figure last."""
    return (not row.baseline, row.privacy is None, -row.privacy.mean.value if row.privacy else 0.0, row.defense)


def _title(rows: Sequence[Row]) -> str:
    return title(rows[0])


def _method(rows: Sequence[Row]) -> MethodUsed | None:
    return next((row.method for row in rows if row.method), None)
