"""The board's figures, drawn by seaborn from rows and records."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_attack_bench.record import Record
from fl_attack_bench.score import Row
from fl_attack_bench.site import formats
from fl_attack_bench.site.style import FLOOR, INK, MUTED, PAPER, Figures, Look, figure, log_ticks, save, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12
MAX_BARS = 24
MAX_LINES = 8
CURVE_POINTS = 80
LARGEST = 1e30  # of an objective that is drawn: one that ran off would flatten all others
Looks = Mapping[str, Look]


def tradeoff(rows: Sequence[Row], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Privacy against utility, one point a defense; filled where the row is on the Pareto front."""
    import seaborn as sns

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
    for x, _, row in points:
        look = looks[row.spec.name]
        privacy = row.privacy
        if privacy:
            axes.vlines(x, max(privacy.mean.low, FLOOR), max(privacy.mean.high, FLOOR), color=look.colour, lw=1.2)
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
    axes.set(
        yscale="log", xlabel="test accuracy, %   (→ better)", ylabel="worst-case MSE, pixels in [0, 1]   (↑ better)"
    )
    axes.margins(x=0.12, y=0.12)
    log_ticks(axes, "y")
    _legend(drawn, {row.spec.name: row for _, _, row in points}, looks)
    _label(drawn, axes, points)
    best = [formats.short(row.defense, 60) for _, _, row in points if row.pareto]
    alt = (
        f"Scatter plot of worst-case reconstruction MSE against test accuracy for {len(points)} defenses. "
        f"On the Pareto front: {formats.sentence(best) or 'none'}. The table holds every figure."
    )
    caption = (
        "Privacy against utility; up and to the right is better. Filled: on the Pareto front of all four measures. "
        f"{'Dashed: the best trade of these two. ' if front else ''}Bars: 95% interval."
    )
    return save(drawn, folder, name, alt, caption)


