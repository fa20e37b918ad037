"""One consistent, colour-blind-safe look for every figure, in a light and a dark version of the same drawing."""

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that are drawn with and then replaced, so that a figure is drawn once and saved for both themes.
INK, MUTED, PAPER = "#010203", "#040506", "#070809"
THEMES = {
    "light": {INK: "#22262b", MUTED: "#6d7178", PAPER: "#ffffff"},
    "dark": {INK: "#e8e5de", MUTED: "#9a9da3", PAPER: "#1b1f24"},
}
# Okabe and Ito's hues, moved to a lightness that stands out from both papers.
PALETTE = ("#2a7fb8", "#d5622b", "#159a74", "#b765a2", "#b98a0c", "#5b6fd6", "#3aa5c4", "#8a6d4f")
MARKERS = ("o", "s", "D", "^", "v", "P", "h", "p")
ABREAST = 3  # panels in one line of a figure
FLOOR = 1e-6  # below it an MSE is drawn at it: no eye sees a difference
BELOW = " An MSE below 10⁻⁶ is drawn there."
LARGEST = 1e30  # what is larger ran off or is made up: it would flatten all others, and an axis may overflow


@dataclass(frozen=True)
class Look:
    """Colour and marker of a defense, the same in every figure."""

    colour: str
    marker: str


Looks = Mapping[str, Look]


@dataclass(frozen=True)
class Figures:
    """A saved figure: both files, relative to the site, and the words for those who do not see it."""

    light: str
    dark: str
    alt: str
    caption: str


def looks(families: Iterable[str], baseline: str) -> dict[str, Look]:
    """A look for each defense's name; the undefended federation is drawn in ink."""
    others = [name for name in sorted(set(families)) if name != baseline]
    found = {
        name: Look(PALETTE[index % len(PALETTE)], MARKERS[(index + index // len(PALETTE)) % len(MARKERS)])
        for index, name in enumerate(others)
    }
    return found | {baseline: Look(INK, "X")}


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which all figures are drawn; nothing of them outlives the block."""
    import matplotlib as mpl
    import seaborn as sns

    rc: Any = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("notebook", font_scale=0.9),
        "svg.hashsalt": "fl-attack-bench",
        "svg.fonttype": "none",
        "text.parse_math": False,  # a stranger's `$` is a dollar
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 10,
        "axes.grid": True,
        "grid.color": MUTED,
        "grid.alpha": 0.18,
        "grid.linewidth": 0.8,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.8,
    }
    with mpl.rc_context(rc):
        yield


def figure(width: float, height: float) -> "Figure":
    """An empty figure in inches, apart from pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(drawn: "Figure", count: int, *, sharex: bool = False, sharey: bool = False) -> "list[Axes]":
    """Axes for so many panels, three abreast; what remains of the last line stays empty."""
    lines, columns = math.ceil(count / ABREAST), min(ABREAST, count)
    grid = list(drawn.subplots(lines, columns, sharex=sharex, sharey=sharey, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return grid[:count]


def below(shown: "Sequence[Axes]", label: str) -> None:
    """Name the horizontal axis once a column, under its lowest panel."""
    for axes in shown[-ABREAST:]:
        axes.set_xlabel(label)
        # Of panels that share an axis, matplotlib hides the labels of all but the last line.
        axes.xaxis.label.set_visible(True)
        axes.tick_params(axis="x", labelbottom=True)


def mean_curve(axes: "Axes", curves: Sequence[Sequence[tuple[int, float]]], colour: str, **line: Any) -> None:
    """The mean over seeds of curves, and of several curves a band of one sample standard deviation.

    Seaborn's line plot is the same picture in many times the time, and a large board has thousands of them.
    """
    held: dict[int, list[float]] = defaultdict(list)
    for curve in curves:
        for place, value in curve:
            held[place].append(value)
    places = sorted(held)
    means = [statistics.fmean(held[place]) for place in places]
    axes.plot(places, means, color=colour, solid_capstyle="round", **line)
    if len(curves) > 1:
        spreads = [statistics.stdev(held[place]) if len(held[place]) > 1 else math.nan for place in places]
        low, high = ([mean + way * sd for mean, sd in zip(means, spreads, strict=True)] for way in (-1, 1))
        axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0)


def settle(drawn: "Figure") -> None:
    """Lay a figure out for good, so that places on it can be asked for; what is drawn afterwards moves nothing.

    The layout takes most of a figure's time, and matplotlib would do it anew at every draw.
    """
    if drawn.get_layout_engine() is not None:
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")


def save(drawn: "Figure", folder: Path, name: str, alt: str, caption: str) -> Figures:
    """Write a figure's two SVG files; the same figure gives the same bytes."""
    text = _svg(drawn, "none")
    (folder / "figures").mkdir(exist_ok=True)
    paths = {}
    for theme in THEMES:
        paths[theme] = f"figures/{name}-{theme}.svg"
        (folder / paths[theme]).write_text(_themed(text, theme), encoding="utf-8", errors="replace")
    return Figures(paths["light"], paths["dark"], alt, caption)


def on_paper(drawn: "Figure") -> str:
    """The SVG of a figure that stands by itself, dark on white; the same figure gives the same text."""
    return _themed(_svg(drawn, PAPER), "light")


def _svg(drawn: "Figure", paper: str) -> str:
    from io import StringIO

    stream = StringIO()
    settle(drawn)
    drawn.savefig(stream, format="svg", facecolor=paper, metadata={"Date": None, "Creator": "fl-attack-bench"})
    return re.sub(
        r"'?DejaVu Sans'?,[^;\"]*",
        "'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif",
        stream.getvalue(),
    )


def drawable(value: float) -> bool:
    """Whether an axis can hold a figure: it is finite and not larger than 1e30."""
    return abs(value) <= LARGEST


def _themed(text: str, theme: str) -> str:
    for stand_in, colour in THEMES[theme].items():
        text = text.replace(stand_in, colour)
    return text


def words(text: str, limit: int = 34) -> str:
    """A label that is legal in XML and fits a figure."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def log_ticks(axes: "Axes", which: str) -> None:
    """Powers of ten as plain text: mathematics in labels is switched off."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(base=10, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """``10⁻³`` for 0.001, and 0.1, 1, 10, 100 as they are."""
    if 0.09 < value < 5000:
        return f"{value:g}"
    return "10" + f"{value:.0e}".split("e")[1].lstrip("+").replace("-0", "-").lstrip("0").translate(
        str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    )
