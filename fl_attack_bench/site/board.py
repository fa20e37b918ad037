"""Build the board: records in, a static site out. Everything on a page comes from the records."""

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fl_attack_bench import __version__, score
from fl_attack_bench.record import Record
from fl_attack_bench.score.outsourced.row import MOMENTS, InputAttack, OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site import (
    contents,
    curves,
    evidence,
    figures,
    filters,
    formats,
    integrity,
    outsourced,
    outsourced_curves,
    outsourced_figures,
    robustness,
    style,
    vertical,
    vertical_curves,
    vertical_figures,
)
from fl_attack_bench.site.contents import Contents, DefensePage, Scene
from fl_attack_bench.site.downloads import write_attacks, write_csv, write_integrity, write_json
from fl_attack_bench.site.outsourced import Sweep
from fl_attack_bench.site.outsourced_downloads import write_outsourced, write_outsourced_attacks
from fl_attack_bench.site.pictures import Gallery, Sheet, Strip
from fl_attack_bench.site.publish import publishing
from fl_attack_bench.site.vertical_downloads import write_vertical, write_vertical_attacks
from fl_attack_bench.tasks.base import BASELINE

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
    board = contents.gather(score.rows(kept), score.vertical_rows(kept), score.outsourced_rows(kept), kept)
    with publishing(out) as folder:
        gallery = Gallery(pictures, folder)
        pages = _Pages(board, folder, gallery, title)
        pages.write_tasks()
        pages.write_vertical_tasks()
        pages.write_outsourced_tasks()
        pages.write_defenses()
        _write_data(board, folder)
        write_json(kept, folder / "records.json")
        for name in STATIC:
            with as_file(files("fl_attack_bench.site").joinpath("static", name)) as source:
                shutil.copyfile(source, folder / name)
        pages.write_index([*warnings, *gallery.warnings])
    return out / "index.html"


def _write_data(board: Contents, folder: Path) -> None:
    """The tables as CSV; a track without rows has none, unless the board is empty."""
    if board.rows or not board.everything:
        write_csv(board.rows, folder / "data.csv")
        write_attacks(board.rows, folder / "attacks.csv")
    if board.embattled:
        write_integrity(board.rows, folder / "integrity.csv")
    if board.vertical:
        write_vertical(board.vertical, folder / "vertical.csv")
        write_vertical_attacks(board.vertical, folder / "vertical-attacks.csv")
    if board.outsourced:
        write_outsourced(board.outsourced, folder / "outsourced.csv")
        write_outsourced_attacks(board.outsourced, folder / "outsourced-attacks.csv")


class _Pages:
    """The templates, what all of them know, and the figures drawn for them."""

    def __init__(self, board: Contents, folder: Path, gallery: Gallery, title: str) -> None:
        self.board, self.folder, self.gallery = board, folder, gallery
        self.looks = style.looks((row.spec.name for row in board.everything), BASELINE)
        self.environment = _environment()
        self.environment.globals.update(
            board=board,
            site_title=title,
            version=__version__,
            contents=contents,
            evidence=evidence,
            integrity=integrity,
            vertical=vertical,
            outsourced=outsourced,
            filters=filters,
        )
        with style.drawing():
            self.drawn = {scene.slug: self._figures(scene) for scene in board.scenes}
            self.drawn |= {scene.slug: self._vertical_figures(scene) for scene in board.vertical_scenes}
            self.drawn |= {scene.slug: self._outsourced_figures(scene) for scene in board.outsourced_scenes}

    def write_index(self, warnings: Sequence[str]) -> None:
        self._render(
            "index.html",
            "index.html",
            warnings=list(warnings),
            drawn=self.drawn,
            pictured=[scene for scene in self.board.scenes if self.drawn[scene.slug]["tradeoff"]],
            plotted=[scene for scene in self.board.vertical_scenes if self.drawn[scene.slug]["tradeoff"]],
            shared_out=[scene for scene in self.board.outsourced_scenes if self.drawn[scene.slug]["chances"]],
        )

    def write_tasks(self) -> None:
        for page in self.board.tasks:
            sheets = {scene.slug: self.gallery.sheet(scene.rows, self.board.records) for scene in page.scenes}
            self._render("task.html", page.path, page=page, drawn=self.drawn, sheets=sheets)

    def write_vertical_tasks(self) -> None:
        for page in self.board.vertical_tasks:
            sheets = {scene.slug: self.gallery.features(scene.rows, self.board.records) for scene in page.scenes}
            self._render("vertical.html", page.path, page=page, drawn=self.drawn, sheets=sheets)

    def write_outsourced_tasks(self) -> None:
        records = self.board.records
        for page in self.board.outsourced_tasks:
            with style.drawing():
                sweeps = {scene.slug: self._sweeps(scene) for scene in page.scenes}
            sheets = {
                scene.slug: [(moment, self.gallery.inputs(scene.rows, records, moment)) for moment in MOMENTS]
                for scene in page.scenes
            }
            self._render("outsourced.html", page.path, page=page, drawn=self.drawn, sheets=sheets, sweeps=sweeps)

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

    def _vertical_figures(self, scene: Scene[VerticalRow]) -> dict[str, style.Figures | None]:
        rows, folder = scene.rows, self.folder
        return {
            "tradeoff": vertical_figures.tradeoff(rows, self.looks, folder, f"{scene.slug}-tradeoff"),
            "learning": vertical_curves.learning(rows, self.board.records, folder, f"{scene.slug}-learning"),
            "scores": vertical_curves.scores(rows, folder, f"{scene.slug}-scores"),
            "traffic": vertical_figures.traffic(rows, folder, f"{scene.slug}-traffic"),
        }

    def _outsourced_figures(self, scene: Scene[OutsourcedRow]) -> dict[str, style.Figures | None]:
        rows, looks, folder = scene.rows, self.looks, self.folder
        return {
            "chances": outsourced_curves.chances(rows, looks, folder, f"{scene.slug}-chances"),
            "cost": outsourced_figures.cost(rows, folder, f"{scene.slug}-cost"),
            "tradeoff": outsourced_figures.tradeoff(rows, looks, folder, f"{scene.slug}-tradeoff"),
        }

    def _sweeps(self, scene: Scene[OutsourcedRow]) -> list[tuple[Sweep, style.Figures, Sheet[InputAttack] | None]]:
        """By number of known samples: each attack's figure, and its pictures where it comes closest."""
        found = []
        for place, sweep in enumerate(outsourced.sweeps(scene.rows)):
            drawn = outsourced_curves.known(sweep, self.looks, self.folder, f"{scene.slug}-known-{place}")
            found.append((sweep, drawn, self.gallery.variants(*sweep.closest, self.board.records)))
        return found

    def _figures(self, scene: Scene[Row]) -> dict[str, style.Figures | None]:
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
        one_machine = len({row.hardware for row in self.board.rows}) == 1
        for scene in self.board.scenes:
            own = [row for row in scene.rows if row.spec.name == page.name and not row.baseline]
            own.sort(key=lambda row: contents.in_order(contents.variant(row)))
            label = scene.label if one_machine else f"{scene.label}, {scene.hardware}"
            if own:
                found.append((label, [row for row in (scene.baseline,) if row] + own))
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
        "foldable",
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
