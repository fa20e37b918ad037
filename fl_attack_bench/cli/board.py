"""``flab board``: render the records as a static site, and show it."""

from pathlib import Path
from typing import Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.errors import UserError

app = typer.Typer(help="Render the records as a static site, and show it.", no_args_is_help=False)

Out = Annotated[Path, typer.Option("--out", help="The site's folder.")]


@app.command()
def build(
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FOLDER|URI",
            help="A run folder, submissions as in leaderboard/results, a board's records.json, or an MLflow store.",
        ),
    ] = None,
    out: Out = Path("site"),
    title: Annotated[str | None, typer.Option(help="Of the board.")] = None,
    code: Annotated[
        str | None, typer.Option(metavar="URL", help="Where sources can be read, with {revision} and {path} in it.")
    ] = None,
) -> None:
    """Render the board; it needs no network to view. Of two records of one cell the later one is shown."""
    from fl_attack_bench import site
    from fl_attack_bench.cli.source import opened
    from fl_attack_bench.site.formats import https

    if code is not None and not https(code):
        raise UserError(f"--code {code}: not an https address")
    with opened(*(source or [str(options.FOLDER)])) as found:
        index = site.build(
            found.records,
            found.pictures,
            out,
            warnings=found.warnings,
            title=title or site.TITLE,
            standings=found.standings,
            code=code,
        )
    print(f"{len(found.records)} records: {index}")
    print("next      flab board serve" + ("" if out == Path("site") else f" --out {out}"))


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
