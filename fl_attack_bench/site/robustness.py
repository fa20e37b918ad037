"""The figure of malicious clients: what was learned by how many of them there are."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.score.learned import Spread
from fl_attack_bench.score.row import Row
from fl_attack_bench.site import formats
from fl_attack_bench.site import integrity as grids
from fl_attack_bench.site.integrity import Grid
from fl_attack_bench.site.labels import cut, stacked
from fl_attack_bench.site.style import ABREAST, Figures, Look, Looks, figure, log_ticks, looks, panels, save, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12
MAX_LINES = 16
_WIDE = 8.0  # RMSEs that are further apart than this factor need a logarithmic axis
Point = tuple[int, Spread]


def learned(rows: Sequence[Row], known: Looks, folder: Path, name: str) -> Figures | None:
    """Accuracy or RMSE by number of clients that the attack controls, a panel an attack, a line a defense."""
    found = grids.grid(rows)
    curves = _curves(found) if found else {}
    if not found or not curves:
        return None
    shown = list(curves.items())[:MAX_PANELS]
    drawn_rows = list(dict.fromkeys(place for _, lines in shown for place in lines))[:MAX_LINES]
    look = _looks([rows[place] for place in drawn_rows], known)
    drawn = figure(3.3 * min(ABREAST, len(shown)) + 0.6, 2.9 * math.ceil(len(shown) / ABREAST) + 0.2)
    logarithmic = found.quantity == "rmse" and _far_apart(curves)
    for axes, (head, lines) in zip(panels(drawn, len(shown), sharey=True), shown, strict=True):
        for index, place in enumerate(drawn_rows):
            if place in lines:
                shift = 0.5 * (index / max(1, len(drawn_rows) - 1) - 0.5)
                _line(axes, lines[place], look[rows[place].defense], shift, found.quantity)
        axes.set(title=stacked(found.heads[head].family, 34), xlabel=f"malicious clients, of {found.devices}")
        axes.set_xticks(sorted({clients for line in lines.values() for clients, _ in line}))
        if logarithmic:
            axes.set_yscale("log")
            log_ticks(axes, "y")
    way = "test accuracy, %   (↑ better)" if found.quantity == "accuracy" else "RMSE, target's unit   (↓ better)"
    drawn.supylabel(way, size=10)
    _legend(drawn, [rows[place] for place in drawn_rows], look)
    what = "Test accuracy" if found.quantity == "accuracy" else "RMSE"
    alt = (
        f"Line charts of {what} by number of malicious clients for "
        f"{formats.sentence(words(found.heads[head].family.label, 60) for head, _ in shown)}, a line a defense. "
        "The table holds every figure."
    )
    caption = (
        f"{what} by number of malicious clients, mean over seeds; bars: range over seeds; 0: all clients honest. "
        "Points of one number stand side by side so that none hides another. "
        "A federation whose rounds all failed keeps its initial model; what has no finite figure is not drawn."
    )
    caption += cut(len(curves), MAX_PANELS, "attacks") + cut(len(rows), MAX_LINES, "defenses")
    return save(drawn, folder, name, alt, caption)


def _curves(found: Grid) -> dict[int, dict[int, list[Point]]]:
    """By the head's and the row's place, finite points by rising number of clients; the first is the honest one."""
    curves: dict[int, dict[int, list[Point]]] = {}
    for place, (row, cells) in enumerate(found.lines):
        left = list(cells)
        for number, head in enumerate(found.heads):
            own, left = left[: len(head.clients)], left[len(head.clients) :]
            points = [
                (clients, cell.score.learned)
                for clients, cell in zip(head.clients, own, strict=True)
                if clients is not None and cell.score and cell.score.learned and math.isfinite(cell.score.learned.high)
            ]
            honest = row.integrity.honest if row.integrity else None
            if points and honest and math.isfinite(honest.high):
                points.insert(0, (0, honest))
            if points:
                curves.setdefault(number, {})[place] = points
    return dict(sorted(curves.items()))


def _far_apart(curves: dict[int, dict[int, list[Point]]]) -> bool:
    values = [point.mean for lines in curves.values() for line in lines.values() for _, point in line]
    return min(values) > 0 and max(values) / min(values) > _WIDE


def _looks(rows: Sequence[Row], known: Looks) -> dict[str, Look]:
    """The looks of the other figures where each defense has one variant here, else one a variant."""
    if len({row.spec.name for row in rows}) == len(rows):
        return {row.defense: known[row.spec.name] for row in rows}
    baseline = next((row.defense for row in rows if row.baseline), "")
    return looks((row.defense for row in rows), baseline)


def _line(axes: "Axes", points: Sequence[Point], look: Look, shift: float, quantity: str) -> None:
    scale = 100.0 if quantity == "accuracy" else 1.0
    x = [clients + shift for clients, _ in points]
    means = [scale * point.mean for _, point in points]
    axes.plot(x, means, color=look.colour, marker=look.marker, ms=5.5, lw=1.1, alpha=0.95, mew=0)
    axes.vlines(x, [scale * p.low for _, p in points], [scale * p.high for _, p in points], color=look.colour, lw=1.1)


def _legend(drawn: "Figure", rows: Sequence[Row], look: dict[str, Look]) -> None:
    """A line a row: the variants are what is compared here."""
    from matplotlib.lines import Line2D

    labels = ["undefended" if row.baseline else words(row.defense, 62) for row in rows]
    handles = [
        Line2D([], [], color=look[row.defense].colour, marker=look[row.defense].marker, ms=6, lw=1.1, label=label)
        for row, label in zip(rows, labels, strict=True)
    ]
    longest = max(len(label) for label in labels)
    abreast = 4 if longest <= 22 else 3 if longest <= 34 else 2
    drawn.legend(handles=handles, loc="outside lower center", ncols=min(abreast, len(handles)))
