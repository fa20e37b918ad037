"""How the program prints: aligned columns without frames, so that other programs can read them, and one-line errors."""

import sys
from collections.abc import Iterable, Sequence


def columns(rows: Iterable[Sequence[object]], indent: str = "") -> None:
    """Print rows with their columns aligned; the last one may be of any length."""
    cells = [[line(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in cells), strict=True)] if cells else []
    for row in cells:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        print((indent + "  ".join([*padded, row[-1]])).rstrip())


def complain(message: str) -> None:
    """One line on standard error."""
    print(f"flab: {line(message)}", file=sys.stderr)


def line(value: object) -> str:
    """Text on one line, without the control characters that could drive a terminal: some of it comes from strangers."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
