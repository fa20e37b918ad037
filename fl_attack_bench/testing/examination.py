"""Runs a method's checks in a worker process, one after the other: it may hang, crash or fill the memory."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_attack_bench import registry
from fl_attack_bench.errors import UserError
from fl_attack_bench.pool import Answer, Pool
from fl_attack_bench.suite import Limits, MethodSpec
from fl_attack_bench.testing.finding import Finding, Listing

FILE = "method: file"
_CHILD = "fl_attack_bench.testing.child:describe"
_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Allowance:
    """What one check may use.

    Args:
        seconds: of wall time.
        memory_gib: of resident memory.
    """

    seconds: float = 20.0
    memory_gib: float = 8.0


def examine(
    name: str | Path,
    kind: registry.Kind | None = None,
    parameters: Mapping[str, Any] | None = None,
    allowance: Allowance | None = None,
) -> Iterator[Finding]:
    """The findings on a method, one by one as they are made.

    A check that runs into a limit or takes its process down ends the examination: the next ones would do so too.

    Args:
        name: of the method, or the path of its file, which ends in ``.py``.
        kind: ``attack`` or ``defense``; by default whichever it is.
        parameters: those that differ from the defaults.
        allowance: limits of each check.

    Raises:
        UserError: there is no such file or name, or a parameter that it does not have.
    """
    asked = kind or _kind(str(name))
    spec = MethodSpec(name=str(name), parameters=dict(parameters or {}))
    registry.source_sha256(asked or "defense", spec.name)  # refuses what does not exist
    allowed = allowance or Allowance()
    limits = Limits(minutes=allowed.seconds / 60, memory_gib=allowed.memory_gib)
    with tempfile.TemporaryDirectory(prefix="flab-check-") as logs, Pool(1, Path(logs), play=_CHILD) as pool:
        answer = _asked(pool, asked or "any", spec, limits)
        if answer.outcome.status != "ok":
            yield Finding(check=FILE, verdict="failed", said=_reason(answer, allowed))
            return
        listing = Listing.model_validate(answer.value)
        inside = f" [{listing.parameters}]" if listing.parameters else ""
        yield Finding(check=FILE, verdict="passed", said=f"one {listing.kind}: {listing.title}{inside}")
        for number, check in enumerate(listing.checks):
            answer = _asked(pool, f"{listing.kind}: {check}", spec, limits)
            yield _finding(check, answer, allowed)
            if answer.outcome.status not in ("ok", "skipped"):
                why = f"not run, as {check!r} brought its process down"
                for left in listing.checks[number + 1 :]:
                    yield Finding(check=left, verdict="not applicable", said=why)
                return


def verify(
    name: str | Path,
    kind: registry.Kind | None = None,
    parameters: Mapping[str, Any] | None = None,
    allowance: Allowance | None = None,
) -> list[Finding]:
    """Run all checks, as a test does; returns the findings.

    Args:
        name: as for :func:`examine`.
        kind: as for :func:`examine`.
        parameters: as for :func:`examine`.
        allowance: as for :func:`examine`.

    Raises:
        AssertionError: a check failed; the text says what to change.
        UserError: as for :func:`examine`.
    """
    found = list(examine(name, kind, parameters, allowance))
    broken = [f"{finding.check}: {finding.said}" for finding in found if finding.verdict == "failed"]
    if broken:
        raise AssertionError(f"{name} does not keep its contract:\n" + "\n".join(broken))
    return found


def _kind(name: str) -> registry.Kind | None:
    """What a name says of the kind; a path says nothing."""
    if name.endswith(".py"):
        return None
    both: tuple[registry.Kind, ...] = ("defense", "attack")
    kinds = [kind for kind in both if name in registry.names(kind)]
    if len(kinds) > 1:
        raise UserError(f"{name!r} is both an attack and a defense: say which by --kind")
    return kinds[0] if kinds else None


def _asked(pool: Pool, what: str, spec: MethodSpec, limits: Limits) -> Answer:
    pool.submit(what, {"do": "describe", "kind": what, "spec": spec.model_dump(mode="json")}, limits)
    while not (answers := pool.wait(_WAIT_SECONDS)):
        pass
    return answers[0]


def _finding(check: str, answer: Answer, allowed: Allowance) -> Finding:
    if answer.outcome.status == "ok":
        return Finding.model_validate(answer.value)
    if answer.outcome.status == "skipped":
        return Finding(check=check, verdict="not applicable", said=f"it skips the tiny task: {answer.outcome.reason}")
    return Finding(check=check, verdict="failed", said=_reason(answer, allowed))


def _reason(answer: Answer, allowed: Allowance) -> str:
    if answer.outcome.status == "timeout":
        return f"did not end within {allowed.seconds:g} s: make it faster, or allow more by --seconds"
    if answer.outcome.status == "out_of_memory":
        return f"{answer.outcome.reason}: use less, or allow more by --memory-gib"
    return answer.outcome.reason
