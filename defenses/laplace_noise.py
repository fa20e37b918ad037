"""Laplace noise on the upload, with or without clipping."""

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
class LaplaceNoise(HorizontalDefense):
    """Add independent Laplace noise to every entry of the update (Zhu et al. 2019, section 5).

    Args:
        scale: b of the density ``exp(-|x| / b) / 2b``, in gradient units; the standard deviation is ``sqrt(2) b``.
        clip: scale the update down to this L1 norm first; None leaves it, and then there is no privacy guarantee.
    """

    card = Card(
        title="Laplace noise",
        paper="https://arxiv.org/abs/1906.08935",
        threat="honest-but-curious server",
        notes="Each client adds its own noise. Pure differential privacy needs the L1 norm, which grows with size.",
    )
    scale: Annotated[float, Gt(0)] = 1e-2
    clip: Annotated[float, Gt(0)] | None = None

    def upload(self, update: Update, client: ClientState) -> Payload:
        """The clipped update with noise."""
        flat = update.clipped(self.clip, order=1)
        # Two exponentials apart are Laplace; their difference never meets the logarithm of zero.
        first, second = torch.empty(2, len(flat)).exponential_(generator=client.rng).to(flat)
        return Payload.dense(flat + self.scale * (first - second))

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """The scale is known, the noise is not."""
        del layout, local
        return observation.noisier(2**0.5 * self.scale)

    def guarantee(self, exposure: Exposure) -> Guarantee:
        """Composition of Laplace mechanisms, each of L1 sensitivity 2 * clip."""
        return accountant.laplace(self.scale, self.clip, exposure)
