"""``flab run``: play a suite, or the part of it that is named."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns, line

if TYPE_CHECKING:
    from fl_attack_bench.hardware import Machine, Profile
    from fl_attack_bench.progress import Progress
    from fl_attack_bench.record import Record
    from fl_attack_bench.runner import Summary
    from fl_attack_bench.store import Store
    from fl_attack_bench.tracking import Tracker

_SHOWN_FAILURES = 10
_REASON = 160
# The bracket is escaped: help texts are rich markup.
_ADDED = "the suite's, or a method in their place: NAME, NAME\\[parameter=value,...] or a .py file"


def run(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name (`flab list suites`) or YAML file.")],
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be repeated.")] = None,
    attack: Annotated[list[str] | None, typer.Option(help=f"Only this attack: {_ADDED}.")] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this defense beside the undefended baseline: {_ADDED}; FIRST+SECOND is a chain."),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; may be repeated.")] = None,
    data_dir: options.DataDir = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch missing official datasets.")] = False,
    tracking_uri: options.TrackingUri = None,
    no_tracking: Annotated[bool, typer.Option("--no-tracking", help="Keep records on disk only.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs side by side.  [default: cores over the profile's threads]", show_default=False),
    ] = None,
    hardware: Annotated[str, typer.Option(help="A hardware profile, its YAML file, or the one that matches.")] = "auto",
    force_hardware: Annotated[
        bool, typer.Option("--force-hardware", help="Go on where the profile does not match; records are marked.")
    ] = False,
    folder: options.Folder = options.FOLDER,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Play failed cells again.")] = False,
) -> None:
    """Play the cells of a suite that have no record yet; stop it whenever you like, it goes on where it was."""
    from fl_attack_bench import hardware as profiles
    from fl_attack_bench import progress, provenance, runner
    from fl_attack_bench import suite as suites
    from fl_attack_bench.cli.selection import check_tasks, narrow
    from fl_attack_bench.jobs import Settings
    from fl_attack_bench.store import Store

    whole = suites.load(suite)
    part = narrow(whole, tasks=task or (), attacks=attack or (), defenses=defense or (), seeds=seed or ())
    machine = profiles.detect()
    profile, matched = profiles.choose(hardware, machine, force=force_hardware)
    cells = part.cells(profile.name)
    data = options.data_dir(data_dir)
    check_tasks(cells, data, download=download)
    store = Store(folder)
    shown = progress.make()
    tracker = None if no_tracking else _tracker(store, tracking_uri, shown)
    summary = runner.run(
        part,
        cells,
        Settings(work=store.work, data_dir=data.resolve(), download=download),
        profile=profile,
        machine=machine,
        store=store,
        command=lambda cell: provenance.command(
            suite, cell, data_dir=data_dir, hardware=hardware if hardware.endswith((".yaml", ".yml")) else None
        ),
        matched=matched,
        log=tracker,
        progress=shown,
        workers=jobs or _workers(machine, profile),
        retry_failed=retry_failed,
    )
    _report(summary, store, tracker, folder)
    raise typer.Exit(summary.exit_status)


def _tracker(store: "Store", uri: str | None, shown: "Progress") -> "Tracker":
    from fl_attack_bench.tracking import Tracker

    return Tracker(store, uri, say=shown.say)


def _workers(machine: "Machine", profile: "Profile") -> int:
    return max(1, machine.cores // profile.threads)


def _report(summary: "Summary", store: "Store", tracker: "Tracker | None", folder: Path) -> None:
    from fl_attack_bench.tracking import shown

    ended = sorted(summary.counts.items(), key=lambda item: (item[0] != "ok", -item[1], item[0]))
    counts = ", ".join(f"{count} {status}" for status, count in ended)
    print(f"cells     {counts or 'none'} ({summary.kept} played before)")
    _failures(summary.failures, folder)
    print(f"records   {store.records}")
    if tracker is not None:
        print(f"tracking  {shown(tracker.uri)}")
    if summary.counts and not summary.interrupted:
        print("next      flab board build" + ("" if folder == options.FOLDER else f" --from {folder}"))


def _failures(failed: "Sequence[Record]", folder: Path) -> None:
    if not failed:
        return
    print(f"{len(failed)} failed:")
    rows = []
    for record in failed[:_SHOWN_FAILURES]:
        reason = line(record.reason)
        cut = reason if len(reason) <= _REASON else reason[: _REASON - 3] + "..."
        rows.append((record.status, record.cell_id, cut))
    columns(rows, indent="  ")
    more = len(failed) - _SHOWN_FAILURES
    if more > 0:
        print(f"  and {more} more")
    where = "" if folder == options.FOLDER else f" --folder {shlex.quote(str(folder))}"
    print(f"`flab show CELL{where}` tells all of a cell; `--retry-failed` plays them again")
    used = [one for record in failed for one in (record.cell.attack, record.cell.defense) if one]
    specs = [part for one in used for part in one.parts]
    for file in dict.fromkeys(part.name for part in specs if part.name.endswith(".py")):
        print(f"`flab check {shlex.quote(file)}` says what to change in a file of your own")
