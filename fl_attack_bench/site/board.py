"""Build the board: records in, a static site out. Everything on a page comes from the records."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from fl_attack_bench import score
from fl_attack_bench.record import Record
from fl_attack_bench.site import citation, contents, feed
from fl_attack_bench.site.contents import Contents
from fl_attack_bench.site.downloads import write_attacks, write_csv, write_integrity, write_json
from fl_attack_bench.site.outsourced_downloads import write_outsourced, write_outsourced_attacks
from fl_attack_bench.site.pages import Pages
from fl_attack_bench.site.pictures import Gallery
from fl_attack_bench.site.publish import publishing
from fl_attack_bench.site.vertical_downloads import write_vertical, write_vertical_attacks

TITLE = "fl-attack-bench"
STATIC = ("board.css", "board.js", "board.svg")
RECORDS = "records.json"


@dataclass(frozen=True)
class Download:
    """A file beside the pages."""

    name: str
    told: str
    bytes: int


def build(
    records: Iterable[Record],
    pictures: Mapping[str, Path],
    out: Path,
    *,
    warnings: Sequence[str] = (),
    title: str = TITLE,
    standings: Mapping[str, str] | None = None,
    code: str | None = None,
) -> Path:
    """Render the board into a folder that needs no network to view; the same input gives the same bytes.

    Args:
        records: of any suites and machines.
        pictures: by cell id, the folder that may hold the cell's ``reconstructions.npz``.
        out: the site's folder; replaced as a whole when all is written.
        warnings: what could not be read, one line each; shown on the overview.
        title: of the board.
        standings: of records that were handed in, by cell id: ``self-reported`` or ``re-run``.
        code: where sources can be read, an https link with ``{revision}`` and ``{path}`` in it; None links none.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: ``out`` exists and is not a board.
    """
    kept = score.latest(records)
    rows = score.rows(kept), score.vertical_rows(kept), score.outsourced_rows(kept)
    board = contents.gather(*rows, kept, standings or {})
    with publishing(out) as folder:
        gallery = Gallery(pictures, folder)
        pages = Pages(board, folder, gallery, title, code)
        pages.write_tasks()
        pages.write_methods()
        downloads = _write_data(board, kept, folder)
        pages.write_data(downloads, citation.bibtex(board, folder / RECORDS))
        feed.write(board, title, folder / "feed.xml")
        for name in STATIC:
            with as_file(files("fl_attack_bench.site").joinpath("static", name)) as source:
                shutil.copyfile(source, folder / name)
        pages.write_tracks()
        pages.write_index([*warnings, *gallery.warnings], feed.entries(board))
    return out / "index.html"


def _write_data(board: Contents, records: Sequence[Record], folder: Path) -> list[Download]:
    """The tables as CSV, the records as JSON, and their form; a track without rows has none, unless all are empty."""
    horizontal = bool(board.rows or not board.everything)
    outsourced, schema = board.outsourced, json.dumps(Record.model_json_schema(), indent=1, sort_keys=True) + "\n"
    files: tuple[tuple[bool, str, str, Callable[[Path], object]], ...] = (
        (horizontal, "data.csv", "the rows of gradient leakage", lambda p: write_csv(board.rows, p)),
        (
            horizontal,
            "attacks.csv",
            "every attack by itself under every defense there, with what it infers besides images and certified bounds",
            lambda p: write_attacks(board.rows, p),
        ),
        (
            bool(board.embattled),
            "integrity.csv",
            "every attack by malicious clients on every defense, with failed rounds and incidents",
            lambda p: write_integrity(board.rows, p),
        ),
        (
            bool(board.vertical),
            "vertical.csv",
            "the rows of vertical tasks",
            lambda p: write_vertical(board.vertical, p),
        ),
        (
            bool(board.vertical),
            "vertical-attacks.csv",
            "every attack by itself under every defense there",
            lambda p: write_vertical_attacks(board.vertical, p),
        ),
        (
            bool(outsourced),
            "outsourced.csv",
            "the rows of outsourced tasks, with the chance to reconstruct within each error",
            lambda p: write_outsourced(outsourced, p),
        ),
        (
            bool(outsourced),
            "outsourced-attacks.csv",
            "every attack by itself under every protocol there",
            lambda p: write_outsourced_attacks(outsourced, p),
        ),
        (True, RECORDS, "every record behind them, image by image", lambda p: write_json(records, p)),
        (True, "record.schema.json", "the form of a record, as JSON Schema", lambda p: p.write_text(schema)),
    )
    found = []
    for wanted, name, told, write in files:
        if wanted:
            write(folder / name)
            found.append(Download(name, told, (folder / name).stat().st_size))
    return found
