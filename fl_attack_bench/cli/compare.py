"""``flab compare``: the triple of several defenses side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns, complain, line
from fl_attack_bench.errors import UserError

if TYPE_CHECKING:
    from fl_attack_bench.compare import Comparison

_MOST_PICTURES = 6
_ABREAST = 4  # defenses in one table: more do not fit a screen


def compare(
    defense: Annotated[
        list[str],
        typer.Argument(
            metavar="DEFENSE DEFENSE ...", help="NAME\\[parameter=value,...], or NAME for all of its entries."
        ),
    ],
    source: Annotated[
        str, typer.Option("--from", metavar="URI|FOLDER", help="A run folder, or an MLflow tracking store by its URI.")
    ] = str(options.FOLDER),
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
    attack: Annotated[str, typer.Option(help="Only this attack, by its name or with its parameters.")] = "",
    hardware: Annotated[str, typer.Option(help="Only this hardware profile.")] = "",
    format: Annotated[Literal["table", "csv", "json", "png"], typer.Option(help="How it is written.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Into this file; a picture needs one.")] = None,
) -> None:
    """Privacy, utility and cost side by side on the tasks that the defenses share, against the first one named.

    The difference is tested on the same victims and seeds: whether it is more than seed noise.
    """
    from fl_attack_bench import compare as comparing
    from fl_attack_bench import notation
    from fl_attack_bench.cli.source import opened
    from fl_attack_bench.compare.defenses import narrow

    if format == "png" and out is None:
        raise UserError("--format png: say where to with --out FILE.png")
    asked = [notation.parse(text) for text in defense]
    with opened(source) as read:
        found = comparing.compare(narrow(read.records, task=task, attack=attack, hardware=hardware), asked)
        if format == "png":
            _write(out or Path(), _drawn(found, read.pictures))
            return
    text = {"table": _table, "csv": _csv, "json": _json}[format](found)
    if out is None:
        print(text, end="")
    else:
        _write(out, text.encode())


def _table(found: "Sequence[Comparison]") -> str:
    import contextlib
    import io

    from fl_attack_bench.compare import written

    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        for comparison in found:
            print(line(comparison.heading))
            for block in blocks(written.table(comparison)):
                columns(block, indent="  ")
            for text in written.qualified(comparison):
                print("  " + line(text))
            print()
        print(written.NOTE)
    return stream.getvalue()


def blocks(lines: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """The table in parts that fit a screen: the first defense in each, as the others are held against it."""
    sides = len(lines[0]) - 1
    for at in range(2, max(sides, 2) + 1, _ABREAST - 1):
        yield [(*line[:2], *line[at : at + _ABREAST - 1]) for line in lines]


def _csv(found: "Sequence[Comparison]") -> str:
    import csv
    import io

    from fl_attack_bench.compare import written

    stream = io.StringIO()
    writer = csv.DictWriter(stream, written.COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(written.rows(found))
    return stream.getvalue()


def _json(found: "Sequence[Comparison]") -> str:
    import json
    import math

    from fl_attack_bench.compare import written

    finite = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in written.rows(found)
    ]
    return json.dumps(finite, indent=2) + "\n"


def _drawn(found: "Sequence[Comparison]", pictures: Mapping[str, Path]) -> bytes:
    from fl_attack_bench.compare import picture

    if len(found) > _MOST_PICTURES:
        names = ", ".join(dict.fromkeys(one.sides[0].row.task.name for one in found))
        raise UserError(f"--format png: {len(found)} tasks are too many for one picture; name one with --task: {names}")
    data, warnings = picture.png(found, pictures)
    for warning in warnings:
        complain(warning)
    return data


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"--out {path}: {error.strerror}") from None
    print(path)
