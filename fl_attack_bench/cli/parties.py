"""``flab parties``: an outsourced protocol with every party as a process, held against the same in one process."""

from typing import TYPE_CHECKING, Annotated

import typer

from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns
from fl_attack_bench.errors import SkipCell, UnknownNameError, UserError

if TYPE_CHECKING:
    from fl_attack_bench.hardware import Profile
    from fl_attack_bench.processes.comparison import Comparison
    from fl_attack_bench.suite import Suite
    from fl_attack_bench.tasks import OutsourcedTask

_HEAD = ("party", "sent", "socket", "received", "socket", "off", "messages", "computing")


def parties(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name (`flab list suites`) or YAML file.")],
    defense: Annotated[str, typer.Option(help="A protocol: NAME, NAME\\[parameter=value,...] or a .py file.")],
    task: Annotated[str | None, typer.Option(help="The outsourced task, where the suite has several.")] = None,
    steps: Annotated[int, typer.Option(min=0, help="Training steps.")] = 3,
    predict: Annotated[int, typer.Option(min=0, help="Batches of test samples to predict.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long a party may wait for another one.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of batches, weights and secrets.")] = 0,
    data_dir: options.DataDir = None,
) -> None:
    """Play an outsourced protocol with every party as a process of its own, over loopback TCP, and in one process.

    Results must be the same bit for bit, and the bytes that the kernel counted on the sockets within 2% of the metered
    ones plus framing; exit status 1 where they are not. Secrets come from the seed: not for use on real data.
    """
    from fl_attack_bench import hardware, notation
    from fl_attack_bench import suite as suites
    from fl_attack_bench.api import PartySilent
    from fl_attack_bench.cli.selection import check_tasks
    from fl_attack_bench.jobs import Settings
    from fl_attack_bench.processes import comparison, staging
    from fl_attack_bench.processes.supervisor import PartyFailed
    from fl_attack_bench.suite import Cell

    if steps + predict == 0:
        raise UserError("--steps 0 --predict 0: nothing is to be played")
    whole = suites.load(suite)
    chosen = _task(whole, task)
    spec = staging.seeded(notation.parse(defense), f"--defense {defense}")
    profile, _ = hardware.choose(hardware.AUTO, hardware.detect())
    cell = Cell(
        suite=whole.suite,
        suite_version=whole.version,
        task=chosen,
        attack=None,
        defense=spec,
        seed=seed,
        hardware=profile.name,
    )
    data = options.data_dir(data_dir)
    check_tasks([cell], data, download=False)
    settings = Settings(work=options.FOLDER, data_dir=data.resolve(), threads=profile.threads)
    try:
        what, protocol = staging.staged(cell, settings, steps, predict)
        found = comparison.compared(what, protocol, seconds=seconds, threads=profile.threads)
    except (PartySilent, PartyFailed, SkipCell) as error:
        raise UserError(f"{spec.label}: {error}") from None
    _report(found, profile)
    raise typer.Exit(0 if found.same and found.bytes_hold else 1)


def _task(suite: "Suite", name: str | None) -> "OutsourcedTask":
    from fl_attack_bench.tasks import OutsourcedTask

    known = {task.name: task for task in suite.tasks if isinstance(task, OutsourcedTask)}
    where = f"suite {suite.suite!r}"
    if not known:
        raise UserError(f"{where} has no outsourced task")
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is None:
        raise UserError(f"{where} has several outsourced tasks: name one by --task ({', '.join(known)})")
    if name not in known:
        raise UnknownNameError("outsourced task", name, known, where)
    return known[name]


def _report(found: "Comparison", profile: "Profile") -> None:
    rows = [
        (
            row.party,
            *(f"{count:,}" for count in (row.wire_sent, row.socket_sent, row.wire_received, row.socket_received)),
            f"{100 * row.off:+.2f}%",
            f"{row.messages:,}",
            f"{1000 * row.computing:.1f} ms",
        )
        for row in found.rows
    ]
    columns([_HEAD, *rows])
    framing = found.framing
    print(
        f"framing      {framing.message_up:.0f} bytes a message and its head of 11 with the sender's name; "
        f"{framing.message_down:.0f} back; {framing.connection_up:.0f} and {framing.connection_down:.0f} a connection"
    )
    print(f"bytes        {_verdict(found)}")
    for name, difference, noise in found.differences:
        same = "the same bit for bit" if difference == 0 else f"differ by up to {difference:.3g}"
        print(f"{name:<12} {same}" + (f"; two runs in one process by up to {noise:.3g}" if noise else ""))
    for topic, measured in found.seconds.items():
        print(f"{topic:<12} {1000 * measured:.1f} ms a batch over loopback; in one process:")
        for link in profile.links:
            computing, network, ahead = found.reference.seconds(topic, link)
            print(
                f"  {link.name:<10} {1000 * (computing + network):.1f} ms = {1000 * computing:.1f} computing + "
                f"{1000 * network:.1f} modelled network; {1000 * ahead:.1f} ms ahead of the data"
            )


def _verdict(found: "Comparison") -> str:
    from fl_attack_bench.processes.comparison import TOLERANCE

    worst = max(found.rows, key=lambda row: abs(row.off))
    told = f"the sockets carried the metered bytes and framing to within {100 * abs(worst.off):.3f}%"
    return told if found.bytes_hold else f"{worst.party} is off by {100 * worst.off:+.2f}%, more than {TOLERANCE:.0%}"
