"""Charts of trainings on vertical tasks: main task and backdoor by epoch, and what triggered samples are taken for."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.record import Record
from fl_attack_bench.score.vertical.row import AttackResult, Backdoored, VerticalRow
from fl_attack_bench.site.labels import cut, titles
from fl_attack_bench.site.style import ABREAST, MUTED, PALETTE, Figures, below, figure, mean_curve, panels, save, words
from fl_attack_bench.vertical_record import VerticalLearned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12
WORST = "under the worst backdoor attack, of those planted in the training where there is one"
MAX_CLASSES = 12
NARROW = 6.0  # inches: a figure that is no wider has no room for a legend of one line
MAIN, BACKDOOR = PALETTE[0], PALETTE[1]
HONEST: tuple[float, ...] = (3, 2)  # dashes


def learning(rows: Sequence[VerticalRow], records: Mapping[str, Record], folder: Path, name: str) -> Figures | None:
    """Main accuracy and backdoor success by epoch, honest and under the worst backdoor attack, a panel a defense."""
    from matplotlib.ticker import MaxNLocator

    shown = [(row, worst(row)) for row in rows if row.utility][:MAX_PANELS]
    if not shown:
        return None
    names = titles([row for row, _ in shown], 32)
    drawn = figure(3.1 * min(ABREAST, len(shown)) + 0.6, 2.5 * math.ceil(len(shown) / ABREAST) + 0.6)
    grid = panels(drawn, len(shown), sharex=True, sharey=True)
    for axes, (row, attack) in zip(grid, shown, strict=True):
        for learned, dashes in ((_honest(row, records), HONEST), (_attacked(row, records, attack), ())):
            _curves(axes, learned, dashes)
        axes.set(title=names[row.defense] + "\n", xlabel="", ylabel="", ylim=(-3, 103))
        if attack is not None:
            axes.text(0, 1.015, words(f"under {attack.attack}", 42), transform=axes.transAxes, size=7.5, color=MUTED)
    below(grid, "epoch")
    grid[0].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    drawn.supylabel("test samples, %", size=10)
    attacked = any(attack for _, attack in shown)
    backdoor = rows[0].task.backdoor is not None
    _legend(drawn, attacked=attacked, backdoor=backdoor)
    alt = (
        f"Line charts over epochs, a panel for each of {len(shown)} defenses: accuracy of the main task"
        f"{' and success of the trigger' if backdoor else ''}, in honest training"
        f"{' and under a backdoor attack' if attacked else ''}. The tables hold the figures after training."
    )
    return save(drawn, folder, name, alt, _told(shown) + cut(len(rows), MAX_PANELS, "defenses"))


def _told(shown: Sequence[tuple[VerticalRow, AttackResult[Backdoored] | None]]) -> str:
    """The caption of the curves."""
    task, attacks = shown[0][0].task, [attack for _, attack in shown if attack is not None]
    caption = "Accuracy of the main task (↑ better)"
    caption += " and success of the trigger (↓ better) over epochs" if task.backdoor else " over epochs"
    if len(shown[0][0].seeds) > 1:
        caption += ", mean over seeds; the band is one standard deviation over seeds"
    caption += ". Dashed: everybody is honest."
    caption += f" Solid: {WORST}." if attacks else ""
    ran_off = any(row.utility and row.utility.diverged for row, _ in shown) or any(a.figures.diverged for a in attacks)
    return caption + (" A training that diverged ends there; the mean is then over those that are left." * ran_off)


def scores(rows: Sequence[VerticalRow], folder: Path, name: str) -> Figures | None:
    """Mean predicted probability of each class over triggered samples, honest against attacked, a panel a defense."""
    there = [(row, worst(row)) for row in rows if row.utility and row.utility.scores]
    shown = [(row, attack) for row, attack in there if attack is not None and attack.figures.scores][:MAX_PANELS]
    backdoor = rows[0].task.backdoor
    if not shown or backdoor is None:
        return None
    names = titles([row for row, _ in shown], 32)
    drawn = figure(3.1 * min(ABREAST, len(shown)) + 0.6, 2.2 * math.ceil(len(shown) / ABREAST) + 0.6)
    grid = panels(drawn, len(shown), sharey=True)
    for axes, (row, attack) in zip(grid, shown, strict=True):
        honest = row.utility.scores if row.utility else ()
        _bars(axes, honest, attack.figures.scores, backdoor.target)
        axes.set(title=names[row.defense] + "\n", xlabel="", ylabel="", ylim=(0, 1))
    below(grid, "class")
    drawn.supylabel("mean predicted probability", size=10)
    _patches(drawn)
    alt = (
        f"Bar charts of the mean predicted probability of each class over triggered samples for {len(shown)} defenses, "
        f"honest training against training under the backdoor attack; the target is class {backdoor.target}."
    )
    caption = f"What the parties make of triggered samples of other classes than the target, class {backdoor.target} "
    caption += f"(bold): mean predicted probability, over samples and seeds. Attacked: {WORST}."
    if len(shown[0][1].figures.scores) > MAX_CLASSES:
        caption += f" The target and the likeliest others are drawn, {MAX_CLASSES} classes in all."
    return save(drawn, folder, name, alt, caption + cut(len(there), MAX_PANELS, "defenses"))


def worst(row: VerticalRow) -> AttackResult[Backdoored] | None:
    """The backdoor attack that is drawn: the worst that counts and shows in the training, else the worst of all."""
    return row.planted or row.backdoor or max(row.backdoors, key=lambda one: one.figures.success.mean, default=None)


def _honest(row: VerticalRow, records: Mapping[str, Record]) -> dict[int, VerticalLearned]:
    """By seed."""
    results = [(records[cell_id].cell.seed, records[cell_id].vertical) for cell_id in row.records]
    return {seed: result.honest for seed, result in results if result is not None and result.honest is not None}


def _attacked(
    row: VerticalRow, records: Mapping[str, Record], attack: AttackResult[Backdoored] | None
) -> dict[int, VerticalLearned]:
    found = {}
    for cell_id in row.records:
        record = records[cell_id]
        result = record.vertical if attack is not None and record.cell.attack == attack.spec else None
        if result is not None and result.attacked is not None:
            found[record.cell.seed] = result.attacked
    return found


def _curves(axes: "Axes", learned: Mapping[int, VerticalLearned], dashes: tuple[float, ...]) -> None:
    main = [one.curve for one in learned.values()]
    triggered = [one.triggered.curve for one in learned.values() if one.triggered is not None]
    for curves, colour in ((main, MAIN), (triggered, BACKDOOR)):
        _curve(axes, curves, colour, dashes)


def _curve(axes: "Axes", curves: Sequence[Sequence[tuple[int, float]]], colour: str, dashes: tuple[float, ...]) -> None:
    shares = [[(epoch, 100 * value) for epoch, value in curve] for curve in curves]
    if any(shares):
        mean_curve(axes, shares, colour, linestyle=(0, dashes) if dashes else "-", linewidth=1.5)


def _bars(axes: "Axes", honest: Sequence[float], attacked: Sequence[float], target: int) -> None:
    """Two bars a class, those of one class side by side; the target's label in bold."""
    classes = sorted(range(len(attacked)), key=lambda place: (place != target, -attacked[place]))[:MAX_CLASSES]
    classes.sort()
    places = range(len(classes))
    for shift, values, colour in ((-0.2, honest, MUTED), (0.2, attacked, BACKDOOR)):
        heights = [values[label] if label < len(values) else 0.0 for label in classes]
        axes.bar([place + shift for place in places], heights, width=0.38, color=colour, linewidth=0)
    ticks = axes.set_xticks(places, [str(label) for label in classes])
    ticks[classes.index(target)].label1.set_fontweight("bold")
    axes.grid(visible=False, axis="x")


def _legend(drawn: "Figure", *, attacked: bool, backdoor: bool) -> None:
    from matplotlib.lines import Line2D

    what = [("main task", MAIN), *([("trigger", BACKDOOR)] if backdoor else [])]
    how = [("honest", (0, HONEST)), *([("attacked", "-")] if attacked else [])]
    handles = [Line2D([], [], color=colour, ls=ls, lw=1.5, label=f"{a}, {b}") for a, colour in what for b, ls in how]
    abreast = len(handles) if drawn.get_figwidth() > NARROW else 2
    drawn.legend(handles=handles, loc="outside lower center", ncols=abreast, handlelength=3)


def _patches(drawn: "Figure") -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=MUTED, label="honest training"), Patch(color=BACKDOOR, label="under attack")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2)
