"""Replace a layer's gradient with random numbers: the baseline that partial encryption is compared with."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from fl_attack_bench.api import (
    Card,
    ClientState,
    HorizontalDefense,
    Layout,
    LocalPlan,
    Observation,
    Payload,
    Update,
)


@dataclass(frozen=True)
class LayerReplacement(HorizontalDefense):
    """Send random numbers in place of some layers' gradients (Sotthiwat et al. 2021, section 4.3, figures 5 to 7).

    Args:
        layers: which are replaced: ``first``, ``all``, or layers as the model names them, joined by ``+``.
        distribution: of the numbers: ``gaussian`` with mean 0 and deviation 1, or ``laplace`` with scale 1.
    """

    card = Card(
        title="Layer replaced with noise",
        paper="https://doi.org/10.1109/CCGrid51090.2021.00101",
        threat="honest-but-curious server",
        notes=(
            "A measuring device of the paper, which asks how much each layer gives away, and not a way to learn: the "
            "replaced layers walk at random. The paper's hidden layer is secret-shared instead (additive_sharing)."
        ),
    )
    layers: str = "first"
    distribution: Literal["gaussian", "laplace"] = "gaussian"

    def upload(self, update: Update, client: ClientState) -> Payload:
        """The update with random numbers in the chosen layers."""
        chosen = update.layout.chosen(self.layers).to(update.flat.device)
        count = int(chosen.sum())
        drawn = torch.randn(count, generator=client.rng)
        if self.distribution == "laplace":
            # The difference of two exponentials is Laplace.
            first, second = (torch.empty(count).exponential_(generator=client.rng) for _ in range(2))
            drawn = first - second
        flat = update.flat.clone()
        flat[chosen] = drawn.to(flat)
        return Payload.dense(flat)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """Nothing is known of what was replaced."""
        del local
        chosen = layout.chosen(self.layers).to(observation.noise.device)
        return replace(observation, noise=observation.noise.masked_fill(chosen, torch.inf))
