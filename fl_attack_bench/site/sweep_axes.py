"""Points and axes that the figures of a defense's page share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.site.style import PAPER, Look, log_ticks
from fl_attack_bench.site.sweep_measures import Measure
from fl_attack_bench.site.sweeps import DECADE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LABELS = 16  # points of a panel that still have room for words
LEAST, LEAST_PROTECTED = 2.0, 20.0  # range of an axis of shares, in points: less is noise
OVER = 0.06  # of its length: how far such an axis reaches beyond 0 or 100
TINY = 1e-3  # figures below it have no room for their zeros
HOLLOW = " Hollow: a training diverged."
BARS = " Bars: 95% interval of an MSE over images and seeds, ± standard deviation of accuracy, else range over seeds."


def point(axes: "Axes", x: Estimate, y: Estimate, look: Look, *, hollow: bool = False) -> None:
    """A mark with the intervals of both figures."""
    axes.hlines(y.value, x.low, x.high, color=look.colour, lw=1.1, alpha=0.7)
    axes.vlines(x.value, y.low, y.high, color=look.colour, lw=1.1, alpha=0.7)
    face, edge = (PAPER, 1.5) if hollow else (look.colour, 0)
    axes.scatter(
        [x.value], [y.value], c=[face], edgecolors=look.colour, marker=look.marker, s=46, linewidths=edge, zorder=3
    )


def diverged(row: BoardRow) -> bool:
    """Whether an honest training ran off on some seed."""
    return bool(getattr(getattr(row, "utility", None), "diverged", 0))


def scale(axes: "Axes", which: str, found: Sequence[Estimate], measure: Measure) -> None:
    """Logarithmic where positive figures span more than a decade or are all tiny; else with no range of mere noise."""
    values = [one.value for one in found]
    if not values:
        return
    low, high = min(one.low for one in found), max(one.high for one in found)
    if not measure.share and min(values) > 0 and (max(values) / min(values) > DECADE or max(values) < TINY):
        if max(values) / min(values) <= DECADE:
            axes.set(**{f"{which}lim": (min(values) / 4, max(values) * 4)})
        else:
            axes.margins(x=0.14 if which == "x" else None, y=0.14 if which == "y" else None)
        axes.set(**{f"{which}scale": "log"})
        log_ticks(axes, which)
        return
    least = (LEAST_PROTECTED if measure.protects else LEAST) if measure.share else 0.1 * abs(high)
    half = max(0.66 * (high - low), 0.7 * least) or 1.0
    ends = (low + high) / 2 - half, (low + high) / 2 + half
    if measure.share and low >= 0 and high <= 100:
        over = OVER * (min(ends[1], 100) - max(ends[0], 0))
        ends = max(ends[0], -over), min(ends[1], 100 + over)
    axes.set(**{f"{which}lim": ends})
