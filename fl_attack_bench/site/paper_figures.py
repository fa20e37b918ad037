"""A paper's published figures against ours, a panel a quantity."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.labels import beside_points, cut
from fl_attack_bench.site.paper_pages import MULTIPLIED, QUANTITIES, Pair, PaperPage
from fl_attack_bench.site.style import (
    ABREAST,
    INK,
    LARGEST,
    MARKERS,
    MUTED,
    PALETTE,
    Figures,
    drawable,
    figure,
    log_ticks,
    panels,
    save,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 3  # pairs: of fewer the table is plainer
MAX_POINTS = 60  # in a panel
MAX_NAMED = 12  # points that carry words
_UNITS = {"seconds": ", s", "bytes": ", bytes", "mse": "", "correlation": ""}


def against(page: PaperPage, folder: Path) -> Figures | None:
    """One dot a pair on equal axes with the diagonal; None where there are fewer than three."""
    by_quantity = {
        name: held
        for name in QUANTITIES
        if (held := [pair for pair in page.pairs if pair.published.quantity == name and _drawable(pair)])
    }
    pairs = [pair for held in by_quantity.values() for pair in held]
    if len(pairs) < LEAST:
        return None
    abreast, lines = min(ABREAST, len(by_quantity)), -(-len(by_quantity) // ABREAST)
    drawn = figure(max(4.6, 3.6 * abreast), 4.0 * lines)
    shown = panels(drawn, len(by_quantity))
    for axes, (name, held) in zip(shown, by_quantity.items(), strict=True):
        _panel(axes, name, held[:MAX_POINTS])
    for axes, held in zip(shown, by_quantity.values(), strict=True):
        if len(held) <= MAX_NAMED:
            beside_points(drawn, axes, _named(held))
    told = formats.sentence(QUANTITIES[name][0].lower() if name != "mse" else "MSE" for name in by_quantity)
    alt = (
        f"Scatter plots of {told}: published by {words(page.title, 60)} on the horizontal axis, ours on the vertical "
        f"one, {len(pairs)} pairs. The table holds every figure."
    )
    caption = (
        "On the line: ours is as published. Above it ours is higher. A paper's set-up differs from ours: see the table."
    )
    most = max(map(len, by_quantity.values()))
    return save(drawn, folder, page.path.removesuffix(".html"), alt, caption + cut(most, MAX_POINTS, "pairs a panel"))


def _drawable(pair: Pair) -> bool:
    if pair.ours is None:
        return False
    both = pair.ours, pair.published.value
    least = 1 / LARGEST if pair.published.quantity in MULTIPLIED else -LARGEST
    return all(drawable(value) and value >= least for value in both)


def _panel(axes: "Axes", name: str, held: Sequence[Pair]) -> None:
    x, y = [pair.published.value for pair in held], [pair.ours or 0.0 for pair in held]
    low, high = min(*x, *y), max(*x, *y)
    if name in MULTIPLIED:
        room = max(high / low, 3.0) ** 0.12
        low, high = low / room, high * room
        axes.set(xscale="log", yscale="log")
        log_ticks(axes, "x")
        log_ticks(axes, "y")
    else:
        room = max(high - low, 0.05) * 0.12
        low, high = low - room, high + room
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.plot([low, high], [low, high], color=MUTED, lw=1.1, ls=(0, (4, 3)), zorder=1)
    place = list(QUANTITIES).index(name) % len(PALETTE)
    moments = list(dict.fromkeys(pair.moment for pair in held))
    for moment, marker in zip(moments, MARKERS, strict=False):
        own = [at for at, pair in enumerate(held) if pair.moment == moment]
        label = formats.moment(moment) if moment else "whole training"
        dots = [x[at] for at in own], [y[at] for at in own]
        axes.scatter(*dots, c=[PALETTE[place]], marker=marker, s=52, linewidths=0, alpha=0.9, zorder=3, label=label)
    if len(moments) > 1:
        axes.legend(loc="lower right", handletextpad=0.2)
    what, way = QUANTITIES[name]
    axes.set_title(f"{what} {way}")
    axes.set_xlabel(f"published{_UNITS.get(name, ', share')}", color=INK)
    axes.set_ylabel(f"ours{_UNITS.get(name, ', share')}", color=INK)


def _named(held: Sequence[Pair]) -> list[tuple[float, float, str]]:
    """The dots with their words; those of one figure at several moments carry them once."""
    told = {(pair.place, pair.scene.hardware): place for place, pair in reversed(list(enumerate(held)))}
    first = set(told.values())
    return [
        (pair.published.value, pair.ours or 0.0, _words(pair, held) if place in first else "")
        for place, pair in enumerate(held)
    ]


def _words(pair: Pair, held: Sequence[Pair]) -> str:
    """What tells a dot from the others of its panel."""
    figure_of, told = pair.published, []
    if len({one.published.defense for one in held}) > 1:
        told.append("undefended" if pair.row and pair.row.baseline else figure_of.defense)
    if len({one.published.layer for one in held}) > 1:
        told.append(figure_of.layer or "")
    if len({one.published.link for one in held}) > 1:
        told.append(figure_of.link or "")
    if len({one.published.stage for one in held}) > 1:
        told.append(figure_of.stage or "")
    if len({contents.task_path(one.scene.rows[0]) for one in held}) > 1:
        told.append(pair.scene.label)
    return " ".join(part for part in told if part)
