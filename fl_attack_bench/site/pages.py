"""Every page of the board: its template with what it needs, and the figures that are drawn for it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fl_attack_bench import __version__
from fl_attack_bench.score.outsourced.row import MOMENTS, InputAttack, OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site import (
    attack_pages,
    contents,
    curves,
    defense_pages,
    evidence,
    figures,
    filters,
    formats,
    front_figures,
    integrity,
    outsourced,
    outsourced_curves,
    outsourced_figures,
    paper_figures,
    paper_pages,
    robustness,
    style,
    tracks,
    vertical,
    vertical_curves,
    vertical_figures,
)
from fl_attack_bench.site.contents import Contents, Scene
from fl_attack_bench.site.feed import Entry
from fl_attack_bench.site.outsourced import Sweep
from fl_attack_bench.site.pictures import Gallery, Sheet
from fl_attack_bench.site.tracks import Highlight
from fl_attack_bench.tasks.base import BASELINE

if TYPE_CHECKING:
    from fl_attack_bench.site.board import Download

NEWEST = 6
Drawn = dict[str, style.Figures | None]
_LEADING = {"horizontal": "tradeoff", "vertical": "tradeoff", "outsourced": "chances"}  # a track's leading figure


class Pages:
    """The templates, what all of them know, and the figures drawn for them.

    Args:
        board: what stands on them.
        folder: the site's.
        gallery: of the pictures.
        title: of the board.
        code: where sources can be read; None links none.
    """

    def __init__(self, board: Contents, folder: Path, gallery: Gallery, title: str, code: str | None = None) -> None:
        self.board, self.folder, self.gallery, self.code = board, folder, gallery, code
        self.looks = style.looks((row.spec.name for row in board.everything), BASELINE)
        self.tracks = tracks.tracks(board)
        self.environment = _environment()
        self.environment.globals.update(
            board=board,
            tracks=self.tracks,
            navigation=[
                ("index.html", "Overview"),
                *((track.path, track.name) for track in self.tracks),
                ("defenses.html", "Defenses"),
                ("attacks.html", "Attacks"),
                ("papers.html", "Papers"),
                ("data.html", "Data"),
            ],
            site_title=title,
            version=__version__,
            contents=contents,
            evidence=evidence,
            integrity=integrity,
            vertical=vertical,
            outsourced=outsourced,
            filters=filters,
            attack_pages=attack_pages,
            attack_paths=attack_pages.paths(board),
            paper_pages=paper_pages,
        )
        with style.drawing():
            self.drawn = {scene.slug: self._figures(scene) for scene in board.scenes}
            self.drawn |= {scene.slug: self._vertical_figures(scene) for scene in board.vertical_scenes}
            self.drawn |= {scene.slug: self._outsourced_figures(scene) for scene in board.outsourced_scenes}

    def write_index(self, warnings: Sequence[str], entries: Sequence[Entry]) -> None:
        """The overview: what is measured, who is on the front of each track, and what is new."""
        found = [tracks.highlight(track, self.board) for track in self.tracks]
        self._render(
            "index.html",
            "index.html",
            warnings=list(warnings),
            highlights=[(one, self._front(one)) for one in found],
            entries=entries[:NEWEST],
        )

    def _front(self, found: Highlight) -> style.Figures | None:
        scene = found.scene
        if scene is None:
            return None
        if found.track.scenario == "horizontal":
            return self.drawn[scene.slug]["tradeoff"]
        draw = front_figures.vertical if found.track.scenario == "vertical" else front_figures.outsourced
        with style.drawing():
            return draw(scene.rows, self.looks, self.folder, f"{scene.slug}-front")

    def write_tracks(self) -> None:
        """A page a track: every row with filters, figures, how to read it, gates, failures."""
        for track in self.tracks:
            drawn = [scene for scene in track.scenes if self.drawn[scene.slug][_LEADING[track.scenario]]]
            self._render(f"track_{track.scenario}.html", track.path, track=track, drawn=self.drawn, pictured=drawn)

    def write_data(self, downloads: Sequence["Download"], citation: str) -> None:
        """The downloads, and how to cite the board."""
        self._render("data.html", "data.html", downloads=downloads, citation=citation, first=downloads[0].name)

    def write_tasks(self) -> None:
        """A page a task, of all tracks."""
        self._write_horizontal_tasks()
        self._write_vertical_tasks()
        self._write_outsourced_tasks()

    def write_methods(self) -> None:
        """A page a defense, an attack and a paper, and their indexes."""
        self._write_defenses()
        self._render("defenses.html", "defenses.html")
        self.write_attacks()
        self.write_papers()

    def _write_horizontal_tasks(self) -> None:
        for page in self.board.tasks:
            sheets = {scene.slug: self.gallery.sheet(scene.rows, self.board.records) for scene in page.scenes}
            self._render("task_horizontal.html", page.path, page=page, drawn=self.drawn, sheets=sheets)

    def _write_vertical_tasks(self) -> None:
        for page in self.board.vertical_tasks:
            sheets = {scene.slug: self.gallery.features(scene.rows, self.board.records) for scene in page.scenes}
            self._render("task_vertical.html", page.path, page=page, drawn=self.drawn, sheets=sheets)

    def _write_outsourced_tasks(self) -> None:
        records = self.board.records
        for page in self.board.outsourced_tasks:
            with style.drawing():
                sweeps = {scene.slug: self._sweeps(scene) for scene in page.scenes}
            sheets = {
                scene.slug: [(moment, self.gallery.inputs(scene.rows, records, moment)) for moment in MOMENTS]
                for scene in page.scenes
            }
            self._render("task_outsourced.html", page.path, page=page, drawn=self.drawn, sheets=sheets, sweeps=sweeps)

    def _write_defenses(self) -> None:
        for page in self.board.defenses:
            with style.drawing():
                drawn = defense_pages.figures_of(page, self.board, self.looks, self.folder)
            self._render(
                "defense.html",
                page.path,
                page=page,
                card=defense_pages.card(page, self.board, self.code),
                drawn=drawn,
                pictures=defense_pages.pictures(page, self.board, self.gallery),
            )

    def write_attacks(self) -> None:
        """A page an attack, and their index."""
        pages = attack_pages.pages(self.board)
        for page in pages:
            self._render("attack.html", page.path, page=page)
        self._render("attacks.html", "attacks.html", pages=pages)

    def write_papers(self) -> None:
        """A page a paper, and their index."""
        pages = paper_pages.pages(self.board)
        for page in pages:
            with style.drawing():
                drawn = paper_figures.against(page, self.folder)
            self._render("paper.html", page.path, page=page, drawn=drawn)
        self._render("papers.html", "papers.html", pages=pages)

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
