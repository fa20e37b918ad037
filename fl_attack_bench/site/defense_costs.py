"""What a defense costs on each task, as bars of multiples of the undefended federation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site import formats
from fl_attack_bench.site.labels import cut, fitted, named_variants
from fl_attack_bench.site.style import INK, LARGEST, Figures, Look, drawable, figure, log_ticks, save, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TASKS = 6
MAX_BARS = 12  # of a task
MAX_LINKS = 3
WIDE = 20.0  # from this ratio of the dearest to the cheapest the bars of a column are logarithmic


@dataclass(frozen=True)
class Bill:
    """The variants of a defense on one task: by column, the multiple of undefended of each; NaN where none is known."""

    label: str
    rows: tuple[BoardRow, ...]
    columns: Mapping[str, tuple[float, ...]]


def horizontal(label: str, rows: Sequence[Row], baseline: Row | None) -> Bill | None:
    """Bytes up and down, bytes to peers as multiples of the undefended upload, and a round's seconds by link."""
    upload = baseline.cost.bytes_up if baseline and baseline.cost else 0.0
    found: list[tuple[Row, dict[str, float | None]]] = []
    for row in rows:
        if row.cost and not row.baseline:
            peers = row.cost.bytes_peers / upload if upload and row.cost.bytes_peers else None
            bytes_ = {"bytes up": row.cost.up_times, "bytes down": row.cost.down_times, "bytes to peers": peers}
            found.append((row, bytes_ | _by_link("seconds", row.cost.seconds_times)))
    return _bill(label, found)


def vertical(label: str, rows: Sequence[VerticalRow]) -> Bill | None:
    """What passive parties send, what the active one sends, a prediction's bytes, and an epoch's seconds by link."""
    found: list[tuple[VerticalRow, dict[str, float | None]]] = []
    for row in rows:
        if row.cost and not row.baseline:
            bytes_ = {
                "bytes of embeddings": row.cost.up_times,
                "bytes of gradients": row.cost.down_times,
                "bytes of a prediction": row.cost.inference_times,
            }
            found.append((row, bytes_ | _by_link("seconds", row.cost.seconds_times)))
    return _bill(label, found)


def outsourced(label: str, rows: Sequence[OutsourcedRow]) -> Bill | None:
    """Bytes and seconds by link, of a training step and of an inference batch."""
    found: list[tuple[OutsourcedRow, dict[str, float | None]]] = []
    for row in rows:
        if row.cost and not row.baseline:
            told: dict[str, float | None] = {}
            for name, stage in (("training", row.cost.training), ("inference", row.cost.inference)):
                if stage:
                    told |= {f"{name}, bytes": stage.bytes_times} | _by_link(f"{name}, s", stage.seconds_times)
            found.append((row, told))
    return _bill(label, found)


def bars(bills: Sequence[Bill], look: Look, folder: Path, name: str) -> Figures | None:
    """A line of panels a task, a panel a column, a bar a variant; the columns are those that any task has."""
    shown = bills[:MAX_TASKS]
    if not shown:
        return None
    columns = list(dict.fromkeys(column for bill in shown for column in bill.columns))
    heights = [1.05 + 0.3 * min(len(bill.rows), MAX_BARS) for bill in shown]
    drawn = figure(2.0 + 1.65 * len(columns), sum(heights) + 0.5)
    grid = drawn.subplots(len(shown), len(columns), sharey="row", squeeze=False, height_ratios=heights)
    logarithmic = {column for column in columns if _spans(shown, column)}
    for line, bill in zip(grid, shown, strict=True):
        told = named_variants(bill.rows[:MAX_BARS])
        for axes, column in zip(line, columns, strict=True):
            values = bill.columns.get(column, (math.nan,) * len(bill.rows))[:MAX_BARS]
            _bars(axes, values, look.colour, column in logarithmic)
            axes.set_title(words(column, 22), size=9, weight="normal")
        line[0].set_yticks(range(len(told)), [fitted(told[row.defense], 30) for row in bill.rows[:MAX_BARS]])
        line[0].set_ylim(len(told) - 0.4, -0.6)
        _task(line[0], bill.label)
    drawn.supxlabel("multiple of undefended   (← better)", size=10)
    alt = f"Bar charts of {formats.sentence(words(column, 40) for column in columns)} as multiples of undefended, "
    alt += f"for each variant on {formats.sentence(words(bill.label, 60) for bill in shown)}."
    caption = "Cost as a multiple of undefended (dashed line); shorter is better."
    if logarithmic:
        caption += (
            " Where a column is logarithmic its bars begin at the line: to the right dearer, to the left cheaper."
        )
    if "bytes to peers" in columns:
        caption += " Undefended, clients send nothing to each other: bytes to peers are multiples of its upload."
    caption += cut(len(bills), MAX_TASKS, "tasks") + cut(max(len(bill.rows) for bill in shown), MAX_BARS, "variants")
    return save(drawn, folder, name, alt, caption)


def _task(axes: "Axes", label: str) -> None:
    """The task's name above its panels; a blank keeps the room, so that a long name makes no column wider."""
    axes.annotate("\u00a0", (0, 1), (0, 36), "axes fraction", "offset points", size=8)
    written = axes.annotate(words(label, 60), (0, 1), (0, 24), "axes fraction", "offset points", weight="bold", size=10)
    written.set_in_layout(False)


def _by_link(what: str, times: Mapping[str, float]) -> dict[str, float | None]:
    return {f"{what}, {link}": times[link] for link in sorted(times)[:MAX_LINKS]}


def _bill(label: str, found: Sequence[tuple[BoardRow, Mapping[str, float | None]]]) -> Bill | None:
    """Only columns of which any figure is known."""
    names = dict.fromkeys(name for _, told in found for name, value in told.items() if value is not None)
    if not names:
        return None
    columns = {name: tuple(_known(told.get(name)) for _, told in found) for name in names}
    return Bill(label, tuple(row for row, _ in found), columns)


def _known(value: float | None) -> float:
    if value is None or not drawable(value):
        return math.nan
    return value if value >= 1 / LARGEST else 0.0


def _spans(bills: Sequence[Bill], column: str) -> bool:
    values = [value for bill in bills for value in bill.columns.get(column, ()) if value > 0]
    return bool(values) and max([1.0, *values]) / min([1.0, *values]) > WIDE


def _bars(axes: "Axes", values: Sequence[float], colour: str, logarithmic: bool) -> None:
    """Bars from 0, or on a logarithmic axis from undefended; each with its figure at the right."""
    from matplotlib.ticker import LogLocator

    known = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    if logarithmic:
        low, high = min([1.0, *known]), max([1.0, *known])
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * (high / low) ** 0.5 * 2)
        log_ticks(axes, "x")
        axes.xaxis.set_major_locator(LogLocator(base=10, numticks=4))
        axes.tick_params(axis="x", which="minor", length=0)
    else:
        axes.set_xlim(0, max([1.0, *known]) * 1.7)
    start = 1.0 if logarithmic else 0.0
    for place, value in enumerate(values):
        if value in known:
            axes.barh(place, value - start, left=start, height=0.62, color=colour, linewidth=0)
        text = formats.times(value) if math.isfinite(value) else formats.NOTHING
        axes.text(1, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", size=8.5)
    axes.axvline(1, color=INK, lw=1, ls=(0, (4, 3)))
    axes.grid(visible=False, axis="y")
