"""``flab new``: a file to begin an attack or a defense with, and its test."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Scenario = Annotated[
    Literal["horizontal", "vertical", "outsourced"], typer.Option(help="Who holds what: samples, features, or shares.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A Python identifier, as my_method.")]
Folder = Annotated[Path, typer.Option(metavar="DIR", help="Where the two files are written.")]

app = typer.Typer(help="Begin a method: one file to fill in, and its test.", no_args_is_help=False)


@app.command("defense")
def defense(name: Name, scenario: Scenario = "horizontal", folder: Folder = Path()) -> None:
    """Write NAME.py, a small defense that works, and test_NAME.py, which runs its contract; nothing is overwritten."""
    _begin("defense", name, scenario, folder)


@app.command("attack")
def attack(name: Name, scenario: Scenario = "horizontal", folder: Folder = Path()) -> None:
    """Write NAME.py, a small attack that works, and test_NAME.py, which runs its contract; nothing is overwritten."""
    _begin("attack", name, scenario, folder)


def _begin(
    kind: Literal["defense", "attack"],
    name: str,
    scenario: Literal["horizontal", "vertical", "outsourced"],
    folder: Path,
) -> None:
    from fl_attack_bench import scaffold

    method, test = scaffold.write(kind, name, scenario, folder)
    print(f"wrote {method} and {test}")
    print(f"edit {method}: its card, its parameters, its verbs; then")
    print(f"  flab check {method}")
    print(f"  pytest {test}")
    print(f"  flab run {scaffold.RUNS[scenario]} --{kind} {method}")
