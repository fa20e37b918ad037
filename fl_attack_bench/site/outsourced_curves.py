"""Curves of outsourced rows: the chance to reconstruct within an error, and the error by number of known samples."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_attack_bench.score.outsourced.chance import DELTAS, EXACT, WIDEST
from fl_attack_bench.score.outsourced.row import Exposure, InputAttack, OutsourcedRow, in_view_order
from fl_attack_bench.site.labels import cut, titles
from fl_attack_bench.site.outsourced import BREAKS, Sweep
from fl_attack_bench.site.style import (
    ABREAST,
    FLOOR,
    MUTED,
    Figures,
    Looks,
    below,
    figure,
    log_ticks,
    panels,
    save,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 6
MAX_LINES = 12
MAX_TICKS = 7
THIN, WIDE = 1.8, 6.5  # points
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 4)), (0, (1, 1)), (0, (9, 5)))
Dashes = Mapping[str, Any]


def chances(rows: Sequence[OutsourcedRow], looks: Looks, folder: Path, name: str) -> Figures | None:
    """The share of samples recovered within an error, over the error: a panel a view, a line a protocol."""
    there = [row for row in rows if row.privacy]
    shown = there[:MAX_LINES]
    if not shown:
        return None
    parties = in_view_order({one.party for row in shown for one in row.views if one.party is not None})
    places: list[str | None] = [None, *parties][:MAX_PANELS]
    if len(parties) == 1:
        places = [parties[0]]
    drawn = figure(*((6.6, 4.4) if len(places) == 1 else _size(len(places), 3.3, 2.7)))
    grid = panels(drawn, len(places), sharex=True, sharey=True)
    dashes, widths = _dashes(shown), _widths(shown)
    for axes, party in zip(grid, places, strict=True):
        _guess(axes, [one for row in shown for one in _of_view(row, party)])
        for row in shown:
            for one in _of_view(row, party):
                look = _line(row, looks, dashes, widths[row.spec.name])
                axes.plot(DELTAS, [100 * share for share in one.chances], **look, zorder=3)
        axes.set(xscale="log", xlim=(EXACT, WIDEST), ylim=(-4, 104))
        axes.set_title(f"view of {words(party, 24)}" if party else "over all views")
        axes.set_xticks([1 / 512, 0.01, 0.1, 0.5], ["1/512", "0.01", "0.1", "0.5"])
        axes.minorticks_off()
    below(grid, "root mean squared error δ")
    drawn.supylabel("samples recovered within δ, %   (↓ better)", size=10)
    _lines(drawn, shown, looks, dashes, widths=widths)
    alt = (
        f"Line charts of the share of samples that an attacker recovers within an error, for {len(shown)} protocols, "
        f"{'a panel for each view' if len(places) > 1 else 'one view'}. The tables hold the shares at 1/512 and at 0.1."
    )
    caption = (
        "Chance ε to reconstruct a sample with a root mean squared error below δ, features in [0, 1], by the attack "
    )
    caption += "that came closest; lower is better. At 1/512, half a step of 8 bits, a sample is recovered as it was. "
    caption += "Widest, in grey: a guess without any view. Lines of equal protocols lie over each other, the first in "
    caption += "the legend lowest and widest." + cut(len(there), MAX_LINES, "protocols")
    return save(drawn, folder, name, alt, caption)


def known(sweep: Sweep, looks: Looks, folder: Path, name: str) -> Figures:
    """The error of one attack by the number of samples that it knows, a line a protocol."""
    drawn = figure(5.6, 3.7)
    axes = drawn.add_subplot()
    shown = sweep.lines[:MAX_LINES]
    dashes = _dashes([row for row, _ in shown])
    for row, results in shown:
        x, y = [one.known for one in results], [max(one.mse.mean, FLOOR) for one in results]
        axes.plot(x, y, marker=looks[row.spec.name].marker, ms=6, **_line(row, looks, dashes))
        low, high = ([max(edge, FLOOR) for edge in ends] for ends in zip(*_ends(results), strict=True))
        axes.fill_between(x, low, high, color=looks[row.spec.name].colour, alpha=0.16, lw=0)
    results = sweep.closest[1]
    guesses = [max(one.blind, FLOOR) for one in results]
    axes.plot([one.known for one in results], guesses, color=MUTED, ls=(0, (4, 3)), lw=1.2, label="blind guess")
    axes.axhline(BREAKS, color=MUTED, lw=0.8, ls=(0, (1, 2)))
    ticks = sorted({one.known for _, own in shown for one in own})
    least = min(tick for tick in ticks if tick)
    axes.set_xscale("symlog", linthresh=least, linscale=0.5)  # 0 has a place of its own
    axes.set_xlim(ticks[0] - 0.15 * least, 1.2 * ticks[-1])
    axes.set(yscale="log", xlabel="known samples", ylabel="MSE, features in [0, 1]   (↑ better)")
    ticks = ticks[:: math.ceil(len(ticks) / MAX_TICKS)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    log_ticks(axes, "y")
    _lines(drawn, [row for row, _ in shown], looks, dashes, abreast=2)
    alt = f"Line chart of the mean squared error of {words(sweep.label, 60)} over the number of samples that it knows."
    caption = (
        "Mean over victims and seeds, the band is the range over seeds. Grey, dashed: a guess from the mean of public "
    )
    caption += f"and known samples. Grey, dotted: MSE {BREAKS:g}, where a sample counts as broken."
    return save(drawn, folder, name, alt, caption + cut(len(sweep.lines), MAX_LINES, "protocols"))


def _ends(results: Sequence[InputAttack]) -> list[tuple[float, float]]:
    return [(one.mse.low, one.mse.high) for one in results]


def _size(count: int, wide: float, high: float) -> tuple[float, float]:
    """Of a figure of so many panels, with room for its legend."""
    return wide * min(ABREAST, count) + 0.6, high * math.ceil(count / ABREAST) + 1.0


def _of_view(row: OutsourcedRow, party: str | None) -> list[Exposure]:
    found = row.privacy if party is None else next((one for one in row.views if one.party == party), None)
    return [found] if found else []


def _dashes(rows: Sequence[OutsourcedRow]) -> dict[str, Any]:
    """By defense: the colour names the method, dashes tell its variants apart."""
    seen: dict[str, int] = {}
    found = {}
    for row in rows:
        found[row.defense] = DASHES[seen.get(row.spec.name, 0) % len(DASHES)]
        seen[row.spec.name] = seen.get(row.spec.name, 0) + 1
    return found


def _widths(rows: Sequence[OutsourcedRow]) -> dict[str, float]:
    """By method, in points: the later, the thinner, so that of curves that lie over each other every colour shows."""
    names = list(dict.fromkeys(row.spec.name for row in rows))
    step = (WIDE - THIN) / max(len(names) - 1, 1)
    return {name: THIN + step * (len(names) - 1 - place) for place, name in enumerate(names)}


def _line(row: OutsourcedRow, looks: Looks, dashes: Dashes, width: float = THIN) -> dict[str, Any]:
    pattern = dashes[row.defense]
    if pattern != "-":  # matplotlib stretches dashes with the width
        pattern = (0, tuple(length * THIN / width for length in pattern[1]))
    return {"color": looks[row.spec.name].colour, "ls": pattern, "lw": width}


def _guess(axes: "Axes", held: Sequence[Exposure]) -> None:
    """The guess without any view; of several the one that does best."""
    if held:
        best = max(held, key=lambda one: sum(one.blind_chances))
        axes.plot(DELTAS, [100 * share for share in best.blind_chances], color=MUTED, lw=WIDE + 4, alpha=0.3, zorder=2)


def _lines(
    drawn: "Figure",
    rows: Sequence[OutsourcedRow],
    looks: Looks,
    dashes: Dashes,
    abreast: int = 3,
    widths: Mapping[str, float] | None = None,
) -> None:
    """Colours and dashes below the figure."""
    from matplotlib.lines import Line2D

    told = titles(rows, 32)
    lines = [_line(row, looks, dashes, (widths or {}).get(row.spec.name, THIN)) for row in rows]
    handles = [Line2D([], [], label=told[row.defense], **line) for row, line in zip(rows, lines, strict=True)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=min(abreast, len(handles)), handlelength=3)
