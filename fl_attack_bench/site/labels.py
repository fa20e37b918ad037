"""What is written in figures: what rows are called, the legend, and labels that do not meet."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.site import contents
from fl_attack_bench.site.style import INK, MUTED, Looks, settle, words
from fl_attack_bench.suite import MethodSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RISES = (0, 10, -10, 20, -20, 30, -30, 40, -40, 50, -50)  # points by which words stand above their point
FAR = 20  # from here on a thin line leads to it
MARGIN = 4  # points that words may reach above their panel


def variant(row: BoardRow) -> str:
    """The parameters alone: the colour names the defense."""
    return contents.variant(row) or row.defense


def stacked(spec: MethodSpec, limit: int) -> str:
    """A method on two lines where one would be too long: a chain link by link, another above its parameters."""
    if len(spec.label) <= limit:
        return words(spec.label, limit)
    if spec.links:
        return "\n+ ".join(words(link.label, limit) for link in spec.links)
    inside = contents.parameters(spec)
    return words(spec.family, limit) + (f"\n{words(inside, limit)}" if inside else "")


def named(row: BoardRow) -> str:
    """What stands beside a point: its parameters, or that it is the undefended one."""
    return "undefended" if row.baseline else variant(row)


def told_apart(rows: Sequence[BoardRow]) -> dict[str, str]:
    """By defense, what stands beside its points: only the parameters in which variants of its family differ."""
    families: dict[str, dict[str, BoardRow]] = {}
    for row in rows:
        families.setdefault(row.spec.name, {})[row.defense] = row
    found: dict[str, str] = {}
    for variants in families.values():
        held = {defense: _parameters(row) for defense, row in variants.items()}
        shared = set.intersection(*(set(own.items()) for own in held.values())) if len(held) > 1 else set()
        for defense, own in held.items():
            told = ",".join(f"{name}={value}" for (_, name), value in own.items() if ((_, name), value) not in shared)
            found[defense] = told or named(variants[defense])
    return found


def named_variants(rows: Sequence[BoardRow]) -> dict[str, str]:
    """By defense, what tells the variants of a page's only defense apart: it needs no name."""
    told = told_apart(rows)
    return {
        row.defense: "undefended" if row.baseline else "defaults" if not contents.variant(row) else told[row.defense]
        for row in rows
    }


def titles(rows: Sequence[BoardRow], limit: int) -> dict[str, str]:
    """By defense, its family's name above the parameters that tell it from its family's other variants."""
    told = told_apart(rows)
    found = {row.defense: words(row.spec.family, limit) for row in rows}
    for row in rows:
        if row.baseline:
            found[row.defense] = "undefended"
        elif told[row.defense] != row.defense:
            found[row.defense] += f"\n{fitted(told[row.defense], limit)}"
    return found


def _parameters(row: BoardRow) -> dict[tuple[int, str], str]:
    """By link and name, as text."""
    parts = enumerate(row.spec.parts)
    return {(place, name): str(value) for place, part in parts for name, value in sorted(part.parameters.items())}


def cut(there: int, shown: int, what: str = "") -> str:
    """A sentence for the caption where not all is drawn."""
    return f" The first {shown} of {there}{what and ' '}{what} are drawn." if there > shown else ""


def legend(drawn: "Figure", families: Mapping[str, BoardRow], looks: Looks) -> None:
    """Colours and markers below the figure, a defense each, the undefended first."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=looks[name].colour, marker=looks[name].marker, ls="", ms=7, label=words(_family(row), 34))
        for name, row in sorted(families.items(), key=lambda item: (not item[1].baseline, item[0]))
    ]
    abreast = 4 if all(len(_family(row)) <= 22 for row in families.values()) else 3
    drawn.legend(handles=handles, loc="outside lower center", ncols=min(abreast, len(handles)), handletextpad=0.2)


def fitted(told: str, limit: int) -> str:
    """Parameters in so many letters: their values alone where their names leave no room for them."""
    if len(told) > limit:
        told = ", ".join(part.partition("=")[2] or part for part in told.split(","))
    return words(told, limit)


def beside_points(
    drawn: "Figure",
    axes: "Axes",
    points: Sequence[tuple[float, float, str]],
    colours: Sequence[str] = (),
    joined: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Write a few words beside each point, where they meet neither a point nor another label.

    ``colours``: a point each, to tell words in a crowd apart; none writes all in ink. ``joined``: lines through points,
    which words keep off, too.
    """
    settle(drawn)  # only now is it known where the points lie
    places = [axes.transData.transform((x, y)) * 72 / drawn.dpi for x, y, _ in points]
    frame = [edge * 72 / drawn.dpi for edge in axes.get_window_extent().extents]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for path in joined:
        placed = [axes.transData.transform(point) * 72 / drawn.dpi for point in path]
        taken += _along([(float(x), float(y)) for x, y in placed])
    for (x, y, told), place, colour in zip(points, places, colours or [INK] * len(points), strict=True):
        text = fitted(told, 26)
        wide = 4.3 * len(text)
        spots = [(dx - (wide if dx < 0 else 0), dy - 3) for dy in RISES for dx in (9, -9)]
        boxes = [(place[0] + dx, place[1] + dy, place[0] + dx + wide, place[1] + dy + 8) for dx, dy in spots]
        costs = [(sum(_meet(box, other) for other in taken), _beyond(box, frame)) for box in boxes]
        best = min(range(len(boxes)), key=lambda index: (*costs[index], index))
        taken.append(boxes[best])
        line = {"arrowstyle": "-", "color": MUTED, "lw": 0.5, "shrinkB": 5} if abs(spots[best][1] + 3) >= FAR else None
        written = axes.annotate(
            text, (x, y), spots[best], textcoords="offset points", size=7.5, color=colour, arrowprops=line
        )
        written.set_in_layout(False)  # else the panels shrink, and what was kept apart meets


def _along(line: Sequence[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """Small boxes in a row that cover a line."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        steps = max(1, round(math.hypot(x1 - x0, y1 - y0) / 6))
        for step in range(steps):
            x, y = x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
            boxes.append((x - 1, y - 1, x + 1, y + 1))
    return boxes


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _beyond(box: tuple[float, ...], frame: Sequence[float]) -> float:
    """How far a box reaches beyond a frame."""
    over = [frame[0] - box[0], frame[1] - box[1], box[2] - frame[2], box[3] - frame[3] - MARGIN]
    return sum(max(0.0, round(edge)) for edge in over)


def _family(row: BoardRow) -> str:
    return "undefended" if row.baseline else row.spec.family
