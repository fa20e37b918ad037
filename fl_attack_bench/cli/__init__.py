"""The program: parses, calls, prints. Everything that takes time to import is imported by the command that needs it."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from fl_attack_bench import __version__
from fl_attack_bench.cli import (
    board,
    check,
    communication,
    compare,
    doctor,
    listing,
    new,
    parties,
    play,
    regress,
    show,
    submit,
    sync,
    verify,
)
from fl_attack_bench.cli.output import complain
from fl_attack_bench.errors import UserError

INTERRUPTED = 130

app = typer.Typer(name="flab", add_completion=False, pretty_exceptions_enable=False)
app.command("run")(play.run)
app.command("list")(listing.list_names)
app.command("show")(show.show)
app.command("doctor")(doctor.doctor)
app.command("compare")(compare.compare)
app.command("regress")(regress.regress)
app.command("communication")(communication.communication)
app.command("parties")(parties.parties)
app.command("sync")(sync.sync)
app.command("check")(check.check)
app.command("submit")(submit.submit)
app.command("verify")(verify.verify)
app.add_typer(board.app, name="board")
app.add_typer(new.app, name="new")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Attack x defense x dataset benchmarks for federated learning, scored on privacy, utility and cost.

    `flab run quick` plays the smallest suite, `flab board build` renders its board.
    """
    if version:
        print(f"fl-attack-bench {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status: 0, 1 where cells failed, 2 on bad input, 130 where it was stopped."""
    try:
        status = _played(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _played(arguments: Sequence[str]) -> int:
    try:
        command = typer.main.get_command(app)
        return int(command.main(args=list(arguments), prog_name="flab", standalone_mode=False) or 0)
    except (UserError, TyperException) as error:
        complain(_message(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        complain("stopped")
        return INTERRUPTED


def _message(error: UserError | TyperException) -> str:
    if isinstance(error, UserError):
        return str(error)
    command = getattr(getattr(error, "ctx", None), "command_path", None)
    return error.format_message().rstrip(".") + (f"; see `{command} --help`" if command else "")
