"""The side of the worker process: what a method is, and one check at a time.

The worker's request ``describe`` names a kind and a method. Here the kind is ``defense``, ``attack`` or ``any`` for the
list of the checks, and with a check's name behind it, ``defense: horizontal: same seed``, for that check.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from fl_attack_bench import registry
from fl_attack_bench.api import (
    ActiveAttack,
    BackdoorAttack,
    FeatureAttack,
    HorizontalDefense,
    LabelAttack,
    OutsourcedAttack,
    OutsourcedDefense,
    PassiveAttack,
    VerticalDefense,
)
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.notation import value_written
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.testing import (
    horizontal,
    horizontal_attacks,
    horizontal_reading,
    method,
    outsourced,
    outsourced_attacks,
    vertical,
    vertical_attacks,
)
from fl_attack_bench.testing.finding import Broken, Check, Finding, Listing, NotApplicable, Subject
from fl_attack_bench.worker import failure, reset

CONTRACTS: Sequence[tuple[type, Sequence[Check]]] = (
    (HorizontalDefense, (*horizontal.CHECKS, *horizontal_reading.CHECKS)),
    (VerticalDefense, vertical.CHECKS),
    (OutsourcedDefense, outsourced.CHECKS),
    (PassiveAttack, horizontal_attacks.PASSIVE),
    (ActiveAttack, horizontal_attacks.ACTIVE),
    (BackdoorAttack, vertical_attacks.BACKDOOR),
    (LabelAttack, vertical_attacks.LABELS),
    (FeatureAttack, vertical_attacks.FEATURES),
    (OutsourcedAttack, outsourced_attacks.CHECKS),
)
# How long an attack searches. The contract is about form, and a short search has it too.
LONG = ("iterations", "restarts", "patience", "epochs", "steps")
_SHORT = 3
_ELSEWHERE = "derive its class from fl_attack_bench.api"


def describe(kind: str, spec: MethodSpec) -> Listing | Finding:
    """The list of a method's checks, or what one of them found.

    Raises:
        UserError: the method cannot be found, imported or made.
        SkipCell: it cannot be played on the tiny task.
    """
    asked, _, name = kind.partition(": ")
    reset("check", 1, tf32=False)
    subject = _subject(asked, spec)
    checks = {check.name: check for check in contract(subject.cls)}
    if not name:
        if spec.parameters:
            subject.make()
        set_ones = ",".join(f"{key}={value_written(value)}" for key, value in sorted(subject.parameters.items()))
        return Listing(kind=subject.kind, title=method.title(subject), parameters=set_ones, checks=list(checks))
    return look(checks[name], subject)


def contract(cls: type) -> list[Check]:
    """The checks that a class must pass: those of every method, and those of each thing that it is."""
    return [*method.CHECKS, *(check for base, checks in CONTRACTS if issubclass(cls, base) for check in checks)]


def look(check: Check, subject: Subject) -> Finding:
    """Run one check, whatever happens inside."""
    try:
        return Finding(check=check.name, verdict="passed", said=check.look(subject))
    except (NotApplicable, SkipCell) as why:
        return Finding(check=check.name, verdict="not applicable", said=str(why))
    except (Broken, UserError) as why:
        return Finding(check=check.name, verdict="failed", said=str(why))
    except (Exception, SystemExit) as error:
        reason = failure(error)["reason"]
        return Finding(check=check.name, verdict="failed", said=f"raised {reason}")


def _subject(asked: str, spec: MethodSpec) -> Subject:
    found, kind = _found(asked, spec.name)
    parameters: dict[str, Any] = dict(spec.parameters)
    if kind == "attack":
        for field in fields(found.cls):
            value = field.default
            if field.name in LONG and type(value) is int and value > _SHORT:
                parameters.setdefault(field.name, _SHORT)
    return Subject(kind, found.cls, parameters)


def _found(asked: str, name: str) -> tuple[registry.Found, registry.Kind]:
    if asked == "attack":
        return registry.find("attack", name), "attack"
    try:
        return registry.find("defense", name), "defense"
    except UserError as error:
        if asked == "defense" or _ELSEWHERE not in str(error):
            raise
    return registry.find("attack", name), "attack"
