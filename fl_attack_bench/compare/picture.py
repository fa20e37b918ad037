"""The same victims under every defense, one line below the other, with the figures as a table."""

import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_attack_bench.compare.defenses import Comparison
from fl_attack_bench.compare.figures import Side
from fl_attack_bench.compare.written import apart, named, shown
from fl_attack_bench.record import Record
from fl_attack_bench.site.formats import foldable, short
from fl_attack_bench.site.pictures import FILE, read

Image = NDArray[np.uint8]
# The moment where each has samples of its own, else nothing; the sample's id, and how often the id stood before.
Victim = tuple[str, int, int]
MOST = 10
_INCH = 0.9  # of a picture
_LINE = 0.2  # of a line of the table
_LABEL = 2.4
_COLUMN = 2.6
_FOLD = 26  # characters of a label on one line


def png(found: Sequence[Comparison], pictures: Mapping[str, Path]) -> tuple[bytes, list[str]]:
    """All comparisons below each other as PNG, and a warning for each file of pictures that could not be used.

    Args:
        found: at least one.
        pictures: by cell id, the folder that holds the cell's ``reconstructions.npz``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    warnings: list[str] = []
    lines = [gathered(comparison, pictures, warnings) for comparison in found]
    heights = [_height(comparison, own) for comparison, own in zip(found, lines, strict=True)]
    width = _LABEL + max(MOST * _INCH, _COLUMN * max(len(one.sides) for one in found))
    figure = Figure(figsize=(width, sum(heights)))
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(found), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, comparison, own in zip(parts, found, lines, strict=True):
        _draw(part, comparison, own, width)
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue(), warnings


def gathered(
    comparison: Comparison, pictures: Mapping[str, Path], warnings: list[str]
) -> list[tuple[str, list[Image | None]]]:
    """The originals first, then a line a defense: of each victim the reconstruction with the lowest MSE.

    All are of the lowest seed of which every defense that has pictures has some. Attacks that do not count on the task
    are left out where one counts. None where a defense has no picture of a victim.
    """
    cache: dict[str, Mapping[str, Image]] = {}
    sides = [(side, _seeds(side, pictures, cache, warnings)) for side in comparison.sides]
    common = [set(seeds) for _, seeds in sides if seeds]
    shared = set.intersection(*common) if common else set()
    if not shared:
        return []
    seed = min(shared)
    originals: dict[Victim, Image] = {}
    lines: list[tuple[str, dict[Victim, Image]]] = []
    for side, seeds in sides:
        best: dict[Victim, tuple[float, Image]] = {}
        for record in seeds.get(seed, []):
            for victim, mse, original, made in _made(record, cache[record.cell_id]):
                originals.setdefault(victim, original)
                if victim not in best or mse < best[victim][0]:
                    best[victim] = mse, made
        lines.append((side.row.defense, {victim: made for victim, (_, made) in best.items()}))
    order = sorted(originals)[:MOST]
    told: list[tuple[str, list[Image | None]]] = [(f"original, seed {seed}", [originals[victim] for victim in order])]
    return told + [(name, [made.get(victim) for victim in order]) for name, made in lines]


def _seeds(
    side: Side, pictures: Mapping[str, Path], cache: dict[str, Mapping[str, Image]], warnings: list[str]
) -> dict[int, list[Record]]:
    """By seed, the records whose pictures could be read."""
    counting = {one.attack for one in getattr(side.row, "attacks", ()) if getattr(one, "passed", False)}
    found: dict[int, list[Record]] = {}
    for record in side.records:
        folder = pictures.get(record.cell_id)
        attack = record.cell.attack.label if record.cell.attack else ""
        if folder is None or not (folder / FILE).is_file() or (counting and attack not in counting):
            continue
        try:
            cache[record.cell_id] = read(folder / FILE)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            warnings.append(f"pictures of {record.cell_id}: {error}; left out")
            continue
        found.setdefault(record.cell.seed, []).append(record)
    return found


def _made(record: Record, arrays: Mapping[str, Image]) -> list[tuple[Victim, float, Image, Image]]:
    """Victim, MSE, original and reconstruction, at every moment of one record."""
    vertical, outsourced = record.vertical, record.outsourced
    moments: list[tuple[str, str, Sequence[Any]]] = [("", done.moment, done.victims) for done in record.reconstructed]
    if vertical is not None and vertical.features is not None:
        moments.append(("", "trained", vertical.features.victims))
    if outsourced is not None and outsourced.inputs is not None:
        moments.append((outsourced.inputs.moment, outsourced.inputs.moment, outsourced.inputs.victims))
    found: list[tuple[Victim, float, Image, Image]] = []
    for own, moment, victims in moments:
        originals, made = arrays.get("originals"), arrays.get(moment)
        seen: dict[int, int] = {}
        for place, one in enumerate(victims):
            victim = own, one.victim, seen.get(one.victim, 0)
            seen[one.victim] = victim[2] + 1
            if originals is not None and made is not None and place < min(len(originals), len(made)):
                found.append((victim, one.mse, originals[place], made[place]))
    return found


def _height(comparison: Comparison, lines: Sequence[Any]) -> float:
    return 0.6 + _INCH * len(lines) + _LINE * (2 + 2 * len(comparison.lines))


def _draw(part: Any, comparison: Comparison, lines: Sequence[tuple[str, list[Image | None]]], width: float) -> None:
    part.suptitle(comparison.heading.replace("$", r"\$"), fontsize=10, x=0.01, ha="left")
    pictures = _INCH * len(lines)
    figures = _LINE * (2 + 2 * len(comparison.lines))
    upper, lower = part.subfigures(2, 1, height_ratios=(pictures + 0.5, figures)) if lines else (None, part)
    if upper is not None:
        axes = upper.subplots(len(lines), MOST, squeeze=False)
        for own, (name, images) in zip(axes, lines, strict=True):
            for place, axis in enumerate(own):
                axis.set_axis_off()
                image = images[place] if place < len(images) else None
                if image is not None:
                    shape = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
                    axis.imshow(shape, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            own[0].text(-0.15, 0.5, _wrapped(name), ha="right", va="center", fontsize=7, transform=own[0].transAxes)
        right = (_LABEL + MOST * _INCH) / width - 0.005
        upper.subplots_adjust(left=_LABEL / width, right=right, top=0.88, bottom=0.02, wspace=0.05, hspace=0.08)
    axis = lower.add_axes((0.05, 0.02, 0.93, 0.96))
    axis.set_axis_off()
    cells = []
    for measure, line in comparison.lines.items():
        cells.append([named(measure), *(shown(measure, one.figure) for one in line)])
        cells.append(["", "", *(apart(measure, one) for one in line[1:])])
    head = ["", *(_wrapped(side.row.defense) for side in comparison.sides)]
    table = axis.table(cells, colLabels=head, loc="upper left", cellLoc="left", colLoc="left", edges="open")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    for column in range(len(head)):
        table[0, column].set_height(2 * table[0, column].get_height())
    table.auto_set_column_width(list(range(len(head))))


def _wrapped(name: str) -> str:
    """A label on several short lines, with nothing in it that the drawing would take for a formula."""
    lines = [""]
    for part in foldable(short(name, 100)):
        if lines[-1] and len(lines[-1]) + len(part) > _FOLD:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines).replace("$", r"\$")
