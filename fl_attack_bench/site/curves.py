"""The board's line charts: how training and attacks went, from the curves that the records hold."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.record import Learned, Record
from fl_attack_bench.score.row import Row
from fl_attack_bench.site import formats
from fl_attack_bench.site.labels import cut, legend, stacked, variant
from fl_attack_bench.site.style import (
    ABREAST,
    INK,
    LARGEST,
    Figures,
    Looks,
    figure,
    log_ticks,
    mean_curve,
    panels,
    save,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 12
MAX_LINES = 8
MAX_ATTACKS = 12
MAX_OBJECTIVES = 24
CURVE_POINTS = 80


def accuracy(
    rows: Sequence[Row], records: Mapping[str, Record], looks: Looks, folder: Path, name: str
) -> Figures | None:
    """Accuracy, or RMSE for numbers, over rounds, a panel a defense; the band is one standard deviation over seeds."""
    families: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.utility and not row.baseline:
            families[row.spec.name].append(row)
    base = next((row for row in rows if row.baseline and row.utility), None)
    numbers = any(row.utility and row.utility.rmse for row in rows)
    what, way = ("RMSE", "RMSE, target's unit  (↓ better)") if numbers else ("Accuracy", "test accuracy, %  (↑ better)")
    shown = sorted(families.items())[:MAX_PANELS] or ([("", [])] if base else [])
    if not shown:
        return None
    drawn = figure(3.1 * min(ABREAST, len(shown)) + 0.6, 2.6 * math.ceil(len(shown) / ABREAST) + 0.2)
    grid = panels(drawn, len(shown), sharex=True, sharey=True)
    for axes, (family, variants) in zip(grid, shown, strict=True):
        if base:
            _curve(axes, base, records, numbers, colour=INK, label="undefended")
        for index, row in enumerate(variants[:MAX_LINES]):
            _curve(axes, row, records, numbers, colour=looks[family].colour, dash=_dash(index), label=variant(row))
        axes.set(title=words(family, 30), xlabel="round", ylabel=way)
        axes.legend(loc="upper right" if numbers else "lower right", fontsize=7.5, handlelength=2.2)
    others = formats.sentence(words(f) for f, _ in shown)
    alt = f"Line charts of {what} on the test set over rounds, undefended against {others}."
    caption = f"{what} over rounds, mean over seeds; the band is one standard deviation over seeds."
    caption += cut(max(len(variants) for _, variants in shown), MAX_LINES)
    return save(drawn, folder, name, alt, caption)


def objectives(
    rows: Sequence[Row], records: Mapping[str, Record], looks: Looks, folder: Path, name: str
) -> Figures | None:
    """The attacker's own objective over its iterations at round 0, a panel an attack, median over victims and seeds."""
    attacks: dict[str, list[tuple[Row, list[list[float]]]]] = defaultdict(list)
    for row in rows:
        for label, curves in _objective_curves(row, records).items():
            attacks[label].append((row, curves))
    shown = sorted(attacks.items())[:MAX_ATTACKS]
    if not shown:
        return None
    drawn = figure(3.1 * min(ABREAST, len(shown)) + 0.6, 2.7 * math.ceil(len(shown) / ABREAST))
    specs = {r.cell.attack.label: r.cell.attack for r in records.values() if r.cell.attack}
    for axes, (label, lines) in zip(panels(drawn, len(shown)), shown, strict=True):
        _objective_lines(axes, lines[:MAX_OBJECTIVES], looks)
        axes.set(yscale="log", title=stacked(specs[label], 32), xlabel="iteration", ylabel="attacker's objective")
        log_ticks(axes, "y")
    legend(drawn, {row.spec.name: row for row in rows}, looks)
    alt = (
        f"Line charts of the attackers' objectives over iterations for {formats.sentence(words(a) for a, _ in shown)}."
    )
    caption = "How the attacks converged at round 0: the attacker's own objective, median over victims and seeds."
    caption += cut(max(len(lines) for _, lines in shown), MAX_OBJECTIVES) + cut(len(attacks), MAX_ATTACKS, "attacks")
    return save(drawn, folder, name, alt, caption)


def _curve(
    axes: "Axes",
    row: Row,
    records: Mapping[str, Record],
    numbers: bool,
    *,
    colour: str,
    dash: tuple[float, ...] = (),
    label: str,
) -> None:
    curves = {}
    for cell_id in row.records:
        record = records[cell_id]
        if record.utility:
            curves[record.cell.seed] = _over_rounds(record.utility, numbers=numbers)
    if any(curves.values()):
        mean_curve(axes, list(curves.values()), colour, linestyle=(0, dash) if dash else "-", label=words(label, 24))


def _over_rounds(learned: Learned, *, numbers: bool) -> list[tuple[int, float]]:
    if numbers:
        return [(turn, math.sqrt(loss)) for turn, loss in learned.losses if 0 <= loss < LARGEST]
    return [(turn, 100 * value) for turn, value in learned.curve]


def _objective_lines(axes: "Axes", lines: Sequence[tuple[Row, Sequence[Sequence[float]]]], looks: Looks) -> None:
    """One line a row; the variants of one defense share its colour and differ by their dashes."""
    seen: dict[str, int] = defaultdict(int)
    for row, curves in lines:
        samples = _median(curves)
        dash = _dash(seen[row.spec.name])
        seen[row.spec.name] += 1
        axes.plot(
            [step for step, _ in samples],
            [value for _, value in samples],
            color=looks[row.spec.name].colour,
            linestyle=(0, dash) if dash else "-",
            linewidth=1.4,
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


def _dash(index: int) -> tuple[float, ...]:
    return ((), (5, 2), (2, 1.5), (6, 2, 1.5, 2))[index % 4]
