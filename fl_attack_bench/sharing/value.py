"""What the parties of a sharing protocol keep of a number that nobody may see whole."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.errors import UserError

Shape = tuple[int, ...]


class BadMessage(UserError):  # noqa: N818 - says what was received
    """A message that is not what the protocol has at this place; the text names sender, part and shapes."""


@dataclass(frozen=True, eq=False)
class Mask:
    """What hides one tensor while it is multiplied: ``x - u`` is public to both compute parties, u to nobody.

    A mask belongs to its tensor and is never put over another one: two tensors under one mask would show their
    difference.

    Args:
        own: a compute party's share of u; to the helper, which made it, u itself.
        opened: ``x - u``; None to the helper.
    """

    own: Tensor
    opened: Tensor | None = None


@dataclass(eq=False)
class Value:
    """A shared tensor as one party has it.

    Args:
        name: of its messages.
        shape: which all parties know.
        bits: fraction bits, which all parties know.
        share: a compute party's; None to everybody else.
        mask: once it was multiplied.
    """

    name: str
    shape: Shape
    bits: int
    share: Tensor | None = None
    mask: Mask | None = None

    def rearranged(self, function: Callable[[Tensor], Tensor]) -> "Value":
        """The same entries in other places, or some of them; the mask goes along, entry by entry.

        Args:
            function: selects or reshapes.
        """
        mask = self.mask
        if mask is not None:
            mask = Mask(function(mask.own), None if mask.opened is None else function(mask.opened))
        share = None if self.share is None else function(self.share)
        # One byte seen from all places: the shape is found out without touching the entries.
        shape = tuple(function(torch.zeros((), dtype=torch.uint8).expand(self.shape)).shape)
        return Value(self.name, shape, self.bits, share, mask)


class Common:
    """What two parties draw alike from a seed that only they have.

    Args:
        seed: 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count: Counter[str] = Counter()

    def next(self, name: str) -> Secrets:
        """A stream for one use; the next use under this name gets another one."""
        number = self._count[name]
        self._count[name] += 1
        return Secrets.seeded(self._seed, f"{name} {number}".encode())


def part(payload: Payload, name: str, shape: Shape, dtype: torch.dtype, sender: str) -> Tensor:
    """A part of a message.

    Raises:
        BadMessage: it is not there, or of another form, shape or type.
    """
    found = payload.parts.get(name)
    if not isinstance(found, Dense):
        raise BadMessage(f"{sender} sent {', '.join(payload.parts) or 'nothing'} in place of {name!r}")
    if tuple(found.values.shape) != tuple(shape) or found.values.dtype != dtype:
        got = f"{tuple(found.values.shape)} {found.values.dtype}"
        raise BadMessage(f"{sender} sent {name!r} of shape {got}, not {tuple(shape)} {dtype}")
    return found.values
