"""The page of a defense: which figures, pictures and facts stand on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.site import (
    contents,
    defense_card,
    defense_costs,
    figures,
    sweep_figures,
    sweep_measures,
    variant_figures,
)
from fl_attack_bench.site.contents import Contents, DefensePage, Scene
from fl_attack_bench.site.defense_card import Glance, Parameter, Source
from fl_attack_bench.site.defense_pictures import Plate, plates
from fl_attack_bench.site.pictures import Gallery
from fl_attack_bench.site.style import Figures, Looks
from fl_attack_bench.site.sweep_figures import Drawn
from fl_attack_bench.site.sweeps import sweeps

MAX_SWEEPS = 6  # figures of sweeps on a page


@dataclass(frozen=True)
class DefenseFigures:
    """The drawings of one page.

    Args:
        sweeps: a figure a task and parameter.
        swept: how many there are to draw.
        variants: what is no sweep, as points.
        intervals: privacy of the variants on tasks that neither shows.
        costs: bars, one figure a track.
    """

    sweeps: tuple[Figures, ...] = ()
    swept: int = 0
    variants: Figures | None = None
    intervals: Figures | None = None
    costs: tuple[Figures, ...] = ()


@dataclass(frozen=True)
class DefenseCard:
    """What the head of the page says."""

    parameters: tuple[Parameter, ...]
    sources: tuple[Source, ...]
    glances: tuple[Glance, ...]


def card(page: DefensePage, board: Contents, code: str | None = None) -> DefenseCard:
    """Parameters, code and what it comes to.

    Args:
        page: the defense's.
        board: the whole of it.
        code: an address to which files are linked, as :func:`~fl_attack_bench.site.defense_card.sources` says.
    """
    return DefenseCard(
        tuple(defense_card.parameters(page)),
        tuple(defense_card.sources(page, board.records, code)),
        tuple(defense_card.glances(page)),
    )


def figures_of(page: DefensePage, board: Contents, looks: Looks, folder: Path) -> DefenseFigures:
    """Draw a page's figures into the site's folder; to be called within :func:`~fl_attack_bench.site.style.drawing`."""
    look, stem = looks[page.name], page.path.removesuffix(".html")
    there = _beside_undefended(page, board)
    chosen, swept = _chosen(page, there)
    drawn = [sweep_figures.sweep(one, look, folder, f"{stem}-sweep-{at}") for at, (_, one) in enumerate(chosen, 1)]
    left = [place for place in range(len(there)) if place not in {at for at, _ in chosen}]
    groups = [(there[at].label, there[at].rows, there[at].measures) for at in left]
    pointed = {at for at in left if variant_figures.paired(there[at].rows, there[at].measures)}
    remaining = [(there[at].label, _horizontal(there[at].rows)) for at in left if at not in pointed]
    return DefenseFigures(
        tuple(one for one in drawn if one),
        swept,
        variant_figures.variants(groups, look, folder, f"{stem}-variants"),
        figures.privacy([group for group in remaining if group[1]], look, folder, stem),
        _costs(there, page, looks, folder),
    )


def pictures(page: DefensePage, board: Contents, gallery: Gallery) -> list[tuple[BoardRow, list[Plate]]]:
    """The plates of each row that has any, in the order of the rows."""
    found = [(row, plates(row, board, gallery)) for row in page.everything]
    return [(row, own) for row, own in found if own]


@dataclass(frozen=True)
class _Place:
    """The variants of a defense on one task and hardware profile, the undefended row first."""

    label: str
    track: str
    rows: tuple[BoardRow, ...]
    baseline: BoardRow | None
    measures: tuple[sweep_measures.Measure, ...]


def _beside_undefended(page: DefensePage, board: Contents) -> list[_Place]:
    """Every task of every track on which the defense was played; none for the undefended itself."""
    tracks: list[tuple[str, Sequence[Scene[Any]], Any]] = [
        ("horizontal", board.scenes, sweep_measures.horizontal),
        ("vertical", board.vertical_scenes, sweep_measures.vertical),
        ("outsourced", board.outsourced_scenes, sweep_measures.outsourced),
    ]
    one_machine = len({row.hardware for row in board.everything}) == 1
    found = []
    for track, scenes, measures in tracks:
        for scene in scenes:
            own = [row for row in scene.rows if row.spec.name == page.name and not row.baseline]
            own.sort(key=lambda row: contents.in_order(contents.variant(row)))
            if own:
                rows = tuple([row for row in (scene.baseline,) if row] + own)
                label = scene.label if one_machine else f"{scene.label}, {scene.hardware}"
                found.append(_Place(label, track, rows, scene.baseline, measures(rows)))
    return found


def _chosen(page: DefensePage, there: Sequence[_Place]) -> tuple[list[tuple[int, Drawn]], int]:
    """The sweeps that are drawn, by place, and how many there are.

    Those with figures of privacy and utility come first; each task's longest before any task's second.
    """
    ranked: list[tuple[bool, int, int, Drawn]] = []
    for at, place in enumerate(there):
        found = sweeps(place.rows)
        own = []
        for setting in dict.fromkeys(one.setting for one in found):
            lines = tuple(one for one in found if one.setting == setting)
            own.append(Drawn(place.label, page.title, lines, place.measures, place.baseline))
        ranked += [(not one.trades, rank, at, one) for rank, one in enumerate(one for one in own if one.told)]
    ranked.sort(key=lambda item: item[:3])
    chosen = sorted(ranked[:MAX_SWEEPS], key=lambda item: (item[0], item[2], item[1]))
    return [(at, one) for _, _, at, one in chosen], len(ranked)


def _horizontal(rows: Sequence[BoardRow]) -> list[Row]:
    return [row for row in rows if isinstance(row, Row)]


def _costs(there: Sequence[_Place], page: DefensePage, looks: Looks, folder: Path) -> tuple[Figures, ...]:
    drawn = []
    makers: dict[str, Any] = {
        "horizontal": lambda place: defense_costs.horizontal(place.label, place.rows, place.baseline),
        "vertical": lambda place: defense_costs.vertical(place.label, place.rows),
        "outsourced": lambda place: defense_costs.outsourced(place.label, place.rows),
    }
    for track, maker in makers.items():
        bills = [bill for place in there if place.track == track and (bill := maker(place))]
        name = f"{page.path.removesuffix('.html')}-cost-{track}"
        drawn.append(defense_costs.bars(bills, looks[page.name], folder, name))
    return tuple(one for one in drawn if one)
