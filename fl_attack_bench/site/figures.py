"""The board's charts of rows: points for privacy beside utility and over tasks, bars for cost."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.site import formats
from fl_attack_bench.site.labels import beside_points, cut, legend, named, stacked
from fl_attack_bench.site.style import (
    ABREAST,
    BELOW,
    FLOOR,
    INK,
    MUTED,
    PAPER,
    Figures,
    Look,
    Looks,
    figure,
    log_ticks,
    panels,
    save,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TASKS = 6
MAX_BARS = 24


def tradeoff(rows: Sequence[Row], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Privacy against utility, one point a defense; filled where the row is on the Pareto front."""
    points = [
        (100 * row.utility.accuracy, max(row.privacy.mean.value, FLOOR), row)
        for row in rows
        if row.privacy and row.utility
    ]
    if not points:
        return None
    drawn = figure(6.6, 4.4)
    axes = drawn.add_subplot()
    front = _front(axes, [(x, y) for x, y, row in points if row.complete])
    _points(axes, points, looks)
    axes.set(
        yscale="log", xlabel="test accuracy, %   (→ better)", ylabel="worst-case MSE, pixels in [0, 1]   (↑ better)"
    )
    axes.margins(x=0.12, y=0.12)
    log_ticks(axes, "y")
    legend(drawn, {row.spec.name: row for _, _, row in points}, looks)
    beside_points(drawn, axes, [(x, y, named(row)) for x, y, row in points])
    best = [formats.short(row.defense, 60) for _, _, row in points if row.pareto]
    alt = (
        f"Scatter plot of worst-case reconstruction MSE against test accuracy for {len(points)} defenses. "
        f"On the Pareto front: {formats.sentence(best) or 'none'}. The table holds every figure."
    )
    caption = (
        "Privacy against utility; up and to the right is better. Filled: on the Pareto front of all four measures. "
        f"{'Dashed: the best trade of these two. ' if front else ''}Bars: 95% interval."
        f"{BELOW if any(y <= FLOOR for _, y, _ in points) else ''}"
    )
    return save(drawn, folder, name, alt, caption)


