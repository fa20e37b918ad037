"""A comparison as a table for people, and as rows for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from fl_attack_bench.compare.defenses import Against, Comparison
from fl_attack_bench.compare.figures import Figure, Measure, Unit
from fl_attack_bench.site import formats

COLUMNS = (
    "suite", "suite_version", "hardware", "task", "defense", "first", "axis", "measure", "unit", "better",
    "value", "low", "high", "by", "difference", "difference_low", "difference_high", "p", "pairs", "seeds", "times",
    "verdict", "complete", "board_verdict",
)  # fmt: skip
NOTE = (
    "Higher is better where an arrow points up. Differences are to the first defense, with the 95% interval and p of "
    "Student's paired test over seeds; each test stands for itself, at the 5% level. Bytes are exact. Seconds are "
    "timed once: between two jobs one program differs by up to 26%."
)
_FIRST = "–"


def rows(found: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    """One row a task, measure and defense; figures as plain numbers in the measure's unit, None where there is none."""
    for comparison in found:
        for measure, line in comparison.lines.items():
            for side, against in zip(comparison.sides, line, strict=True):
                row, figure, apart = side.row, against.figure, against.difference
                values = (
                    row.suite, row.suite_version, row.hardware, row.task.name, row.defense,
                    comparison.sides[0].row.defense, measure.axis, measure.name, measure.unit,
                    "higher" if measure.higher else "lower",
                    *((figure.value, figure.low, figure.high, figure.by) if figure else (None, None, None, "")),
                    *((apart.value, apart.low, apart.high) if apart else (None,) * 3),
                    *((apart.p, apart.pairs, apart.seeds) if apart else (None,) * 3),
                    against.times, against.word, row.complete, row.verdict,
                )  # fmt: skip
                yield dict(zip(COLUMNS, values, strict=True))


def table(comparison: Comparison) -> list[tuple[str, ...]]:
    """Lines of cells: a head, then two lines a measure, its figures and their differences to the first defense."""
    lines: list[tuple[str, ...]] = [("", *(side.row.defense for side in comparison.sides))]
    for measure, line in comparison.lines.items():
        lines.append((named(measure), *(shown(measure, against.figure) for against in line)))
        lines.append(("", _FIRST, *(apart(measure, against) for against in line[1:])))
    return lines


def qualified(comparison: Comparison) -> list[str]:
    """What must be known of the sides beside their figures, a line each."""
    found = []
    for side in comparison.sides:
        row = side.row
        told = [] if row.verdict == "scored" else [f"no privacy figure: {row.verdict}"]
        told += [row.summary or "incomplete"] if not row.complete else []
        told += [] if row.same_data else ["its data are not those of the undefended records"]
        found += [f"{row.defense}: {text}" for text in told]
    return found


def named(measure: Measure) -> str:
    """The measure with an arrow for which way is better."""
    return f"{measure.name} {'↑' if measure.higher else '↓'}"


def shown(measure: Measure, figure: Figure | None) -> str:
    """A figure with its interval."""
    if figure is None:
        return formats.NOTHING
    value = number(figure.value, measure.unit)
    if figure.low is None or figure.high is None:
        return value
    low, high = figure.low, figure.high
    if measure.unit == "share":  # Student's interval does not know that there is no more than all
        low, high = max(low, 0.0), min(high, 1.0)
    return f"{value} [{number(low, measure.unit)}, {number(high, measure.unit)}]"


def apart(measure: Measure, against: Against) -> str:
    """The difference to the first defense and what it comes to."""
    parts = []
    if against.difference is not None:
        found = against.difference
        parts.append(_signed(found.value, measure.unit))
        if found.low is not None and found.high is not None:
            ends = f"[{_signed(found.low, measure.unit)}, {_signed(found.high, measure.unit)}]"
            parts.append(ends.replace(" points", ""))
        if found.p is not None:
            parts.append("p < 0.001" if found.p < 1e-3 else f"p = {found.p:.3f}")
    elif against.times is not None:
        parts.append(formats.times(against.times))
    return ", ".join([" ".join(parts), against.word] if parts else [against.word])


def number(value: float, unit: Unit) -> str:
    """A figure in its unit."""
    if unit == "mse":
        return formats.mse(value) if value >= 0 else f"{formats.MINUS}{formats.mse(-value)}"
    if unit == "share":
        return formats.percent(value)
    if unit == "bytes":
        return formats.size(value)
    return formats.seconds(value) if unit == "seconds" else formats.learned(value, "rmse")


def _signed(value: float, unit: Unit) -> str:
    if unit == "share":
        return f"{formats.points(value)} points"
    sign = "+" if value > 0 else formats.MINUS if value < 0 else ""
    return f"{sign}{number(abs(value), unit)}"
