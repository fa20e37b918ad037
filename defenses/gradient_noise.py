"""Gaussian or Laplace noise on the gradients that the active party returns."""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from fl_attack_bench.api import Card, Exchange, Returned, VerticalDefense


@dataclass(frozen=True)
class GradientNoise(VerticalDefense):
    """Add independent noise of mean zero to every entry that is sent (Liu et al. 2020, section 6.3, Figure 6).

    Entries that an earlier defense of a chain does not send stay unsent and get no noise.

    Args:
        distribution: ``gaussian``, or ``laplace`` with scale ``b = sqrt(variance / 2)``.
        variance: of the noise on one entry, in squared units of a sample's own gradient ``dl_i/dH_i``.
    """

    card = Card(
        title="Noise on the gradients",
        paper="https://arxiv.org/abs/2007.03608",
        threat="malicious or curious passive party",
        notes="The paper finds on NUS-WIDE, with a trainable active party, that variances above 0.05 weaken the "
        "backdoor and also cost main accuracy. It does not say whether its gradients are those of one sample's loss "
        "or of the batch's mean; here they are one sample's, where each entry of the sum's gradient is in [-1, 1]. "
        "It clips before adding noise: chain gradient_clipping with this one. No privacy guarantee is claimed.",
    )
    distribution: Literal["gaussian", "laplace"] = "gaussian"
    variance: Annotated[float, Gt(0)] = 0.05

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        """The gradients with noise."""
        values = returned.values
        noisy = values + self._noise(values.shape, exchange.rng).to(values)
        if returned.sent is not None:
            noisy = noisy.masked_fill(~returned.sent, 0)
        return Returned(noisy, returned.sent)

    def _noise(self, shape: torch.Size, rng: torch.Generator) -> Tensor:
        if self.distribution == "gaussian":
            return sqrt(self.variance) * torch.randn(shape, generator=rng)
        # Two exponentials apart are Laplace; their difference never meets the logarithm of zero.
        first, second = (torch.empty(shape).exponential_(generator=rng) for _ in range(2))
        return sqrt(self.variance / 2) * (first - second)
