"""``flab board``: render the records as a static site, and show it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import complain
from fl_attack_bench.errors import UserError

if TYPE_CHECKING:
    from fl_attack_bench.record import Record

app = typer.Typer(help="Render the records as a static site, and show it.", no_args_is_help=False)

Out = Annotated[Path, typer.Option("--out", help="The site's folder.")]


@app.command()
def build(
    source: Annotated[
        str, typer.Option("--from", metavar="URI|FOLDER", help="A run folder, or an MLflow tracking store by its URI.")
    ] = str(options.FOLDER),
    out: Out = Path("site"),
) -> None:
    """Render the board; it needs no network to view."""
    if "://" not in source:
        from fl_attack_bench.store import Store

        store = Store(Path(source))
        records, warnings = store.load()
        _render(source, records, {r.cell_id: store.place(r.cell_id) for r in records}, warnings, out)
        return
    from fl_attack_bench import tracking

    with tempfile.TemporaryDirectory(prefix="flab-board-") as scratch:
        fetched = tracking.fetch(source, Path(scratch))
        _render(tracking.shown(source), fetched.records, fetched.pictures, fetched.warnings, out)


@app.command()
def serve(
    out: Out = Path("site"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 8000,
) -> None:
    """Show a built board on this machine until interrupted."""
    from fl_attack_bench.site.serve import server

    with server(out, port) as running:
        print(f"http://{running.server_address[0]!s}:{running.server_port}/  (Ctrl-C ends it)", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            return


def _render(
    source: str, records: "Sequence[Record]", pictures: Mapping[str, Path], warnings: Sequence[str], out: Path
) -> None:
    from fl_attack_bench import site

    for warning in warnings:
        complain(warning)
    if not records:
        raise UserError(f"{source}: no records; `flab run SUITE` makes some")
    index = site.build(records, pictures, out, warnings=warnings)
    print(f"{len(records)} records: {index}")
    print("next      flab board serve" + ("" if out == Path("site") else f" --out {out}"))
