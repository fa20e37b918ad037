"""A small protocol for tests: the owner shares features between two parties, which return sums of their shares."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from fl_attack_bench.api import COMPUTE, OWNER, Card, OutsourcedDefense, Payload, ProtocolParty

SCALE = 2**16


class _Party(ProtocolParty):
    def __init__(self, manner, count, endpoint, holding):
        self.manner, self.count, self.endpoint, self.held = manner, count, endpoint, holding
        self.total = 0.0

    @property
    def computers(self):
        return COMPUTE[: self.count]

    async def share(self, features):
        left = (features.double().flatten(1) * SCALE).round().long()
        for name in self.computers[1:]:
            share = torch.from_numpy(self.endpoint.secrets.words(left.numel())).view(left.shape)
            self.endpoint.send(name, Payload.dense(share))
            left = left - share
        self.endpoint.send(self.computers[0], Payload.dense(left))

    async def received(self, sender):
        return (await self.endpoint.receive(sender)).parts["update"].values

    async def sums(self):
        return sum([await self.received(name) for name in self.computers]).double() / SCALE

    async def setup(self):
        if self.endpoint.name == OWNER:
            await self.share(self.held.features)
        else:
            assert self.held.features is None
            self.shares = await self.received(OWNER)

    async def step(self, rows):
        if self.endpoint.name == OWNER:
            self.total = self.total + await self.sums()
        elif self.manner == "early":
            return
        elif self.manner == "wrong":
            raise ArithmeticError("cannot add")
        else:
            if self.manner == "chatty":
                self.endpoint.send(OWNER, Payload.dense(self.shares))
            self.endpoint.send(OWNER, Payload.dense(self.shares[rows].sum(0)))

    async def weights(self):
        return (self.total,) if self.endpoint.name == OWNER else None

    async def predict(self, samples, features):
        if self.endpoint.name == OWNER:
            await self.share(features)
            return (await self.sums()).view(samples, 1)
        shares = await self.received(OWNER)
        self.endpoint.send(OWNER, Payload.dense(shares.sum(1)))
        return None


@dataclass(frozen=True)
class AdditiveSums(OutsourcedDefense):
    """Sums of features.

    Args:
        manner: what the compute parties do: their part, nothing in training, fail in it, or send more than is read.
        computers: how many.
    """

    card = Card(title="Sums", paper="https://example.org/sums", threat="none")
    manner: Literal["fair", "early", "wrong", "chatty"] = "fair"
    computers: int = 2

    @property
    def from_seed(self):
        return True

    def parties(self, plan):
        names = (OWNER, *COMPUTE[: self.computers])
        return {name: partial(_Party, self.manner, self.computers) for name in names}
