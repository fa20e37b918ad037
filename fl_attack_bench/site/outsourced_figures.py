"""Charts of outsourced rows: privacy against seconds, and seconds by link."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.score.outsourced import Elsewhere, elsewhere, row_of
from fl_attack_bench.score.outsourced.row import STAGES, Moment, OutsourcedRow
from fl_attack_bench.site import formats
from fl_attack_bench.site.labels import beside_points, cut, legend, named, titles
from fl_attack_bench.site.outsourced import batch
from fl_attack_bench.site.style import FLOOR, MUTED, PALETTE, PAPER, Figures, Looks, figure, log_ticks, save, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 24
MAX_LINKS = 2
_LINK_LOOKS = ((PALETTE[0], "o"), (PALETTE[1], "s"))
_NAMES = {"training": "training step", "inference": "inference batch"}


def tradeoff(rows: Sequence[OutsourcedRow], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Worst-case error against seconds, a panel a stage and link; filled where the row is on the Pareto front."""
    points = [
        (stage, link, seconds, max(row.privacy.mean.value, FLOOR), row)
        for row in rows
        if row.privacy and row.cost
        for stage in STAGES
        if (paid := row.cost.stage(stage)) is not None
        for link, seconds in paid.seconds.items()
    ]
    links = sorted({link for _, link, *_ in points})[:MAX_LINKS]
    stages = [stage for stage in STAGES if any(at == stage for at, *_ in points)]
    if not points:
        return None
    drawn = figure(4.0 * len(stages) + 0.8, 2.9 * len(links) + 0.7)
    grid = drawn.subplots(len(links), len(stages), sharey=True, squeeze=False)
    for line, link in enumerate(links):
        for column, stage in enumerate(stages):
            own = [(x, y, row) for at, over, x, y, row in points if (at, over) == (stage, link)]
            _points(grid[line][column], own, looks)
            grid[line][column].set_title(f"{_NAMES[stage]}, {words(link, 16)}")
    for axes in grid[-1]:
        axes.set_xlabel("seconds   (← better)")
    drawn.supylabel("worst-case MSE, features in [0, 1]   (↑ better)", size=10)
    legend(drawn, {row.spec.name: row for *_, row in points}, looks)
    for line, link in enumerate(links):
        for column, stage in enumerate(stages):
            own = [(x, y, row) for at, over, x, y, row in points if (at, over) == (stage, link)]
            colours = [looks[row.spec.name].colour for *_, row in own]
            beside_points(drawn, grid[line][column], [(x, y, named(row)) for x, y, row in own], colours)
    defenses = len({row.defense for *_, row in points})
    alt = f"Scatter plots of worst-case reconstruction MSE against the seconds of a batch for {defenses} protocols."
    caption = (
        "Privacy against time of one batch, computing and modelled network together; up and to the left is better. "
    )
    caption += "Filled: on the Pareto front. Where no attack applies there is no point."
    return save(drawn, folder, name, alt, caption)


def cost(rows: Sequence[OutsourcedRow], folder: Path, name: str) -> Figures | None:
    """Seconds of a batch by link, a panel a stage, a line a protocol; published figures as hollow marks."""
    paid = [row for row in rows if row.cost and (row.cost.inference.seconds or row.cost.inference.network)]
    shown = paid[:MAX_BARS]
    if not shown:
        return None
    others = [one for one in elsewhere(shown) if any(one.seconds(stage) for stage in STAGES)]
    links = sorted({link for row in shown if row.cost for link in row.cost.inference.network})[:MAX_LINKS]
    count = len(shown) + len(others)
    drawn = figure(9.2, 1.7 + 0.36 * count)
    grid = drawn.subplots(1, len(STAGES), sharey=True, squeeze=False)[0]
    for axes, stage in zip(grid, STAGES, strict=True):
        _seconds(axes, shown, others, stage, links)
        axes.set_title(f"{_NAMES[stage]}, {batch(rows[0].task, stage):,} samples")
        axes.set(xscale="log", xlabel="seconds   (← better)")
        axes.grid(visible=False, axis="y")
        log_ticks(axes, "x")
    named_rows = titles(shown, 30)
    # On one line: of several, the browser's letters would leave the left ones short of the axis.
    told = [named_rows[row.defense].replace("\n", " ") for row in shown] + [
        f"{words(one.defense, 22)}, published" for one in others
    ]
    grid[0].set_yticks(range(count), told)
    grid[0].set_ylim(count - 0.5, -0.5)
    hollow = _link_legend(drawn, links, published=any(one.quantity == "seconds" for one in rows[0].task.published))
    over = formats.sentence(words(link, 20) for link in links)
    alt = f"Dot plots on a logarithmic axis of the seconds of a batch over {over} for {count} protocols."
    caption = "Seconds of one batch: measured computing and modelled network; left is better."
    caption += " Hollow: published by papers, on their machines." if hollow else ""
    return save(drawn, folder, name, alt, caption + cut(len(paid), MAX_BARS, "protocols"))


def _points(axes: "Axes", points: Sequence[tuple[float, float, OutsourcedRow]], looks: Looks) -> None:
    for x, y, row in points:
        look = looks[row.spec.name]
        fill = look.colour if row.pareto else PAPER
        axes.scatter([x], [y], c=[fill], edgecolors=look.colour, marker=look.marker, s=70, linewidths=1.7, zorder=3)
    axes.set(xscale="log", yscale="log")
    axes.margins(x=0.2, y=0.14)
    log_ticks(axes, "x")
    log_ticks(axes, "y")


def _seconds(
    axes: "Axes", rows: Sequence[OutsourcedRow], others: Sequence[Elsewhere], stage: Moment, links: Sequence[str]
) -> None:
    """One line a protocol: a mark a link, joined; published ones hollow."""
    for place, row in enumerate(rows):
        found = row.cost.stage(stage) if row.cost else None
        own = [(found.seconds.get(link, math.nan) if found else math.nan) for link in links]
        axes.plot(own, [place] * len(own), color=MUTED, lw=1.2, alpha=0.6, zorder=1)
        for height, value, (colour, marker) in zip((3.1, 3), own, _LINK_LOOKS, strict=False):
            # The first link's circle above the square: where nothing crosses the network they are in one place.
            axes.scatter([value], [place], c=[colour], marker=marker, s=52, linewidths=0, zorder=height)
    told = [one for one in rows[0].task.published if one.quantity == "seconds" and one.stage == stage]
    lines = {row.defense: place for place, row in enumerate(rows)}
    played = [(row_of(one, rows), one) for one in told]
    quoted = [(lines[row.defense], one.link or "", one.value) for row, one in played if row is not None]
    quoted += [
        (len(rows) + place, link, value) for place, one in enumerate(others) for link, value in one.seconds(stage)
    ]
    looks = {link.casefold(): look for link, look in zip(links, _LINK_LOOKS, strict=False)}
    for place, link, value in quoted:
        colour, marker = looks.get(link.casefold(), (MUTED, "D"))
        # Larger and without a filling: it may lie over one of ours.
        axes.scatter([value], [place], c="none", edgecolors=colour, marker=marker, s=90, linewidths=1.5, zorder=4)


def _link_legend(drawn: "Figure", links: Sequence[str], *, published: bool) -> bool:
    """What the marks are; whether some are hollow."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, ls="", ms=7, label=words(link, 20))
        for link, (colour, marker) in zip(links, _LINK_LOOKS, strict=False)
    ]
    if published:
        handles.append(Line2D([], [], color=MUTED, marker="o", mfc=PAPER, ls="", ms=7, mew=1.5, label="published"))
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.2)
    return published
