"""The overview's figure of a track: what leaks against what it costs, one point a row, for a glance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site import formats
from fl_attack_bench.site.figures import scatter
from fl_attack_bench.site.labels import beside_points, legend, named
from fl_attack_bench.site.style import FLOOR, Figures, Looks, drawable, figure, log_ticks, save


@dataclass(frozen=True)
class _Axes:
    """What the two axes are, with which way is better, and what the caption says; ``percent``: y from 0 to 100."""

    x: str
    y: str
    logarithmic: tuple[Literal["x", "y"], ...]
    caption: str
    percent: bool = False


_VERTICAL = _Axes(
    "test accuracy of honest training, %   (→ better)",
    "backdoor success, %   (↓ better)",
    (),
    "Backdoor success, worst attack that counts, against accuracy; down and to the right is better. Filled: Pareto.",
    percent=True,
)
_OUTSOURCED = _Axes(
    "seconds of a predicted batch, slowest link   (← better)",
    "worst-case MSE, features in [0, 1]   (↑ better)",
    ("x", "y"),
    "Reconstruction error against seconds; up and to the left is better. Filled: Pareto.",
)


def vertical(rows: Sequence[VerticalRow], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Backdoor success against accuracy; None where no row has both."""
    points = [
        (100 * row.utility.accuracy, 100 * row.backdoor.figures.success.mean, row)
        for row in rows
        if row.utility and row.backdoor
    ]
    return _front(points, _VERTICAL, looks, folder, name)


def outsourced(rows: Sequence[OutsourcedRow], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Reconstruction error against seconds; None where no row has both."""
    points = [
        (max(row.cost.inference.seconds.values()), max(row.privacy.mean.value, FLOOR), row)
        for row in rows
        if row.privacy and row.cost and row.cost.inference.seconds
        if drawable(max(row.cost.inference.seconds.values())) and drawable(row.privacy.mean.value)
    ]
    return _front(points, _OUTSOURCED, looks, folder, name)


def _front(
    points: Sequence[tuple[float, float, BoardRow]], what: _Axes, looks: Looks, folder: Path, name: str
) -> Figures | None:
    if not points:
        return None
    drawn = figure(6.6, 4.4)
    axes = drawn.add_subplot()
    scatter(axes, points, looks)
    axes.set(xlabel=what.x, ylabel=what.y)
    for which in what.logarithmic:
        axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
        log_ticks(axes, which)
    axes.margins(x=0.14, y=0.14)
    if what.percent:
        axes.set_ylim(-8, 112)
        axes.set_yticks(range(0, 101, 20))
    legend(drawn, {row.spec.name: row for _, _, row in points}, looks)
    beside_points(drawn, axes, [(x, y, named(row)) for x, y, row in points])
    best = formats.sentence(formats.short(row.defense, 60) for _, _, row in points if row.pareto)
    alt = f"Scatter plot of {len(points)} defenses: {what.y} against {what.x}. On the Pareto front: {best or 'none'}."
    return save(drawn, folder, name, alt, what.caption)
