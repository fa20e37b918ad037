"""A defense in a package of its own."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Gt

from fl_attack_bench.api import Card, ClientState, HorizontalDefense, Layout, LocalPlan, Observation, Payload, Update


@dataclass(frozen=True)
class Clamp(HorizontalDefense):
    """Limit every entry: ``max(-limit, min(limit, g_i))``.

    Args:
        limit: the largest magnitude of an entry, in gradient units.
    """

    card = Card(title="Clamp of a plugin", paper="https://example.org/clamp", threat="honest-but-curious server")
    limit: Annotated[float, Gt(0)] = 0.01

    def upload(self, update: Update, client: ClientState) -> Payload:
        """What a client sends."""
        return Payload.dense(update.flat.clamp(-self.limit, self.limit))

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """An entry at the limit may have been larger, nobody knows by how much."""
        cut = observation.values.abs() >= self.limit * (1 - 1e-5)
        return replace(observation, noise=torch.where(cut, torch.nan, observation.noise))
