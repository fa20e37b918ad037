"""``flab regress``: a head against its base, on the same cells and, for seconds, in one job."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns, complain
from fl_attack_bench.errors import UserError

if TYPE_CHECKING:
    from fl_attack_bench.checkout import Checkout
    from fl_attack_bench.compare import Check, Tolerances
    from fl_attack_bench.compare.report import Report
    from fl_attack_bench.hardware import Profile
    from fl_attack_bench.interleaved import Name
    from fl_attack_bench.record import Record

ATTEMPTS = 3  # of a timing that other load on the machine leaves open, each with twice the plays of the one before
_SIDE = "REV|RECORDS"
_TO_BE_MADE = ("./", "../", "/", "~")


def regress(
    base: Annotated[str, typer.Option(metavar=_SIDE, help="A revision, a run folder, or ./FOLDER to record one in.")],
    head: Annotated[str, typer.Option(metavar=_SIDE, help="A revision, a checkout's folder, or a run folder.")],
    suite: Annotated[str, typer.Option(help="What revisions play: a suite's name or YAML file.")] = "quick",
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be repeated.")] = None,
    attack: Annotated[list[str] | None, typer.Option(help="Only this attack; may be repeated.")] = None,
    defense: Annotated[list[str] | None, typer.Option(help="Only this defense beside the undefended one.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="How often base and head are timed in turns.")] = 3,
    plays: Annotated[int, typer.Option(min=1, help="Plays a round, of which the fastest counts.")] = 5,
    tolerance: Annotated[float, typer.Option(min=0, help="Per cent that the head may be slower.")] = 10.0,
    accuracy_tolerance: Annotated[float, typer.Option(min=0, help="Points of accuracy or attack success.")] = 1.0,
    mse_tolerance: Annotated[float, typer.Option(min=0, max=100, help="Per cent that an MSE may fall.")] = 10.0,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit file.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a summary for a pull request.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the records of revisions are kept.")] = Path("flab-regress"),
    data_dir: options.DataDir = None,
    hardware: Annotated[str, typer.Option(help="A hardware profile, its YAML file, or the one that matches.")] = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Jobs side by side, where nothing is timed.")] = 1,
) -> None:
    """Exit with 1 where privacy, utility or cost of the head are worse than the base's by more than a tolerance.

    Privacy, utility and bytes are compared on the same cells. Seconds are timed in turns where both sides are
    revisions. Without a base the head's records become one, and the run passes.
    """
    from fl_attack_bench import hardware as profiles
    from fl_attack_bench.compare import Tolerances

    profile, _ = profiles.choose(hardware, profiles.detect())
    named = str(Path(hardware).resolve()) if hardware.endswith((".yaml", ".yml")) else profile.name
    words = [str(Path(suite).resolve()) if suite.endswith((".yaml", ".yml")) else suite]
    for option, values in (("task", task), ("attack", attack), ("defense", defense), ("seed", seed)):
        for value in values or ():
            words += [f"--{option}", str(value)]
    data = options.data_dir(data_dir).resolve()
    words += ["--data-dir", str(data), "--hardware", named, "--jobs", str(jobs), "--no-tracking"]
    tolerances = Tolerances(seconds=tolerance / 100, points=accuracy_tolerance / 100, mse=mse_tolerance / 100)
    report = _Run(words, tolerances, rounds, plays, folder.resolve(), data, profile).compare(base, head)
    _written(report, junit, markdown)
    raise typer.Exit(0 if report.passed else 1)


@dataclass(frozen=True)
class _Run:
    """What both sides are asked for."""

    words: Sequence[str]
    tolerances: "Tolerances"
    rounds: int
    plays: int
    folder: Path
    data: Path
    profile: "Profile"

    def compare(self, base: str, head: str) -> "Report":
        from fl_attack_bench.compare import check_records
        from fl_attack_bench.compare.regression import recorded
        from fl_attack_bench.compare.report import Report

        with _sides(base, head) as checkouts, tempfile.TemporaryDirectory(prefix="flab-regress-") as scratch:
            new = self._records("head", head, checkouts, Path(scratch))
            if not new:
                raise UserError(f"--head {head}: no records; `flab run SUITE` makes some")
            old, why = self._base(base, checkouts, Path(scratch))
            if not old:
                return Report(base, head, (), (_kept(base, new, checkouts, self.folder, why),))
            checks = check_records(old, new, self.tolerances)
            if len(checkouts) == 2:
                checks += self._timed(old, new, checkouts, Path(scratch) / "turns")
                return Report(base, head, tuple(checks))
            note = (
                "seconds are not judged: they were recorded in different jobs; give two revisions to time them in turns"
            )
            return Report(base, head, (*checks, *recorded(old, new)), (note,))

    def _base(self, base: str, checkouts: "Mapping[Name, Checkout]", scratch: Path) -> "tuple[Sequence[Record], str]":
        """The base's records; where there are none, why."""
        from fl_attack_bench.checkout import RefusedError

        try:
            return self._records("base", base, checkouts, scratch), "it holds no records"
        except RefusedError as error:  # the head took the same words: the suite or a method is new
            return [], str(error)

    def _records(
        self, side: "Name", name: str, checkouts: "Mapping[Name, Checkout]", scratch: Path
    ) -> "Sequence[Record]":
        """Those that a folder holds, or that a checkout's own program makes."""
        from fl_attack_bench.store import Store

        place = Path(name).expanduser()
        if side in checkouts:
            checkout = checkouts[side]
            place = self.folder / checkout.revision[:12] if checkout.revision else scratch / f"{side}-records"
            complain(f"{side} {name}: plays {self.words[0]}; what it prints is in {place}/flab.log")
            checkout.flab(["run", *self.words, "--folder", str(place)], place / "flab.log")
        if not place.is_dir():
            return []
        records, warnings = Store(place).load()
        for warning in warnings:
            complain(warning)
        return records

    def _timed(
        self, old: "Sequence[Record]", new: "Sequence[Record]", checkouts: "Mapping[Name, Checkout]", scratch: Path
    ) -> "list[Check]":
        """Every task and defense that is played on both sides, timed in turns."""
        from fl_attack_bench.compare.regression import timed
        from fl_attack_bench.compare.verdict import timing
        from fl_attack_bench.interleaved import Turns, timed_pairs
        from fl_attack_bench.suite import Limits

        found = []
        scratch.mkdir()
        with Turns(checkouts, self.profile, Limits(), scratch, self.data, self.plays) as turns:
            for before, after in timed_pairs(old, new):
                complain(f"times {after.cell.task.name}, {after.cell.defense.label}")
                tolerance = self.tolerances.seconds
                for attempt in range(ATTEMPTS):
                    taken = turns.time(before.cell, after.cell, self.rounds, plays=self.plays << attempt)
                    verdict = timing(taken.base, taken.head, tolerance)
                    if verdict.settled:
                        break
                    if attempt + 1 < ATTEMPTS:
                        more = self.plays << attempt + 1
                        complain(f"its rounds differ too much to tell: times it again, {more} plays a round")
                found.append(timed(after, verdict, tolerance))
        return found


