"""The Atom feed of new entries (RFC 4287): a defense on a suite version and hardware profile."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.identity import started
from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.contents import Contents

ATOM = "http://www.w3.org/2005/Atom"
SHOWN = 50
_NAMESPACE = uuid.UUID("5f0dd1b4-3c0f-5b7e-9a52-6f7d1c0a9be2")  # fixed: an entry keeps its id from build to build


@dataclass(frozen=True)
class Entry:
    """A defense with its parameters on one suite version and hardware profile.

    Args:
        title: for people.
        path: the page that shows it.
        updated: when the newest of its records was begun.
        summary: what it holds.
        identity: by which readers of the feed know it again.
    """

    title: str
    path: str
    updated: datetime
    summary: str
    identity: str


def entries(board: Contents) -> list[Entry]:
    """Every entry of the board, the newest first."""
    groups: dict[tuple[str, int, str, str], list[BoardRow]] = {}
    for row in board.everything:
        groups.setdefault((row.suite, row.suite_version, row.hardware, row.defense), []).append(row)
    found = [_entry(board, key, rows) for key, rows in groups.items() if any(row.records for row in rows)]
    return sorted(found, key=lambda entry: (-entry.updated.timestamp(), entry.title, entry.identity))


def write(board: Contents, title: str, path: Path) -> None:
    """Write the newest entries as Atom. Links are relative to the feed's own address."""
    ET.register_namespace("", ATOM)
    feed = ET.Element(f"{{{ATOM}}}feed")
    newest = entries(board)[:SHOWN]
    _put(feed, "title", title)
    _put(feed, "subtitle", "Defenses of federated learning: new entries on the board")
    _put(feed, "id", uuid.uuid5(_NAMESPACE, title).urn)
    _put(feed, "updated", (newest[0].updated if newest else datetime.fromtimestamp(0, UTC)).isoformat())
    ET.SubElement(feed, f"{{{ATOM}}}link", rel="self", href="feed.xml", type="application/atom+xml")
    ET.SubElement(feed, f"{{{ATOM}}}link", rel="alternate", href="index.html", type="text/html")
    _put(ET.SubElement(feed, f"{{{ATOM}}}author"), "name", title)
    for entry in newest:
        element = ET.SubElement(feed, f"{{{ATOM}}}entry")
        _put(element, "title", entry.title)
        _put(element, "id", uuid.uuid5(_NAMESPACE, entry.identity).urn)
        _put(element, "updated", entry.updated.isoformat())
        ET.SubElement(element, f"{{{ATOM}}}link", rel="alternate", href=entry.path, type="text/html")
        _put(element, "summary", entry.summary)
    ET.indent(feed)
    path.write_bytes(ET.tostring(feed, encoding="utf-8", xml_declaration=True) + b"\n")


def _entry(board: Contents, key: tuple[str, int, str, str], rows: list[BoardRow]) -> Entry:
    suite, version, hardware, _ = key
    records = [board.records[cell_id] for row in rows for cell_id in row.records]
    variant = contents.variant(rows[0])
    name = contents.title(rows[0]) + (f" ({formats.short(variant, 60)})" if variant else "")
    tasks = formats.sentence(sorted({board.label(row) for row in rows})[:5])
    marked = sum(row.pareto for row in rows)
    standings = sorted({standing for row in rows if (standing := board.standing(row))})
    told = [
        f"{len(records)} record{'' if len(records) == 1 else 's'}",
        f"tasks: {tasks}",
        f"on the Pareto front of {marked} of {len(rows)} task{'' if len(rows) == 1 else 's'}",
        *standings,
    ]
    return Entry(
        formats.short(f"{name} on {suite} v{version}, {hardware}", 200),
        contents.defense_path(rows[0]),
        max(started(record) for record in records),
        formats.short("; ".join(told), 500),
        "\n".join([suite, str(version), hardware, rows[0].spec.model_dump_json()]),
    )


def _put(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, f"{{{ATOM}}}{name}").text = _legal(text)


def _legal(text: str) -> str:
    """Without the characters that XML does not know, whatever a stranger's name holds."""
    return "".join(one if one.isprintable() else "?" for one in text)
