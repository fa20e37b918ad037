"""``flab check``: whether a method keeps the contract of its kind."""

from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import typer

from fl_attack_bench.cli.output import line
from fl_attack_bench.errors import UserError

_MARK, _NAME = 8, 26


def check(
    method: Annotated[str, typer.Argument(metavar="PATH|NAME", help="A method's file, or its name.")],
    kind: Annotated[Literal["defense", "attack"] | None, typer.Option(help="Where one name stands for both.")] = None,
    parameter: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Set one; may be repeated.")] = [],  # noqa: B006
    seconds: Annotated[float, typer.Option(min=1, help="Limit of each check.")] = 20,
    memory_gib: Annotated[float, typer.Option(min=0.5, help="Limit of each check.")] = 8,
) -> None:
    """Run the contract of an attack or a defense: one line a check, with what to change where it failed.

    Exit status 1 if a check failed. The method runs in a process of its own, on small tasks on real digits.
    """
    from fl_attack_bench import notation, testing

    spec = notation.parse(method)
    if spec.links:
        raise UserError(f"{method}: check one method at a time; a chain keeps what its links keep")
    chosen: dict[str, Any] = {**spec.parameters, **_parameters(parameter)}
    began, verdicts = perf_counter(), Counter[str]()
    allowance = testing.Allowance(seconds, memory_gib)
    name = str(Path(spec.name).expanduser()) if spec.name.endswith(".py") else spec.name
    before = ""
    for finding in testing.examine(name, kind, chosen, allowance):
        verdicts[finding.verdict] += 1
        again = finding.verdict == "failed" and finding.said == before
        before = finding.said
        print(
            f"{finding.mark:<{_MARK}}{finding.check:<{_NAME}}{'the same' if again else line(finding.said)}", flush=True
        )
    counted = [f"{verdicts[verdict]} {verdict}" for verdict in ("passed", "failed", "not applicable")]
    print(f"{', '.join(counted)}, in {perf_counter() - began:.1f} s")
    if verdicts["failed"]:
        raise typer.Exit(1)


def _parameters(texts: list[str]) -> dict[str, Any]:
    from fl_attack_bench import notation

    found: dict[str, Any] = {}
    for text in texts:
        found |= notation.parse(f"method[{text}]").parameters
    return found
