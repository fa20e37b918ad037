"""Charts of vertical rows: backdoor success beside main accuracy, and bytes by party."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.score.vertical.row import AttackResult, Backdoored, VerticalRow
from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.labels import beside_points, cut, legend, stacked, titles, told_apart
from fl_attack_bench.site.style import (
    ABREAST,
    MUTED,
    PALETTE,
    PAPER,
    Figures,
    Looks,
    below,
    figure,
    panels,
    save,
    words,
)
from fl_attack_bench.suite import MethodSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 6
MAX_LABELS = 16  # points of a panel that still have room for words
MAX_BARS = 24
MAX_PARTIES = 6


@dataclass(frozen=True)
class Point:
    """One defense under one backdoor attack: main accuracy and backdoor success in per cent."""

    accuracy: float
    success: float
    row: VerticalRow
    result: AttackResult[Backdoored]

    @classmethod
    def of(cls, row: VerticalRow, result: AttackResult[Backdoored]) -> "Point":
        """From a row of the board."""
        figures = result.figures
        return cls(100 * figures.accuracy.mean, 100 * figures.success.mean, row, result)


@dataclass(frozen=True)
class Panel:
    """Points of one attack, or of all variants of one, and which of them are joined by a line."""

    attack: MethodSpec
    sweeps_attack: bool
    points: tuple[Point, ...]

    @property
    def sweeps(self) -> list[list[Point]]:
        """The points of one defense in numeric order, by its parameters or by the attack's."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            name = point.row.defense if self.sweeps_attack else point.row.spec.name
            found.setdefault(name, []).append(point)
        return [sorted(sweep, key=self._order) for sweep in found.values()]

    def words(self, point: Point) -> str:
        """What differs along a sweep."""
        if self.sweeps_attack:
            return contents.parameters(point.result.spec)
        return told_apart([other.row for other in self.points])[point.row.defense]

    def _order(self, point: Point) -> list[tuple[int, float, str]]:
        return contents.in_order(point.result.attack if self.sweeps_attack else point.row.defense)


def tradeoff(rows: Sequence[VerticalRow], looks: Looks, folder: Path, name: str) -> Figures | None:
    """Backdoor success against main accuracy, one point a defense and attack; sweeps are joined (Figures 6 and 7)."""
    there = _panels(rows)
    shown = there[:MAX_PANELS]
    if not shown:
        return None
    wide = 6.6 if len(shown) == 1 else 4.0 * min(ABREAST, len(shown)) + 0.6
    high = 4.4 if len(shown) == 1 else 3.4 * math.ceil(len(shown) / ABREAST) + 0.6
    drawn = figure(wide, high)
    grid = panels(drawn, len(shown), sharex=True, sharey=True)
    for axes, panel in zip(grid, shown, strict=True):
        for sweep in panel.sweeps:
            _sweep(axes, sweep, looks)
        axes.set_title(words(panel.attack.family, 40) if panel.sweeps_attack else stacked(panel.attack, 40))
        axes.margins(x=0.14)
        axes.set_ylim(-5, 105)
    below(grid, "main task under attack, %   (→ better)")
    drawn.supylabel("backdoor success, %   (↓ better)", size=10)
    legend(drawn, {point.row.spec.name: point.row for panel in shown for point in panel.points}, looks)
    for axes, panel in zip(grid, shown, strict=True):
        if len(panel.points) <= MAX_LABELS:
            beside_points(drawn, axes, [(p.accuracy, p.success, panel.words(p)) for p in panel.points])
    defenses = len({point.row.defense for panel in shown for point in panel.points})
    alt = (
        f"Scatter plots of backdoor success against accuracy of the main task for {defenses} defenses under "
        f"{formats.sentence(words(panel.attack.label, 60) for panel in shown)}. The tables hold every figure."
    )
    caption = "Backdoor success against accuracy of the main task under the same attack, mean over seeds; down and to "
    caption += "the right is better. Variants of one method are joined in the order of their parameters. Filled: the "
    caption += "attack passes the gate." + cut(len(there), MAX_PANELS, "attacks")
    return save(drawn, folder, name, alt, caption)


