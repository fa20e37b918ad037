"""Defenses that break one clause of their contract each, written as a stranger would write them."""

HEAD = """
import os, time
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar
import torch
from annotated_types import Ge, Gt
from fl_attack_bench.api import *

CARD = Card(title="Broken", paper="https://example.org", threat="honest-but-curious server")
SEEN = []
"""

WHOLE = """
@dataclass(frozen=True)
class Broken(HorizontalDefense):
    '''Does what it should not.

    Args:
        scale: of it.
    '''

    card = CARD
    scale: Annotated[float, Gt(0)] = 1.0
"""

OTHERS_DATA = """
    def upload(self, update, client):
        SEEN.append(update.flat)
        return Payload.dense(torch.stack(SEEN[-7:]).mean(0))
"""
RANDOM = """
    def upload(self, update, client):
        return Payload.dense(update.flat + 1e-3 * torch.randn(len(update.flat)))
"""
CLOCK = """
    def upload(self, update, client):
        return Payload.dense(update.flat + 1e-3 * (time.perf_counter() % 1))
"""
PEEKS = """
    def upload(self, update, client):
        SEEN.append(update.flat)
        return Payload({"update": Sparse(torch.arange(3), update.flat[:3], len(update.flat))})

    def read(self, payload, layout):
        return Observation.exact(SEEN[-7])
"""
PEEKS_BY_CONTENT = """
    def upload(self, update, client):
        SEEN.append((update.flat[:3].tolist(), update.flat))
        return Payload({"update": Sparse(torch.arange(3), update.flat[:3], len(update.flat))})

    def read(self, payload, layout):
        for key, flat in SEEN:
            if key == payload.parts["update"].values.tolist():
                return Observation.exact(flat)
        return super(Broken, self).read(payload, layout)
"""
TRAFFIC = """
    def traffic(self, layout, statistics, clients):
        return Bytes(up=4 * layout.size)
"""
RAISES = """
    def upload(self, update, client):
        raise KeyError("nothing here")
"""
BARE = """
    def upload(self, update, client):
        return update.flat
"""
NOTHING = """
    def upload(self, update, client):
        Payload.dense(update.flat)
"""
CUT = """
    def upload(self, update, client):
        return Payload.dense(update.flat[:10])
"""
MISSPELT = """
    def uplaod(self, update, client):
        return Payload.dense(update.flat)
"""
DROPPED = """
    def upload(self, update):
        return Payload.dense(update.flat)
"""
CALLED = """
    def steps(self):
        return ("update",)
"""
NAN = """
    def upload(self, update, client):
        return Payload.dense(update.flat / 0 * 0)
"""
SUMS = """
    def aggregate(self, payloads, weights, layout):
        return Update(sum(payload.parts["update"].values for payload in payloads), layout)
"""
TURNED = """
    def upload(self, update, client):
        return Payload.dense(-update.flat)
"""
TURNED_AND_SAID = (
    TURNED
    + """
    def interpret(self, observation, layout, local):
        return observation.noisier(1.0)
"""
)
SHRUNK = """
    def aggregate(self, payloads, weights, layout):
        mean = super(Broken, self).aggregate(payloads, weights, layout)
        return mean.with_flat(mean.flat / len(payloads))

    def interpret(self, observation, layout, local):
        return observation.noisier(1.0)
"""
SHORT = """
    def aggregate(self, payloads, weights, layout):
        return Update(torch.zeros(3), layout)
"""
CALLED_EXACT = """
    def upload(self, update, client):
        return Payload.dense(update.flat + self.scale * torch.randn(len(update.flat), generator=client.rng))
"""
NO_STATE = """
    def read(self, payload, layout):
        return Observation(torch.zeros(3), torch.zeros(3), torch.zeros(3))
"""


def horizontal(verbs: str) -> str:
    return HEAD + WHOLE + verbs


def carded(card: str) -> str:
    return horizontal("").replace("card = CARD", f"card = {card}")


def parametrised(line: str) -> str:
    return horizontal("").replace("scale: Annotated[float, Gt(0)] = 1.0", line)


ENDLESS = horizontal("""
    def upload(self, update, client):
        while True:
            time.sleep(1)
""")
DIES = horizontal("""
    def upload(self, update, client):
        os._exit(3)
""")

VERTICAL = (
    HEAD
    + """
@dataclass(frozen=True)
class Broken(VerticalDefense):
    '''Does what it should not.'''

    card = CARD
"""
)
VERTICAL_RANDOM = """
    def outgoing(self, returned, exchange):
        return Returned(returned.values + torch.randn(returned.values.shape))
"""
VERTICAL_SHAPE = """
    def incoming(self, embeddings, exchange):
        return embeddings[:1]
"""
VERTICAL_MASK = """
    def outgoing(self, returned, exchange):
        return Returned(returned.values, returned.values > 0)
"""
VERTICAL_SHARED = """
    def outgoing(self, returned, exchange):
        SEEN.append(returned.values.mean())
        return Returned(returned.values + torch.stack(SEEN[-2:]).mean())
"""
VERTICAL_TOP = """
    def top(self, parties, width, classes, rng):
        class Cut(Top):
            def forward(self, embeddings):
                return embeddings.detach().sum(0).requires_grad_()
        return Cut()
"""

OUTSOURCED = (
    HEAD
    + """
from functools import partial
from fl_attack_bench.sharing import clear

@dataclass(frozen=True)
class Broken(OutsourcedDefense):
    '''Does what it should not.'''

    card = CARD

    def parties(self, plan):
        return {**clear.parties(plan), OWNER: partial(Owner, plan=plan)}

class Owner(clear.ClearOwner):
"""
)
UNREAD = """
    async def predict(self, samples, features):
        outputs = await super().predict(samples, features)
        self.endpoint.send(COMPUTE[0], Payload.dense(torch.zeros(1)))
        return outputs
"""
FAR_OFF = """
    async def predict(self, samples, features):
        return 5 * await super().predict(samples, features)
"""
WRONG_SHAPE = """
    async def predict(self, samples, features):
        return (await super().predict(samples, features))[:, :1]
"""
SILENT = """
    async def predict(self, samples, features):
        return await self.endpoint.receive(LABELS)
"""

PASSIVE = (
    HEAD
    + """
@dataclass(frozen=True)
class Broken(PassiveAttack):
    '''Does what it should not.'''

    card = CARD

    def reconstruct(self, view, streams):
        values = view.observed.values
        images = torch.zeros(len(values), 1, *view.image_shape)
        CHANGE
        ends = torch.zeros(len(values))
        return Reconstruction(images, None, ends, ends.long(), ends.bool())
"""
)
