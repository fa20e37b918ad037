"""Drawings of a defense's variants that are no sweep: one point each."""

import math
from collections.abc import Sequence
from pathlib import Path

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.site import formats
from fl_attack_bench.site.labels import beside_points, cut, named_variants
from fl_attack_bench.site.style import ABREAST, INK, Figures, Look, figure, panels, save, words
from fl_attack_bench.site.sweep_axes import BARS, HOLLOW, MAX_LABELS, diverged, point, scale
from fl_attack_bench.site.sweep_measures import Measure

MAX_PANELS = 6


def variants(
    groups: Sequence[tuple[str, Sequence[BoardRow], tuple[Measure, ...]]], look: Look, folder: Path, name: str
) -> Figures | None:
    """What is protected against what it takes, a panel a task, one point a variant; nothing is joined."""
    chosen = [(label, rows, pair) for label, rows, told in groups if (pair := paired(rows, told)) is not None]
    shown = chosen[:MAX_PANELS]
    if not shown:
        return None
    wide = 5.2 if len(shown) == 1 else 3.75 * min(ABREAST, len(shown)) + 0.3
    paper = figure(wide, 3.4 * math.ceil(len(shown) / ABREAST) + 0.3)
    places = list(zip(panels(paper, len(shown)), shown, strict=True))
    for axes, (label, rows, pair) in places:
        points = _points(rows, pair)
        for x, y, row in points:
            point(axes, x, y, Look(INK, "X") if row.baseline else look, hollow=diverged(row))
        axes.set(xlabel=pair[1].lying(), ylabel=pair[0].upright())
        axes.set_title(words(label, 40))
        scale(axes, "x", [x for x, _, _ in points], pair[1])
        scale(axes, "y", [y for _, y, _ in points], pair[0])
    for axes, (_, rows, pair) in places:
        points = _points(rows, pair)
        if len(points) <= MAX_LABELS:
            told = named_variants([row for *_, row in points])
            beside_points(paper, axes, [(x.value, y.value, words(told[row.defense], 40)) for x, y, row in points])
    count = len({row.defense for _, rows, _ in shown for row in rows if not row.baseline})
    alt = f"Scatter plots of {formats.sentence(dict.fromkeys(_against(pair) for *_, pair in shown))}: "
    alt += f"{count} variant{'' if count == 1 else 's'} on {formats.sentence(words(label, 60) for label, *_ in shown)}."
    drawn = [one for _, rows, pair in shown for one in _points(rows, pair)]
    caption = f"One point a variant{', beside undefended (cross)' if any(row.baseline for *_, row in drawn) else ''}."
    caption += BARS if any(one.high > one.low for x, y, _ in drawn for one in (x, y)) else ""
    caption += HOLLOW if any(diverged(row) for *_, row in drawn) else ""
    caption += cut(len(chosen), MAX_PANELS, "tasks")
    return save(paper, folder, name, alt, caption)


def paired(rows: Sequence[BoardRow], measures: Sequence[Measure]) -> tuple[Measure, Measure] | None:
    """The first measure of protection and the first other one of which a defended row holds both; None without any."""
    own = [row for row in rows if not row.baseline]
    for one in measures:
        for other in measures:
            if one.protects and not other.protects and any(one.read(row) and other.read(row) for row in own):
                return one, other
    return None


def _points(rows: Sequence[BoardRow], pair: tuple[Measure, Measure]) -> list[tuple[Estimate, Estimate, BoardRow]]:
    found = [(pair[1].read(row), pair[0].read(row), row) for row in rows]
    return [(x, y, row) for x, y, row in found if x is not None and y is not None]


def _against(pair: tuple[Measure, Measure]) -> str:
    return f"{pair[0].title} against {pair[1].title}"