def cost(rows: Sequence[Row], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Bytes and seconds as multiples of undefended, one bar a defense."""
    import seaborn as sns

    shown = [row for row in rows if row.cost and row.cost.total_times and not row.baseline][:MAX_BARS]
    if not shown:
        return None
    links = sorted({link for row in shown if row.cost for link in row.cost.seconds_times})
    panels: list[tuple[str, list[float]]] = [
        ("bytes", [(row.cost.total_times if row.cost else None) or math.nan for row in shown])
    ]
    panels += [
        (
            f"seconds, {words(link, 12)}",
            [row.cost.seconds_times.get(link, math.nan) if row.cost else math.nan for row in shown],
        )
        for link in links[:3]
    ]
    drawn = figure(2.4 + 1.4 * len(panels), 1.3 + 0.34 * len(shown))
    grid = drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    # Labels may repeat or be cut to the same text: bars are placed by number and named afterwards.
    places = [str(index) for index in range(len(shown))]
    for axes, (title, values) in zip(grid, panels, strict=True):
        sns.barplot(
            x=values,
            y=places,
            hue=places,
            palette=[looks[row.spec.name].colour for row in shown],
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
    grid[0].set_yticks(range(len(shown)), [words(row.defense) for row in shown])
    comparable = sum(bool(row.cost and row.cost.total_times) for row in rows if not row.baseline)
    caption = "Cost as a multiple of undefended (dashed line); shorter is better." + _cut(comparable, MAX_BARS)
    drawn.supxlabel("multiple of undefended   (← better)", size=10)
    alt = f"Bar charts of bytes and seconds as multiples of the undefended federation for {len(shown)} defenses."
    return save(drawn, folder, name, alt, caption)


def accuracy(
    rows: Sequence[Row], records: Mapping[str, Record], looks: Looks, folder: Path, name: str
) -> Figures | None:
    """Accuracy over rounds, a panel a defense, undefended in each; the band is one standard deviation over seeds."""
    families: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.utility and not row.baseline:
            families[row.spec.name].append(row)
    base = next((row for row in rows if row.baseline and row.utility), None)
    panels = sorted(families.items())[:MAX_PANELS] or ([("", [])] if base else [])
    if not panels:
        return None
    columns = min(3, len(panels))
    drawn = figure(3.1 * columns + 0.6, 2.6 * math.ceil(len(panels) / columns) + 0.2)
    grid = drawn.subplots(math.ceil(len(panels) / columns), columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (family, variants) in zip(grid.flat, panels, strict=False):
        if base:
            _curve(axes, base, records, colour=INK, label="undefended")
        for index, row in enumerate(variants[:MAX_LINES]):
            _curve(axes, row, records, colour=looks[family].colour, dash=_dash(index), label=_variant(row))
        axes.set(title=words(family, 30), xlabel="round", ylabel="test accuracy, %  (↑ better)")
        axes.legend(loc="lower right", fontsize=7.5, handlelength=2.2)
    alt = (
        f"Line charts of test accuracy over rounds, undefended against {formats.sentence(words(f) for f, _ in panels)}."
    )
    caption = "Accuracy over rounds, mean over seeds; the band is one standard deviation over seeds."
    caption += _cut(max(len(variants) for _, variants in panels), MAX_LINES)
    return save(drawn, folder, name, alt, caption)


def privacy(groups: Sequence[tuple[str, Sequence[Row]]], look: Look, folder: Path, name: str) -> Figures | None:
    """One defense on every task: worst-case MSE of each variant with its interval, undefended beside it."""
    import seaborn as sns

    panels = [(task, [row for row in rows if row.privacy]) for task, rows in groups]
    panels = [(task, rows) for task, rows in panels if any(not row.baseline for row in rows)][:6]
    if not panels:
        return None
    caption = "Privacy of each variant with its 95% interval, beside undefended."
    caption += _cut(max(len(rows) for _, rows in panels), MAX_BARS)
    panels = [(task, rows[:MAX_BARS]) for task, rows in panels]
    tallest = max(len(rows) for _, rows in panels)
    drawn = figure(3.5 * min(3, len(panels)) + 0.8, (1.1 + 0.36 * tallest) * math.ceil(len(panels) / 3))
    grid = drawn.subplots(math.ceil(len(panels) / 3), min(3, len(panels)), squeeze=False, sharex=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (task, rows) in zip(grid.flat, panels, strict=False):
        means = [max(row.privacy.mean.value, FLOOR) for row in rows if row.privacy]
        colours = [INK if row.baseline else look.colour for row in rows]
        for place, row in enumerate(rows):
            if row.privacy:
                ends = max(row.privacy.mean.low, FLOOR), max(row.privacy.mean.high, FLOOR)
                axes.hlines(place, *ends, color=colours[place], lw=2)
        sns.scatterplot(x=means, y=list(range(len(rows))), c=colours, s=60, linewidth=0, ax=axes, zorder=3)
        axes.set(xscale="log", title=words(task, 36), ylabel="", xlabel="worst-case MSE   (→ better)")
        axes.set_yticks(range(len(rows)), ["undefended" if row.baseline else words(_variant(row), 24) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        log_ticks(axes, "x")
    alt = (
        f"Worst-case reconstruction MSE of each variant on {len(panels)} tasks, with 95% intervals, beside undefended."
    )
    return save(drawn, folder, name, alt, caption)


def objectives(
    rows: Sequence[Row], records: Mapping[str, Record], looks: Looks, folder: Path, name: str
) -> Figures | None:
    """The attacker's own objective over its iterations at round 0, a panel an attack, median over victims and seeds."""
    import seaborn as sns

    attacks: dict[str, list[tuple[Row, list[list[float]]]]] = defaultdict(list)
    for row in rows:
        for label, curves in _objective_curves(row, records).items():
            attacks[label].append((row, curves))
    panels = sorted(attacks.items())[:6]
    if not panels:
        return None
    columns = min(3, len(panels))
    drawn = figure(3.1 * columns + 0.6, 2.7 * math.ceil(len(panels) / columns))
    grid = drawn.subplots(math.ceil(len(panels) / columns), columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (label, lines) in zip(grid.flat, panels, strict=False):
        seen: dict[str, int] = defaultdict(int)
        for row, curves in lines[:MAX_BARS]:
            samples = _median(curves)
            dash = _dash(seen[row.spec.name])
            seen[row.spec.name] += 1
            sns.lineplot(
                x=[step for step, _ in samples],
                y=[value for _, value in samples],
                estimator=None,
                errorbar=None,
                color=looks[row.spec.name].colour,
                dashes=False,
                linestyle=(0, dash) if dash else "-",
                linewidth=1.4,
                ax=axes,
            )
        axes.set(yscale="log", title=words(label, 30), xlabel="iteration", ylabel="attacker's objective")
        log_ticks(axes, "y")
    _legend(drawn, {row.spec.name: row for row in rows}, looks)
    alt = (
        f"Line charts of the attackers' objectives over iterations for {formats.sentence(words(a) for a, _ in panels)}."
    )
    caption = "How the attacks converged at round 0: the attacker's own objective, median over victims and seeds."
    caption += _cut(max(len(lines) for _, lines in panels), MAX_BARS)
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


def _label(drawn: "Figure", axes: "Axes", points: Sequence[tuple[float, float, Row]]) -> None:
    """Write each variant's parameters beside its point, where they meet neither a point nor another label."""
    drawn.draw_without_rendering()  # only now does the layout say where the points lie
    places = [axes.transData.transform((x, y)) * 72 / drawn.dpi for x, y, _ in points]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for (x, y, row), place in zip(points, places, strict=True):
        text = words("undefended" if row.baseline else _variant(row), 26)
        wide = 4.3 * len(text)
        spots = [(dx - (wide if dx < 0 else 0), dy - 3) for dy in (0, 10, -10, 20, -20, 30, -30) for dx in (9, -9)]
        boxes = [(place[0] + dx, place[1] + dy, place[0] + dx + wide, place[1] + dy + 8) for dx, dy in spots]
        free = [index for index, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        axes.annotate(text, (x, y), spots[best], textcoords="offset points", size=7.5, color=INK)


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legend(drawn: "Figure", families: Mapping[str, Row], looks: Looks) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=looks[name].colour, marker=looks[name].marker, ls="", ms=7, label=words(_family(row), 26))
        for name, row in sorted(families.items(), key=lambda item: (not item[1].baseline, item[0]))
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), handletextpad=0.2)


