"""The errors that a person can do something about. Each message names the place, the value and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input. The program prints the message as one line and exits with status 2."""


class UnknownNameError(UserError):
    """A name that nothing legal carries; the message suggests the nearest legal one."""

    def __init__(self, what: str, name: str, legal: Iterable[str], where: str = "") -> None:
        choices = sorted(legal)
        near = get_close_matches(name, choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"legal: {', '.join(choices) or 'none'}"
        super().__init__(f"{where + ': ' if where else ''}unknown {what} {name!r}; {hint}")


class SkipCell(Exception):  # noqa: N818 - not a failure: the runner turns it into a `skipped` record
    """A method cannot be played on this task; the reason goes into the record."""
