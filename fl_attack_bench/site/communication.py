"""The figure of communication by number of clients (Sotthiwat et al. 2021, figure 4, with logarithmic axes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fl_attack_bench.site import formats
from fl_attack_bench.site.style import MUTED, PAPER, Look, Looks, drawing, figure, looks, on_paper, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 4)), (0, (1, 1.5)))


@dataclass(frozen=True)
class Curve:
    """A defense's bytes per client and round, by number of clients.

    Args:
        label: the defense.
        modelled: ``(clients, bytes)`` by the cost model, in the order of clients.
        measured: ``(clients, bytes)`` as the wire metered them.
    """

    label: str
    modelled: Sequence[tuple[int, float]]
    measured: Sequence[tuple[int, float]]


def communication(curves: Sequence[Curve], title: str, baseline: str) -> str:
    """The SVG: lines by the cost model, markers where it was measured; the same curves give the same text.

    Args:
        curves: one for each defense.
        title: above the figure.
        baseline: the label that is drawn in ink.
    """
    with drawing():
        drawn = figure(7.2, 4.6)
        axes = drawn.add_subplot()
        look = looks((curve.label for curve in curves), baseline)
        for place, curve in enumerate(curves):
            _draw(axes, curve, look[curve.label], _DASHES[place % len(_DASHES)])
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="clients in a round",
            ylabel="bytes per client and round   (↓ better)",
        )
        axes.set_title(words(title, 90))
        _ticks(axes)
        _legend(drawn, axes, curves, look)
        return on_paper(drawn)


def _draw(axes: "Axes", curve: Curve, look: Look, dashes: Any) -> None:
    import seaborn as sns

    if curve.modelled:
        clients, modelled = zip(*curve.modelled, strict=True)
        sns.lineplot(x=clients, y=modelled, color=look.colour, linestyle=dashes, ax=axes, zorder=2)
    if curve.measured:
        clients, measured = zip(*curve.measured, strict=True)
        # Hollow: defenses that cost almost the same lie over each other.
        marks = {"marker": look.marker, "color": PAPER, "edgecolor": look.colour, "s": 42, "linewidth": 1.6}
        sns.scatterplot(x=clients, y=measured, ax=axes, zorder=3, **marks)


def _ticks(axes: "Axes") -> None:
    """Powers of ten, written out; curves that lie close to each other get room above and below."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.6, max(high, 20 * low) * 1.3)
    for axis, shown in ((axes.xaxis, "{:,.0f}".format), (axes.yaxis, formats.size)):
        axis.set_major_locator(LogLocator(base=10, numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _, shown=shown: shown(value)))
        axis.set_minor_locator(NullLocator())


def _legend(drawn: "Figure", axes: "Axes", curves: Sequence[Curve], look: Looks) -> None:
    """The defenses below the figure, as they were asked for; what lines and markers are inside it."""
    from matplotlib.lines import Line2D

    handles = []
    for place, curve in enumerate(curves):
        own, dashes = look[curve.label], _DASHES[place % len(_DASHES)]
        marker = own.marker if curve.measured else ""
        label = words(curve.label, 44)
        handles.append(Line2D([], [], color=own.colour, ls=dashes, marker=marker, ms=6, mfc=PAPER, label=label))
    drawn.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=3.2)
    kinds = []
    if any(curve.modelled for curve in curves):
        kinds.append(Line2D([], [], color=MUTED, label="cost model"))
    if any(curve.measured for curve in curves):
        mark = Line2D([], [], color=MUTED, marker="o", ls="", ms=6, mfc=PAPER, mew=1.6, label="measured on the wire")
        kinds.append(mark)
    axes.legend(handles=kinds, loc="upper left", handlelength=2.2)