def _curve(
    axes: "Axes", row: Row, records: Mapping[str, Record], *, colour: str, dash: tuple[float, ...] = (), label: str
) -> None:
    import seaborn as sns

    curves = {}
    for cell_id in row.records:
        record = records[cell_id]
        if record.utility:
            curves[record.cell.seed] = record.utility.curve
    points = [(turn, 100 * value) for curve in curves.values() for turn, value in curve]
    style: dict[str, Any] = {"linestyle": (0, dash) if dash else "-"}
    if points:
        sns.lineplot(
            x=[turn for turn, _ in points],
            y=[value for _, value in points],
            errorbar="sd" if len(curves) > 1 else None,
            color=colour,
            label=words(label, 24),
            err_kws={"alpha": 0.16, "linewidth": 0},
            ax=axes,
            **style,
        )


def _objective_curves(row: Row, records: Mapping[str, Record]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = defaultdict(list)
    for cell_id in row.records:
        record = records[cell_id]
        for done in record.reconstructed:
            usable = [value for value in done.curve if 0 < value < LARGEST]
            if done.moment == "initial" and len(usable) > 1 and record.cell.attack:
                found[record.cell.attack.label].append(done.curve)
    return found


def _median(curves: Sequence[Sequence[float]]) -> list[tuple[int, float]]:
    """The median over seeds at up to 80 iterations; what a logarithmic axis cannot show is left out."""
    longest = max(len(curve) for curve in curves)
    found = []
    for step in range(0, longest, max(1, longest // CURVE_POINTS)):
        values = [curve[step] for curve in curves if step < len(curve) and 0 < curve[step] < LARGEST]
        if values:
            found.append((step, statistics.median(values)))
    return found


def _cut(there: int, shown: int) -> str:
    return f" The first {shown} of {there} are drawn." if there > shown else ""


def _dash(index: int) -> tuple[float, ...]:
    return ((), (5, 2), (2, 1.5), (6, 2, 1.5, 2))[index % 4]


def _family(row: Row) -> str:
    return "undefended" if row.baseline else row.defense.partition("[")[0]


def _variant(row: Row) -> str:
    """The parameters alone: the colour names the defense."""
    return row.defense.partition("[")[2].removesuffix("]") or row.defense
