"""Build the board: records in, a static site out. Everything on a page comes from the records."""

import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fl_attack_bench import __version__, score
from fl_attack_bench.record import Record
from fl_attack_bench.score.row import Row
from fl_attack_bench.site import contents, curves, evidence, figures, formats, integrity, robustness, style
from fl_attack_bench.site.contents import Contents, DefensePage, Scene
from fl_attack_bench.site.downloads import write_attacks, write_csv, write_integrity, write_json
from fl_attack_bench.site.pictures import Gallery, Strip
from fl_attack_bench.site.publish import publishing
from fl_attack_bench.suite import BASELINE

TITLE = "fl-attack-bench"
STATIC = ("board.css", "board.js", "board.svg")


def build(
    records: Iterable[Record],
    pictures: Mapping[str, Path],
    out: Path,
    *,
    warnings: Sequence[str] = (),
    title: str = TITLE,
) -> Path:
    """Render the board into a folder that needs no network to view; the same input gives the same bytes.

    Args:
        records: of any suites and machines.
        pictures: by cell id, the folder that may hold the cell's ``reconstructions.npz``.
        out: the site's folder; replaced as a whole when all is written.
        warnings: what could not be read, one line each; shown on the overview.
        title: of the board.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: ``out`` exists and is not a board.
    """
    kept = score.latest(records)
    board = contents.gather(score.rows(kept), kept)
    with publishing(out) as folder:
        gallery = Gallery(pictures, folder)
        pages = _Pages(board, folder, gallery, title)
        pages.write_tasks()
        pages.write_defenses()
        write_csv(board.rows, folder / "data.csv")
        write_attacks(board.rows, folder / "attacks.csv")
        if contents.by_clients(board.rows):
            write_integrity(board.rows, folder / "integrity.csv")
        write_json(kept, folder / "records.json")
        for name in STATIC:
            with as_file(files("fl_attack_bench.site").joinpath("static", name)) as source:
                shutil.copyfile(source, folder / name)
        pages.write_index([*warnings, *gallery.warnings])
    return out / "index.html"


class _Pages:
    """The templates, what all of them know, and the figures drawn for them."""

    def __init__(self, board: Contents, folder: Path, gallery: Gallery, title: str) -> None:
        self.board, self.folder, self.gallery = board, folder, gallery
        self.looks = style.looks((row.spec.name for row in board.rows), BASELINE)
        self.environment = _environment()
        self.environment.globals.update(
            board=board,
            site_title=title,
            version=__version__,
            contents=contents,
            evidence=evidence,
            integrity=integrity,
        )
        with style.drawing():
            self.drawn = {scene.slug: self._figures(scene) for scene in board.scenes}

    def write_index(self, warnings: Sequence[str]) -> None:
        self._render("index.html", "index.html", warnings=list(warnings), drawn=self.drawn)

    def write_tasks(self) -> None:
        for page in self.board.tasks:
            sheets = {scene.slug: self.gallery.sheet(scene.rows, self.board.records) for scene in page.scenes}
            self._render("task.html", page.path, page=page, drawn=self.drawn, sheets=sheets)

    def write_defenses(self) -> None:
        for page in self.board.defenses:
            with style.drawing():
                drawn = figures.privacy(
                    self._beside_undefended(page),
                    self.looks[page.name],
                    self.folder,
                    page.path.removesuffix(".html"),
                )
            strips = {index: self._strips(row) for index, row in enumerate(page.rows)}
            self._render("defense.html", page.path, page=page, drawn=drawn, strips=strips)

    def _render(self, template: str, path: str, **values: Any) -> None:
        text = self.environment.get_template(template).render(here=path, **values)
        (self.folder / path).write_text(text, encoding="utf-8", errors="replace")

    def _figures(self, scene: Scene) -> dict[str, style.Figures | None]:
        rows, records, looks, folder = scene.rows, self.board.records, self.looks, self.folder
        return {
            "tradeoff": figures.tradeoff(rows, looks, folder, f"{scene.slug}-tradeoff"),
            "cost": figures.cost(rows, looks, folder, f"{scene.slug}-cost"),
            "accuracy": curves.accuracy(rows, records, looks, folder, f"{scene.slug}-accuracy"),
            "integrity": robustness.learned(rows, looks, folder, f"{scene.slug}-integrity"),
            "objectives": curves.objectives(rows, records, looks, folder, f"{scene.slug}-objectives"),
        }

    def _beside_undefended(self, page: DefensePage) -> list[tuple[str, list[Row]]]:
        """By task and hardware, the variants of a defense with the undefended row first."""
        found = []
        for scene in self.board.scenes:
            own = [row for row in scene.rows if row.spec.name == page.name and not row.baseline]
            label = scene.label if len(self.board.choices()["hardware"]) == 1 else f"{scene.label}, {scene.hardware}"
            if own:
                found.append((label, [row for row in (scene.baseline,) if row] + sorted(own, key=_by_label)))
        return found

    def _strips(self, row: Row) -> list[Strip]:
        """Each attack's pictures at the moment at which it came closest; those that count first, then by MSE."""
        closest: dict[str, tuple[bool, float, str]] = {}
        for found in row.attacks:
            if found.mean is not None:
                own = (not found.passed, found.mean, found.moment)
                closest[found.attack] = min(closest.get(found.attack, own), own)
        strips = []
        for attack, (weak, _, moment) in sorted(closest.items(), key=lambda item: (item[1], item[0])):
            records = [self.board.records[cell_id] for cell_id in row.records]
            played = [r for r in records if r.cell.attack and r.cell.attack.label == attack and r.status == "ok"]
            strip = self.gallery.strip(attack, moment, played)
            strips += [replace(strip, weak=weak)] if strip else []
        return strips


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fl_attack_bench.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "mse",
        "percent",
        "points",
        "plain",
        "times",
        "number",
        "size",
        "seconds",
        "moment",
        "learned",
        "apart",
        "between",
        "https",
        "short",
    ):
        environment.filters[name] = getattr(formats, name)
    environment.filters["whisker"] = whisker
    return environment


def whisker(row: Row) -> dict[str, float] | None:
    """Where the interval of a row's MSE lies on a logarithmic strip from 1e-6 to 1, in per cent."""
    if row.privacy is None:
        return None
    mean = row.privacy.mean
    low, value, high = (_strip_place(number) for number in (mean.low, mean.value, mean.high))
    return {"low": low, "mean": value, "width": max(round(high - low, 2), 1.0)}


def _strip_place(value: float) -> float:
    return round(100 * (1 + math.log10(min(max(value, style.FLOOR), 1.0)) / 6), 2)


def _by_label(row: Row) -> list[tuple[int, float, str]]:
    """Numbers within labels in numeric order, so that a sweep reads as a sweep."""
    found: list[tuple[int, float, str]] = []
    for part in re.split(r"[,=]| \+ ", contents.variant(row)):
        try:
            found.append((0, float(part), ""))
        except ValueError:
            found.append((1, 0.0, part))
    return found