@contextmanager
def _sides(base: str, head: str) -> "Iterator[dict[Name, Checkout]]":
    """The sides that are sources to be played; a folder of records is none."""
    from fl_attack_bench import checkout

    found: dict[Name, checkout.Checkout] = {}
    revisions: dict[str, str] = {}
    named: tuple[tuple[Name, str], ...] = (("base", base), ("head", head))
    for side, name in named:
        place = Path(name).expanduser()
        if place.is_dir() and checkout.source(place):
            found[side] = checkout.Checkout(name, place.resolve())
        elif not place.is_dir() and not name.startswith(_TO_BE_MADE):
            revisions[side] = name
    if not revisions:
        yield found
        return
    with checkout.worktrees(checkout.repository(Path.cwd(), next(iter(revisions.values()))), revisions) as trees:
        yield found | {side: trees[side] for side, _ in named if side in trees}


def _kept(base: str, new: "Sequence[Record]", checkouts: "Mapping[Name, Checkout]", folder: Path, why: str) -> str:
    """The head's records become the base, unless the base is a revision; says so."""
    from fl_attack_bench.store import Store

    if "base" in checkouts:
        kept = f"; the head's {len(new)} records are kept in {folder}" if "head" in checkouts else ""
        return f"no base to compare with: {why}{kept}, and the run passes"
    store = Store(Path(base).expanduser())
    for record in new:
        store.put(record)
    return f"no base to compare with: recorded the head's {len(new)} records in {base}, and the run passes"


def _written(report: "Report", junit: Path | None, markdown: Path | None) -> None:
    from fl_attack_bench.compare import report as reports

    for option, path, text in (("--junit", junit, reports.junit), ("--markdown", markdown, reports.markdown)):
        if path is not None:
            try:
                path.write_text(text(report), encoding="utf-8")
            except OSError as error:
                raise UserError(f"{option} {path}: {error.strerror}") from None
    columns(reports.table(report))
    for note in report.notes:
        print(f"note: {note}")
    print(report.summary)