def traffic(rows: Sequence[VerticalRow], folder: Path, name: str) -> Figures | None:
    """What each party sends in an epoch, stacked, one bar a defense."""
    paid = [row for row in rows if row.cost]
    shown = paid[:MAX_BARS]
    if not shown:
        return None
    senders = _senders(shown)
    most = max(sum(values[place] for _, values in senders) for place in range(len(shown)))
    factor, unit = _unit(most)
    drawn = figure(7.2, 1.5 + 0.34 * len(shown))
    axes = drawn.add_subplot()
    left = [0.0] * len(shown)
    for index, (party, values) in enumerate(senders):
        colour = MUTED if index == len(senders) - 1 else PALETTE[index % len(PALETTE)]
        heights = [value / factor for value in values]
        axes.barh(range(len(shown)), heights, left=left, height=0.62, color=colour, label=party, ec=PAPER, lw=0.6)
        left = [a + b for a, b in zip(left, heights, strict=True)]
    axes.set_yticks(range(len(shown)), [titles(shown, 34)[row.defense] for row in shown])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{unit} sent in an epoch   (← better)")
    drawn.legend(loc="outside lower center", ncols=min(4, len(senders)))
    alt = f"Stacked bar chart of the bytes that each party sends in an epoch for {len(shown)} defenses."
    caption = "What each party sends in one epoch; shorter is better. The passive parties send embeddings, the active "
    caption += "party returns gradients." + cut(len(paid), MAX_BARS, "defenses")
    return save(drawn, folder, name, alt, caption)


def _panels(rows: Sequence[VerticalRow]) -> list[Panel]:
    """One an attack; one a method where its parameters are what is swept, and not those of the defenses."""
    points = [Point.of(row, result) for row in rows for result in row.backdoors]
    variants: dict[str, set[str]] = {}
    for point in points:
        if not point.row.baseline:
            variants.setdefault(point.row.spec.name, set()).add(point.row.defense)
    swept = any(len(labels) > 1 for labels in variants.values())
    attacks: dict[str, set[str]] = {}
    for point in points:
        attacks.setdefault(point.result.spec.name, set()).add(point.result.attack)
    groups: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: contents.in_order(point.result.attack)):
        spec = point.result.spec
        groups.setdefault(point.result.attack if swept else spec.name, []).append(point)
    return [
        Panel(group[0].result.spec, not swept and len(attacks[group[0].result.spec.name]) > 1, tuple(group))
        for group in groups.values()
    ]


def _sweep(axes: "Axes", sweep: Sequence[Point], looks: Looks) -> None:
    look = looks[sweep[0].row.spec.name]
    x, y = [point.accuracy for point in sweep], [point.success for point in sweep]
    axes.plot(x, y, color=look.colour, lw=1.2, alpha=0.8, zorder=2)
    colours = [look.colour if point.result.passed else PAPER for point in sweep]
    axes.scatter(x, y, c=colours, edgecolors=look.colour, marker=look.marker, s=62, linewidths=1.6, zorder=3)


def _senders(rows: Sequence[VerticalRow]) -> list[tuple[str, list[float]]]:
    """By party, what it sends under each row's defense; the active one last, many passive ones as one."""
    costs = [row.cost for row in rows if row.cost]
    names = list(costs[0].passive)
    found = [(f"passive party {words(name, 20)}", [cost.passive[name].sent for cost in costs]) for name in names]
    if len(names) > MAX_PARTIES:
        found = [(f"{len(names)} passive parties", [sum(party.sent for party in c.passive.values()) for c in costs])]
    return [*found, ("active party", [cost.active.sent for cost in costs])]


def _unit(most: float) -> tuple[float, str]:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if most >= factor:
            return factor, unit
    return 1.0, "bytes"