def cost(rows: Sequence[Row], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Bytes and seconds as multiples of undefended, one bar a defense."""
    shown = [row for row in rows if row.cost and row.cost.round_times and not row.baseline][:MAX_BARS]
    if not shown:
        return None
    links = sorted({link for row in shown if row.cost for link in row.cost.seconds_times})
    measures: list[tuple[str, list[float]]] = [
        ("bytes", [(row.cost.round_times if row.cost else None) or math.nan for row in shown])
    ]
    measures += [
        (
            f"seconds, {words(link, 12)}",
            [row.cost.seconds_times.get(link, math.nan) if row.cost else math.nan for row in shown],
        )
        for link in links[:3]
    ]
    drawn = figure(2.4 + 1.4 * len(measures), 1.3 + 0.34 * len(shown))
    grid = drawn.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, (title, values) in zip(grid, measures, strict=True):
        _bars(axes, title, values, [looks[row.spec.name].colour for row in shown])
    grid[0].set_yticks(range(len(shown)), [stacked(row.spec, 34) for row in shown])
    comparable = sum(bool(row.cost and row.cost.round_times) for row in rows if not row.baseline)
    caption = "Cost as a multiple of undefended (dashed line); shorter is better." + cut(comparable, MAX_BARS)
    drawn.supxlabel("multiple of undefended   (← better)", size=10)
    alt = f"Bar charts of bytes and seconds as multiples of the undefended federation for {len(shown)} defenses."
    return save(drawn, folder, name, alt, caption)


def privacy(groups: Sequence[tuple[str, Sequence[Row]]], look: Look, folder: Path, name: str) -> Figures | None:
    """One defense on every task: worst-case MSE of each variant with its interval, undefended beside it."""
    shown = [(task, [row for row in rows if row.privacy]) for task, rows in groups]
    shown = [(task, rows) for task, rows in shown if any(not row.baseline for row in rows)][:MAX_TASKS]
    if not shown:
        return None
    caption = "Privacy of each variant with its 95% interval, beside undefended."
    caption += cut(max(len(rows) for _, rows in shown), MAX_BARS)
    shown = [(task, rows[:MAX_BARS]) for task, rows in shown]
    tallest = max(len(rows) for _, rows in shown)
    drawn = figure(3.5 * min(ABREAST, len(shown)) + 0.8, (1.1 + 0.36 * tallest) * math.ceil(len(shown) / ABREAST))
    for axes, (task, rows) in zip(panels(drawn, len(shown), sharex=True), shown, strict=True):
        _intervals(axes, rows, look)
        axes.set_title(words(task, 36))
    alt = f"Worst-case reconstruction MSE of each variant on {len(shown)} tasks, with 95% intervals, beside undefended."
    return save(drawn, folder, name, alt, caption)


def _front(axes: "Axes", points: Sequence[tuple[float, float]]) -> bool:
    """Draw the line over which no row is better in both; False where a single row is."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    if len(front) < 2:
        return False
    axes.step([x for x, _ in front], [y for _, y in front], where="post", color=MUTED, lw=1, ls=(0, (5, 4)), zorder=1)
    return True


def _points(axes: "Axes", points: Sequence[tuple[float, float, Row]], looks: Looks) -> None:
    """Each row with its interval."""
    for x, _, row in points:
        look = looks[row.spec.name]
        privacy = row.privacy
        if privacy:
            axes.vlines(x, max(privacy.mean.low, FLOOR), max(privacy.mean.high, FLOOR), color=look.colour, lw=1.2)
    scatter(axes, points, looks)


def scatter(axes: "Axes", points: Sequence[tuple[float, float, BoardRow]], looks: Looks) -> None:
    """A mark a row of any track: filled on the Pareto front, hollow elsewhere."""
    import seaborn as sns

    points = sorted(points, key=lambda point: point[2].spec.is_baseline)  # last: others must not hide it
    sns.scatterplot(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        style=[row.spec.name for _, _, row in points],
        markers={row.spec.name: looks[row.spec.name].marker for _, _, row in points},
        c=[looks[row.spec.name].colour if row.pareto else PAPER for _, _, row in points],
        edgecolor=[looks[row.spec.name].colour for _, _, row in points],
        linewidth=1.8,
        s=95,
        legend=False,
        ax=axes,
        zorder=3,
    )


def _bars(axes: "Axes", title: str, values: Sequence[float], colours: Sequence[str]) -> None:
    """Multiples of undefended as bars, each with its figure written at the right."""
    import seaborn as sns

    # Labels may repeat or be cut to the same text: bars are placed by number and named afterwards.
    places = [str(index) for index in range(len(values))]
    sns.barplot(
        x=values,
        y=places,
        hue=places,
        palette=colours,
        saturation=1,
        legend=False,
        orient="h",
        width=0.62,
        linewidth=0,
        ax=axes,
    )
    axes.axvline(1, color=INK, lw=1, ls=(0, (4, 3)))
    axes.set(title=title, xlabel="", ylabel="")
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, max([1.0, *(v for v in values if math.isfinite(v))]) * 1.6)
    for index, value in enumerate(values):
        text = formats.times(value) if math.isfinite(value) else formats.NOTHING
        axes.text(1, index, text, transform=axes.get_yaxis_transform(), ha="right", va="center", size=8.5)


def _intervals(axes: "Axes", rows: Sequence[Row], look: Look) -> None:
    """One line a row: the mean and its interval, the first row at the top."""
    import seaborn as sns

    means = [max(row.privacy.mean.value, FLOOR) for row in rows if row.privacy]
    colours = [INK if row.baseline else look.colour for row in rows]
    for place, row in enumerate(rows):
        if row.privacy:
            ends = max(row.privacy.mean.low, FLOOR), max(row.privacy.mean.high, FLOOR)
            axes.hlines(place, *ends, color=colours[place], lw=2)
    sns.scatterplot(x=means, y=list(range(len(rows))), c=colours, s=60, linewidth=0, ax=axes, zorder=3)
    axes.set(xscale="log", ylabel="", xlabel="worst-case MSE   (→ better)")
    axes.set_yticks(range(len(rows)), [words(named(row), 24) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    log_ticks(axes, "x")
