"""``flab submit``: the records of a complete suite as a folder for a pull request."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import complain

RESULTS = Path("leaderboard/results")


def submit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A defense: NAME or NAME\\[parameter=value,...].")],
    suite: Annotated[str, typer.Option(help="The suite that was played: its name or YAML file.")],
    from_: Annotated[Path, typer.Option("--from", metavar="RUNFOLDER", help="Where the records are.")] = options.FOLDER,
    out: Annotated[Path, typer.Option(help="Where results are kept.")] = RESULTS,
    hardware: Annotated[str | None, typer.Option(help="The profile, where records are of several.")] = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Let uncommitted changes in; the board says so.")
    ] = False,
) -> None:
    """Check the records of one defense on a whole suite, and collect them for a pull request.

    Refused, each by name: a missing cell (one that failed is a row too), a foreign source hash, seed or task, figures
    that cannot be true, uncommitted changes. Exit status 1 if it is refused. The rules are in leaderboard/RULES.md.
    """
    from fl_attack_bench import notation
    from fl_attack_bench import suite as suites
    from fl_attack_bench.score.faults import fault
    from fl_attack_bench.store import Store
    from fl_attack_bench.submission import collect
    from fl_attack_bench.submission.validate import Terms, problems
    from fl_attack_bench.tasks.base import BASELINE

    whole = suites.load(suite)
    spec = collect.defense(whole, name)
    found, warnings = Store(from_).load()
    for warning in warnings:
        complain(warning)
    terms = Terms(whole, spec, hardware or collect.hardware(found, whole, spec), fault, allow_dirty)
    held, strays = collect.select(found, terms)
    refuse(problems(held, terms, strays))
    place = collect.write(out, terms, held)
    counts = Counter(record.status for record in held.values())
    print(f"collected  {len(held)} cells: {', '.join(f'{count} {status}' for status, count in counts.most_common())}")
    print(f"written    {place}")
    print(f"next       flab verify {place}" + ("" if suite == whole.suite else f" --suite {suite}"))
    print(
        f'           git add {place}, with the defense\'s own file, and open a pull request: "{notation.written(spec)}"'
    )
    if not spec.is_baseline and not (place.parent / BASELINE).is_dir():
        print(f"           flab submit {BASELINE} --suite {suite}, too: no undefended row to hold it against yet")
    print(
        "           the rules are in leaderboard/RULES.md; rows are self-reported until a maintainer re-runs a sample"
    )


def refuse(found: list[str]) -> None:
    """Say why, a line each, and leave with exit status 1; nothing where there is no reason to."""
    for reason in found[:_SHOWN]:
        complain(f"refused: {reason}")
    if len(found) > _SHOWN:
        complain(f"refused: and {len(found) - _SHOWN} more")
    if found:
        raise typer.Exit(1)


_SHOWN = 20
