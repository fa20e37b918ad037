"""Gaussian noise on the upload, with or without clipping."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt

from fl_attack_bench import accountant
from fl_attack_bench.api import (
    Card,
    ClientState,
    Exposure,
    Guarantee,
    HorizontalDefense,
    Layout,
    LocalPlan,
    Observation,
    Payload,
    Update,
)


@dataclass(frozen=True)
class GaussianNoise(HorizontalDefense):
    """Add independent normal noise to every entry of the update (Zhu et al. 2019, section 5; McMahan et al. 2018).

    Args:
        scale: standard deviation of the noise, in gradient units.
        clip: scale the update down to this L2 norm first; None leaves it, and then there is no privacy guarantee.
    """

    card = Card(
        title="Gaussian noise",
        paper="https://arxiv.org/abs/1906.08935",
        threat="honest-but-curious server",
        notes="Each client adds its own noise, so that the server never sees an update without it. Clipping "
        "scales an update by a factor that the server is not told: attacks that match lengths suffer from it, those "
        "that match directions do not.",
    )
    scale: Annotated[float, Gt(0)] = 1e-2
    clip: Annotated[float, Gt(0)] | None = None

    def upload(self, update: Update, client: ClientState) -> Payload:
        """The clipped update with noise."""
        flat = update.clipped(self.clip, order=2)
        noise = torch.randn(len(flat), generator=client.rng).to(flat)
        return Payload.dense(flat + self.scale * noise)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """The scale is known, the noise is not."""
        del layout, local
        return observation.noisier(self.scale)

    def guarantee(self, exposure: Exposure) -> Guarantee:
        """Composition of Gaussian mechanisms, each of L2 sensitivity 2 * clip."""
        return accountant.gaussian(self.scale, self.clip, exposure)
