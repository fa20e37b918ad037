"""What the head of a defense's page says: its parameters, where its code is, and what it comes to on each track."""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.identity import newest
from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.contents import DefensePage
from fl_attack_bench.site.sweeps import played

MAX_VALUES = 12
_REVISION = re.compile(r"[0-9a-f]{7,40}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Parameter:
    """One parameter with every value that it was played with.

    Args:
        name: in a chain with its link before it.
        values: as text, in numeric order.
        more: how many are left out.
        kind: ``swept`` with several values, ``set`` by the suite, or at its ``default``.
    """

    name: str
    values: tuple[str, ...]
    more: int
    kind: str


@dataclass(frozen=True)
class Source:
    """Where the code of a single method is.

    Args:
        file: as a reader finds it in the repository, or the path that the suite gave.
        link: to the revision that was played; empty where there is none.
    """

    file: str
    link: str


@dataclass(frozen=True)
class Glance:
    """What a defense comes to on one track: a heading and short facts, each with its label."""

    track: str
    facts: tuple[tuple[str, str], ...]


def parameters(page: DefensePage) -> list[Parameter]:
    """Every parameter of every link, defaults included."""
    rows = [row for row in page.everything if row.method] or list(page.everything)
    values: dict[tuple[int, str], set[str]] = defaultdict(set)
    told: set[tuple[int, str]] = set()
    for row in rows:
        for place, part in enumerate(row.spec.parts):
            told |= {(place, name) for name in part.parameters}
            for name, value in played(row, place).items():
                values[place, name].add(str(value))
    found = []
    for place, name in sorted(values):
        own = sorted(values[place, name], key=lambda text: (contents.in_order(text), text))
        kind = "swept" if len(own) > 1 else "set" if (place, name) in told else "default"
        parts = rows[0].spec.parts
        label = f"{parts[place].family}: {name}" if len(parts) > 1 else name
        found.append(Parameter(label, tuple(own[:MAX_VALUES]), max(0, len(own) - MAX_VALUES), kind))
    return found


def sources(page: DefensePage, records: Mapping[str, Record], code: str | None) -> list[Source]:
    """The file of each link, with a link to it where it is a built-in one of a revision that everybody can look up.

    Args:
        page: the defense's.
        records: by cell id.
        code: an https link with ``{path}``, or the ``{name}`` alone, and ``{revision}`` in it; None makes no links.
    """
    if page.method is None:
        return []
    spec = page.everything[0].spec
    revision = _revision(page, records) if code else ""
    found = []
    for part in spec.parts:
        if page.method.origin == "entry-point" or not _NAME.fullmatch(part.name):
            found.append(Source(part.name, ""))
        else:
            file, link = f"defenses/{part.name}.py", ""
            if code and revision and page.method.origin == "built-in":
                link = code.replace("{revision}", revision).replace("{path}", file).replace("{name}", part.name)
            found.append(Source(file, formats.https(link)))
    return found


def _revision(page: DefensePage, records: Mapping[str, Record]) -> str:
    """That of the newest record of the same source that was played in a clean checkout; empty where none was."""
    held = [records[cell_id] for row in page.everything for cell_id in row.records if cell_id in records]
    clean = [
        record
        for record in held
        if record.defense and page.method and record.defense.source_sha256 == page.method.source_sha256
        if record.provenance.dirty is False and _REVISION.fullmatch(record.provenance.revision or "")
    ]
    last = newest(clean)
    return (last.provenance.revision or "") if last else ""


def glances(page: DefensePage) -> list[Glance]:
    """A line of facts for each track on which the defense was played."""
    server, clients = contents.by_server(page.rows), contents.by_clients(page.rows)
    found = [
        Glance("Against a curious server", _facts(server, _horizontal(server))),
        Glance("Against malicious clients", _facts(clients, _clients(clients))),
        Glance("On feature-partitioned tasks", _facts(page.vertical, _vertical(page))),
        Glance("On outsourced tasks", _facts(page.outsourced, _outsourced(page))),
    ]
    return [one for one in found if one.facts]


def _facts(rows: Sequence[BoardRow], own: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if not rows:
        return ()
    tasks: dict[tuple[str, str], bool] = defaultdict(bool)
    for row in rows:
        tasks[contents.task_path(row), row.hardware] |= row.pareto
    front = f"{sum(tasks.values())} of {len(tasks)} task{'' if len(tasks) == 1 else 's'}"
    by_clients = any(getattr(row.task, "adversary", "") == "clients" for row in rows)
    return (*([] if by_clients else [("On the Pareto front", front)]), *((label, text) for label, text in own if text))


def _horizontal(rows: Sequence[Any]) -> list[tuple[str, str]]:
    return [
        ("Worst-case MSE ↑", _range([row.privacy.mean.value for row in rows if row.privacy], formats.mse)),
        ("Change of accuracy", _changes(rows)),
        ("Bytes, median ↓", _median([row.cost.round_times for row in rows if row.cost and not row.baseline])),
        ("Seconds, median ↓", _links([row.cost.seconds_times for row in rows if row.cost and not row.baseline])),
    ]


def _clients(rows: Sequence[Any]) -> list[tuple[str, str]]:
    scored = [row.integrity for row in rows if row.integrity and row.integrity.quantity == "accuracy"]
    worst = [one.worst.learned.mean for one in scored if one.worst and one.worst.learned]
    return [
        ("Accuracy under the worst attack ↑", _range(worst, formats.percent)),
        ("Bytes, median ↓", _median([row.cost.round_times for row in rows if row.cost and not row.baseline])),
    ]


def _vertical(page: DefensePage) -> list[tuple[str, str]]:
    rows = page.vertical
    paid = [row.cost for row in rows if row.cost and not row.baseline]
    return [
        ("Backdoor success ↓", _range([r.backdoor.figures.success.mean for r in rows if r.backdoor], formats.percent)),
        ("Labels found ↓", _range([r.labels.figures.accuracy.mean for r in rows if r.labels], formats.percent)),
        ("Features' MSE ↑", _range([r.features.figures.mse.mean for r in rows if r.features], formats.mse)),
        ("Change of accuracy", _changes(rows)),
        ("Bytes, median ↓", _median([cost.epoch_times for cost in paid])),
        ("Seconds, median ↓", _links([cost.seconds_times for cost in paid])),
    ]


def _outsourced(page: DefensePage) -> list[tuple[str, str]]:
    rows = page.outsourced
    paid = [row.cost for row in rows if row.cost and not row.baseline]
    steps = [cost.training.seconds_times for cost in paid if cost.training]  # in the clear nothing is sent: no bytes
    return [
        ("Worst-case MSE ↑", _range([row.privacy.mean.value for row in rows if row.privacy], formats.mse)),
        ("Change of accuracy", _changes(rows)),
        ("Bytes of an inference batch, median ↓", _median([cost.inference.bytes_times for cost in paid])),
        ("Seconds of an inference batch, median ↓", _links([cost.inference.seconds_times for cost in paid])),
        ("Seconds of a training step, median ↓", _links(steps)),
    ]


def _changes(rows: Sequence[Any]) -> str:
    """Against undefended, in percentage points; nothing where the targets are numbers."""
    own = [row.utility for row in rows if row.utility and not row.baseline]
    found = [one.difference for one in own if one.difference is not None and not getattr(one, "rmse", None)]
    text = _range(found, formats.points)
    return f"{text} points" if text else ""


def _range(values: Sequence[float], told: Any) -> str:
    if not values:
        return ""
    low, high = told(min(values)), told(max(values))
    return str(low) if low == high else f"{low} to {high}"


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return formats.times(statistics.median(known)) if known else ""


def _links(values: Sequence[Mapping[str, float]]) -> str:
    """The median over rows, link by link."""
    links = sorted({link for one in values for link in one})[:3]
    medians = [(link, _median([one.get(link) for one in values])) for link in links]
    return " · ".join(f"{formats.short(link, 20)} {median}" for link, median in medians)
