"""Drawings of a defense's sweeps: privacy against utility along the parameter, and both by the parameter's value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.site import formats
from fl_attack_bench.site.labels import beside_points, cut
from fl_attack_bench.site.style import (
    ABREAST,
    BELOW,
    FLOOR,
    INK,
    MUTED,
    PALETTE,
    Figures,
    Look,
    figure,
    log_ticks,
    save,
    words,
)
from fl_attack_bench.site.sweep_axes import BARS, HOLLOW, MAX_LABELS, diverged, point, scale
from fl_attack_bench.site.sweep_measures import Measure
from fl_attack_bench.site.sweeps import Sweep, logarithmic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LINES = 5  # sweeps of one parameter in a figure
MAX_NAMED = 8  # values that still have room as marks of an axis
_CROWDED = 0.11  # of an axis' length: marks that are nearer meet


@dataclass(frozen=True)
class Drawn:
    """All sweeps of one parameter of a defense on one task.

    Args:
        label: the task, with the hardware where there are several.
        title: what the defense is called.
        sweeps: a line each.
        measures: of the task.
        baseline: the undefended row; None where there is none.
    """

    label: str
    title: str
    sweeps: tuple[Sweep[Any], ...]
    measures: tuple[Measure, ...]
    baseline: BoardRow | None

    @property
    def told(self) -> tuple[Measure, ...]:
        """Those of which some line has at least two points."""
        return tuple(
            one
            for one in self.measures
            if any(sum(one.read(row) is not None for row in sweep.rows) > 1 for sweep in self.sweeps)
        )

    @property
    def trades(self) -> tuple[tuple[Measure, Measure], ...]:
        """What is protected, each with what is set against it: the first that does not protect."""
        others = [one for one in self.told if not one.protects]
        return tuple((one, others[0]) for one in self.told if one.protects and others)


def sweep(drawn: Drawn, look: Look, folder: Path, name: str) -> Figures | None:
    """Panels of privacy against utility with the points joined in the parameter's order, then of each by its value."""
    shown = Drawn(drawn.label, drawn.title, drawn.sweeps[:MAX_LINES], drawn.measures, drawn.baseline)
    if not shown.told:
        return None
    lines = _lines(shown)
    abreast = max(len(line) for line in lines)
    # A single panel fits a phone.
    paper = figure(3.75 * abreast + 0.3 if abreast > 1 else 3.45, 3.2 * len(lines) + 0.6)
    places = _grid(paper, lines)
    colours = [look.colour] if len(shown.sweeps) == 1 else [PALETTE[at % len(PALETTE)] for at in range(MAX_LINES)]
    for axes, panel in places:
        for line, colour in zip(shown.sweeps, colours, strict=False):
            _line(axes, line, panel, Look(colour, look.marker))
        _reference(axes, shown.baseline, panel)
        _scales(axes, shown, panel)
    _legend(paper, shown, colours, look)
    for axes, panel in places:
        if len(panel) == 2:
            _named_points(paper, axes, shown, panel, colours)
    parameter = words(shown.sweeps[0].name, 40)
    values = formats.sentence(f"{value:g}" for value in _values(shown)[:MAX_LABELS])
    seen = formats.sentence(words(one.title, 60) for one in shown.told)
    alt = (
        f"Line charts of {seen} of {words(drawn.title, 60)} on {words(drawn.label, 60)} along {parameter}, at {values}."
    )
    caption = f"{words(drawn.label, 60)}: along {parameter}."
    if shown.trades:
        caption += " Points are joined in the parameter's order and carry its value."
    elif not any(one.protects for one in shown.told):
        caption += " No attack counts at two of its values: what it takes alone is drawn."
    caption += _qualified(shown)
    caption += " In ink: undefended." if shown.baseline else ""
    return save(paper, folder, name, alt, caption + cut(len(drawn.sweeps), MAX_LINES, "lines"))


def _lines(shown: Drawn) -> list[list[tuple[Measure, ...]]]:
    """The panels line by line: a pair is one against the other, a single measure is drawn by the parameter."""
    trades: list[tuple[Measure, ...]] = list(shown.trades)
    alone: list[tuple[Measure, ...]] = [(one,) for one in shown.told]
    if len(trades) + len(alone) <= ABREAST:
        return [trades + alone]
    if len(trades) > 1:
        return [trades, alone]
    return [(trades + alone)[:2], (trades + alone)[2:]]


def _grid(paper: "Figure", lines: Sequence[Sequence[tuple[Measure, ...]]]) -> "list[tuple[Axes, tuple[Measure, ...]]]":
    """Axes of equal width within a line; lines may hold different numbers of them."""
    columns = math.lcm(*(len(line) for line in lines))
    grid = paper.add_gridspec(len(lines), columns)
    places = []
    for at, line in enumerate(lines):
        wide = columns // len(line)
        for place, panel in enumerate(line):
            places.append((paper.add_subplot(grid[at, place * wide : (place + 1) * wide]), panel))
    return places


def _line(axes: "Axes", line: Sweep[Any], panel: tuple[Measure, ...], look: Look) -> None:
    """The points of one sweep, joined in the parameter's order."""
    found = [(_across(value, row, panel), panel[0].read(row), diverged(row)) for value, row in line.points]
    points = [(x, y, hollow) for x, y, hollow in found if x is not None and y is not None]
    axes.plot([x.value for x, *_ in points], [y.value for _, y, _ in points], color=look.colour, lw=1.4, zorder=2)
    for x, y, hollow in points:
        point(axes, x, y, look, hollow=hollow)


