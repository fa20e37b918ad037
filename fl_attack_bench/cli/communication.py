"""``flab communication``: what a round of each defense sends, by how many clients take part."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns
from fl_attack_bench.errors import UserError

if TYPE_CHECKING:
    from fl_attack_bench.api import HorizontalDefense
    from fl_attack_bench.communication import Row
    from fl_attack_bench.tasks.horizontal import Model
    from fl_attack_bench.update import Layout

_CLIENTS = "2,5,10,20,50,100,1000,10000,100000,1000000"
_MOST = 10**9
_COLUMNS = ("defense", "clients", "kind", "up", "down", "peers", "per_client", "total", "reason")


def communication(
    defense: Annotated[
        list[str], typer.Option(help="NAME, NAME\\[parameter=value,...] or FIRST+SECOND; may be repeated.")
    ],
    model: Annotated[str, typer.Option(help="A network (`flab list models`), or NAME\\[option=value,...].")] = "lenet5",
    image_shape: Annotated[str | None, typer.Option(metavar="CxHxW", help="Of its images: 1x28x28.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Take the images' shape and the classes from this.")] = None,
    classes: Annotated[int, typer.Option(min=1, help="How many, where no dataset says it.")] = 10,
    clients: Annotated[str, typer.Option(help="Clients in a round, separated by commas.")] = _CLIENTS,
    measure_up_to: Annotated[int, typer.Option(min=0, help="Play rounds of up to so many clients.")] = 20,
    format: Annotated[Literal["table", "csv", "json"], typer.Option(help="How the rows are printed.")] = "table",
    figure: Annotated[Path | None, typer.Option(help="Draw them into this SVG file.")] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Bytes of one round by number of clients: measured on the wire, and by the cost model beyond.

    Per client: up to the server, down from it, and to peers; the model that the server sends out comes on top.
    """
    from fl_attack_bench import communication as counting
    from fl_attack_bench.seeds import Streams

    counts = _counts(clients)
    if figure is not None and figure.suffix != ".svg":
        raise UserError(f"--figure {figure}: figures are SVG; name a file that ends in .svg")
    asked = _model(model)
    defenses = _defenses(defense)
    shape, labels = _images(image_shape, dataset, classes, options.data_dir(data_dir))
    layout, statistics = counting.network(asked, shape, labels)
    rows = counting.table(defenses, layout, statistics, counts, measure_up_to, Streams(0))
    for label in defenses:
        own = [row for row in rows if row.defense == label]
        if all(row.kind == "skipped" for row in own):
            raise UserError(f"--defense {label}: {own[-1].reason}")
    _PRINTERS[format](rows)
    if figure is not None:
        title = f"{asked.name}, {layout.size:,} parameters"
        _draw(figure, title, rows, defenses, layout, statistics, counts)


def _counts(text: str) -> list[int]:
    found = set()
    for word in text.split(","):
        if not re.fullmatch(r"\s*[0-9]{1,12}\s*", word) or not 1 <= int(word) <= _MOST:
            raise UserError(f"--clients {text}: {word.strip()!r} is no whole number in [1, {_MOST}]")
        found.add(int(word))
    return sorted(found)


def _model(text: str) -> "Model":
    from fl_attack_bench import notation
    from fl_attack_bench.schema import parse
    from fl_attack_bench.tasks.horizontal import Model

    try:
        spec = notation.parse(text)
    except UserError:
        raise UserError(f"--model {text}: write NAME or NAME[option=value,...]") from None
    return parse(Model, {"name": spec.name, "options": spec.parameters}, f"--model {text}")


def _defenses(texts: Sequence[str]) -> "dict[str, HorizontalDefense]":
    from fl_attack_bench import notation, registry
    from fl_attack_bench.api import HorizontalDefense
    from fl_attack_bench.chain import Chain
    from fl_attack_bench.method import build

    found: dict[str, Any] = {}
    for text in texts:
        spec = notation.parse(text)
        where = f"--defense {text}"
        links = [build(registry.find("defense", part.name, where).cls, part.parameters, where) for part in spec.parts]
        for part, link in zip(spec.parts, links, strict=True):
            if not isinstance(link, HorizontalDefense):
                raise UserError(f"{where}: {part.name} is for vertical tasks; this is the cost of a round of clients")
        found[spec.label] = Chain(tuple(links)) if spec.links else links[0]  # type: ignore[arg-type]
    return found


def _images(written: str | None, dataset: str | None, classes: int, data_dir: Path) -> tuple[tuple[int, int, int], int]:
    """Their shape, and how many labels there are."""
    if (written is None) == (dataset is None):
        raise UserError("give --image-shape CxHxW or --dataset NAME, one of the two")
    if dataset is not None:
        from fl_attack_bench.data import datasets

        loaded = datasets.load(dataset, data_dir)
        return loaded.image_shape, loaded.classes
    found = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})x([0-9]{1,4})", written or "")
    if found is None or "0" in found.groups():
        raise UserError(f"--image-shape {written}: write CHANNELSxHEIGHTxWIDTH, as 1x28x28")
    return (int(found[1]), int(found[2]), int(found[3])), classes


def _record(row: "Row") -> dict[str, Any]:
    sent = row.bytes
    values = (row.defense, row.clients, row.kind, sent.up, sent.down, sent.peers, sent.total, row.total, row.reason)
    found: dict[str, Any] = dict(zip(_COLUMNS, values, strict=True))
    if row.kind == "skipped":
        found |= dict.fromkeys(_COLUMNS[3:8])
    return found


def _print_table(rows: "Sequence[Row]") -> None:
    from fl_attack_bench.site.formats import size

    head = ("defense", "clients", "", "up", "down", "peers", "per client", "all clients", "")
    columns([head, *(_cells(_record(row), size) for row in rows)])


def _cells(record: Mapping[str, Any], size: Any) -> tuple[str, ...]:
    sizes = (size(record[name]) for name in _COLUMNS[3:8])
    return (record["defense"], f"{record['clients']:,}", record["kind"], *sizes, record["reason"])


def _print_csv(rows: "Sequence[Row]") -> None:
    import csv
    import sys

    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_record, rows))


def _print_json(rows: "Sequence[Row]") -> None:
    import json

    print(json.dumps([_record(row) for row in rows], indent=2))


_PRINTERS = {"table": _print_table, "csv": _print_csv, "json": _print_json}


def _draw(
    path: Path,
    title: str,
    rows: "Sequence[Row]",
    defenses: "Mapping[str, HorizontalDefense]",
    layout: "Layout",
    statistics: int,
    counts: Sequence[int],
) -> None:
    from fl_attack_bench import communication as counting
    from fl_attack_bench.site.communication import Curve
    from fl_attack_bench.site.communication import communication as drawn
    from fl_attack_bench.tasks.base import BASELINE

    curves = []
    for label, defense in defenses.items():
        metered = [(row.clients, row.bytes.total) for row in rows if row.defense == label and row.kind == "measured"]
        curves.append(Curve(label, counting.curve(defense, layout, statistics, counts), metered))
    try:
        path.write_text(drawn(curves, title, BASELINE), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--figure {path}: {error.strerror}") from None
