"""What a check found, and how a check says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fl_attack_bench.method import Method, build
from fl_attack_bench.schema import Document

Verdict = Literal["passed", "failed", "not applicable"]
MARK = {"passed": "passed", "failed": "FAILED", "not applicable": "n/a"}


class Finding(Document):
    """What became of one check.

    Args:
        check: its name, ``horizontal: same seed``.
        verdict: how it ended.
        said: what was measured; what to change where it failed; why it does not apply.
    """

    check: str
    verdict: Verdict
    said: str = ""

    @property
    def mark(self) -> str:
        """The verdict in one short word."""
        return MARK[self.verdict]


class Listing(Document):
    """What a method is, and the checks that its kind must pass.

    Args:
        kind: ``attack`` or ``defense``.
        title: on its card.
        parameters: on one line, those that were set for the checks.
        checks: their names, in order.
    """

    kind: str
    title: str
    parameters: str
    checks: list[str]


class Broken(Exception):  # noqa: N818 - the outcome of a check
    """The method does not keep its contract; the text says what was found and what to change."""


class NotApplicable(Exception):  # noqa: N818 - the outcome of a check
    """A check that says nothing about this method; the text says why."""


@dataclass(frozen=True)
class Subject:
    """The method that is checked.

    Args:
        kind: ``attack`` or ``defense``.
        cls: its class.
        parameters: those that differ from the defaults.
    """

    kind: str
    cls: type[Method]
    parameters: Mapping[str, Any]

    def make(self) -> Any:
        """A new instance."""
        return build(self.cls, self.parameters)


@dataclass(frozen=True)
class Check:
    """One clause of the contract.

    Args:
        name: ``horizontal: same seed``.
        look: returns what was measured; raises :class:`Broken`, :class:`NotApplicable`, or whatever the method raises.
    """

    name: str
    look: Callable[[Subject], str]
