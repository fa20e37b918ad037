"""Every random stream, derived by hashing the axes it depends on.

A stream's seed is the first 63 bits of ``sha256`` over the JSON of its axes, so adding an axis value, a victim or a
restart never shifts the numbers that another one draws. Seed 0 is a seed like any other.
"""

import hashlib
import json
from dataclasses import dataclass

import torch

Axis = str | int


def derive(*axes: Axis) -> int:
    """A seed in [0, 2^63) that depends on every axis and on their order."""
    digest = hashlib.sha256(json.dumps(axes, separators=(",", ":"), ensure_ascii=True).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Streams:
    """A named family of random streams.

    Args:
        root: the seed that all streams of the family share.
    """

    root: int

    def child(self, *axes: Axis) -> "Streams":
        """The family under these axes; a method gets one of its own and cannot reach its siblings' numbers."""
        return Streams(derive(self.root, *axes))

    def generator(self, *axes: Axis) -> torch.Generator:
        """A fresh generator. It lives on the CPU on every machine, so that a GPU draws the same numbers."""
        return torch.Generator().manual_seed(derive(self.root, *axes))
