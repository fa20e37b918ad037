"""``flab verify``: a submission checked from scratch, and a sample of its cells played again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns, complain
from fl_attack_bench.cli.submit import refuse

if TYPE_CHECKING:
    from fl_attack_bench.submission.verify import Replayed

_SHOWN = 20


def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A submission's folder.")],
    sample: Annotated[int, typer.Option(min=1, help="So many cells are played again.")] = 3,
    seed: Annotated[int, typer.Option(help="By which they are drawn.")] = 0,
    suite: Annotated[
        str | None, typer.Option(help="Its suite's YAML file, where none of that name is bundled.")
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Exit with 1 where a submission is not sound, or a cell that is played again comes out otherwise.

    Figures must be the same bit for bit on the machine and the packages that made them, and within a tolerance
    elsewhere (leaderboard/RULES.md). With success it writes verified.json, and the board calls the rows re-run.
    """
    from fl_attack_bench import suite as suites
    from fl_attack_bench.cli.selection import check_tasks
    from fl_attack_bench.score.faults import fault
    from fl_attack_bench.submission import manifest as manifests
    from fl_attack_bench.submission import validate
    from fl_attack_bench.submission import verify as verifying

    whole = suites.load(suite or manifests.read(path).suite)
    held, problems = validate.folder(path, whole, fault)
    refuse(problems)
    print(f"sound      {len(held)} cells of {whole.suite}, version {whole.version}")
    data = options.data_dir(data_dir)
    drawn = verifying.sample(held, sample, seed)
    check_tasks([held[cell_id].cell for cell_id in drawn], data, download=False)
    again = verifying.replay(whole, [held[cell_id].cell for cell_id in drawn], data)
    played = []
    for cell_id in drawn:
        one = verifying.compare(held[cell_id], again[cell_id], lambda cells: verifying.replay(whole, cells, data))
        _told(one)
        played.append(one)
    if any(one.differences for one in played):
        verifying.unmark(path)
        complain(f"refused: {sum(bool(one.differences) for one in played)} of {len(played)} cells came out otherwise")
        raise typer.Exit(1)
    print(f"written    {verifying.mark(path, played, seed)}: its rows are re-run")


def _told(one: "Replayed") -> None:
    from fl_attack_bench.submission.verify import TOLERANCE

    how = "bit for bit" if one.exact else f"within {TOLERANCE:.0%}"
    print(
        f"{'differs' if one.differences else 'same':<11}{one.cell_id}" + ("" if one.differences else f", {how}"),
        flush=True,
    )
    if one.differences:
        shown = one.differences[:_SHOWN]
        columns([("figure", "submitted", "re-run"), *((d.key, d.submitted, d.again) for d in shown)], indent="  ")
        if len(one.differences) > _SHOWN:
            print(f"  and {len(one.differences) - _SHOWN} more")