def _paths(line: Sweep[Any], panel: tuple[Measure, ...]) -> list[list[tuple[float, float]]]:
    """What words keep off: the line through the points, and their intervals."""
    found = [(_across(value, row, panel), panel[0].read(row)) for value, row in line.points]
    points = [(x, y) for x, y in found if x is not None and y is not None]
    upright = [[(x.value, y.low), (x.value, y.high)] for x, y in points]
    lying = [[(x.low, y.value), (x.high, y.value)] for x, y in points]
    return [[(x.value, y.value) for x, y in points], *upright, *lying]


def _across(value: float, row: BoardRow, panel: tuple[Measure, ...]) -> Estimate | None:
    return panel[1].read(row) if len(panel) == 2 else Estimate(value, value, value)


def _reference(axes: "Axes", baseline: BoardRow | None, panel: tuple[Measure, ...]) -> None:
    """The undefended: a cross among points, a dashed line by the parameter's value."""
    y = panel[0].read(baseline) if baseline else None
    if y is None:
        return
    if len(panel) == 1:
        axes.axhline(y.value, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
        return
    x = panel[1].read(baseline)
    if x is not None:
        point(axes, x, y, Look(INK, "X"))


def _scales(axes: "Axes", shown: Drawn, panel: tuple[Measure, ...]) -> None:
    """Axes with their labels; the parameter's values stand under a panel that is drawn by them."""
    rows = [row for line in shown.sweeps for row in line.rows] + ([shown.baseline] if shown.baseline else [])
    axes.set_ylabel(panel[0].upright())
    scale(axes, "y", [found for row in rows if (found := panel[0].read(row))], panel[0])
    if len(panel) == 2:
        axes.set_xlabel(panel[1].lying())
        scale(axes, "x", [found for row in rows if (found := panel[1].read(row))], panel[1])
        return
    axes.set_xlabel(words(shown.sweeps[0].name, 40))
    values = _values(shown)
    if logarithmic(values):
        axes.set_xscale("log")
    axes.margins(x=0.08)
    if len(values) <= MAX_NAMED:
        _name_values(axes, values)
    elif logarithmic(values):
        log_ticks(axes, "x")


def _name_values(axes: "Axes", values: Sequence[float]) -> None:
    """Every value as a mark; those that would meet the one before stay without a name."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    places = [math.log10(value) for value in values] if logarithmic(values) else list(values)
    length = places[-1] - places[0] or 1.0
    told, last = [], -math.inf
    for value, place in zip(values, places, strict=True):
        text = words(f"{value:g}", 10)
        told.append(text if (place - last) / length >= _CROWDED else "")
        last = place if told[-1] else last
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_major_formatter(FixedFormatter(told))
    axes.xaxis.set_minor_locator(NullLocator())


def _qualified(shown: Drawn) -> str:
    """What the bars are, where there are any, and that an error too small to tell is drawn where it is not."""
    rows = [row for line in shown.sweeps for row in line.rows]
    found = [one.read(row) for row in rows for one in shown.told]
    text = BARS if any(one.high > one.low for one in found if one) else ""
    errors = [one.read(row) for row in rows for one in shown.told if one.protects and not one.share]
    text += HOLLOW if any(diverged(row) for row in rows) else ""
    return text + (BELOW if any(one.value <= FLOOR for one in errors if one) else "")


def _values(shown: Drawn) -> list[float]:
    return sorted({value for line in shown.sweeps for value in line.values})


def _legend(paper: "Figure", shown: Drawn, colours: Sequence[str], look: Look) -> None:
    """What each line holds fixed, where there are several, and what is in ink."""
    from matplotlib.lines import Line2D

    told = [
        ", ".join(f"{name}={value}" for name, value in line.others) or shown.sweeps[0].name for line in shown.sweeps
    ]
    handles = [
        Line2D([], [], color=colour, marker=look.marker, ms=6, lw=1.4, label=words(text, 44))
        for text, colour in zip(told, colours, strict=False)
    ]
    if len(handles) == 1 and not shown.sweeps[0].others:
        handles = []
    if shown.baseline:
        handles.append(Line2D([], [], color=INK, marker="X", ms=7, lw=1, ls=(0, (4, 3)), label="undefended"))
    if handles:
        long = max(len(str(handle.get_label())) for handle in handles)
        paper.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4 if long <= 22 else 2))


def _named_points(
    paper: "Figure", axes: "Axes", shown: Drawn, panel: tuple[Measure, ...], colours: Sequence[str]
) -> None:
    """Write the parameter's value beside each point; in the line's colour where there are several."""
    found = []
    for line, colour in zip(shown.sweeps, colours, strict=False):
        for value, row in line.points:
            x, y = _across(value, row, panel), panel[0].read(row)
            if x and y:
                found.append((x.value, y.value, f"{value:g}", colour if len(shown.sweeps) > 1 else INK))
    if len(found) > MAX_LABELS:
        return
    x, y = (measure.read(shown.baseline) if shown.baseline else None for measure in reversed(panel))
    if x and y:
        found.append((x.value, y.value, "undefended", MUTED))
    lines = [path for line in shown.sweeps for path in _paths(line, panel)]
    beside_points(paper, axes, [one[:3] for one in found], [one[3] for one in found], lines)
