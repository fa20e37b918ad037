"""Gradient compression: sparse uploads."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from fl_attack_bench.api import (
    Card,
    ClientState,
    HorizontalDefense,
    Layout,
    LocalPlan,
    Observation,
    Payload,
    Sparse,
    Update,
)


@dataclass(frozen=True)
class GradientCompression(HorizontalDefense):
    """Send only the largest-magnitude entries of each update (Zhu et al. 2019, section 5; Lin et al. 2018).

    Args:
        prune: fraction of entries that are not sent, in [0, 1).
        residual: add what was not sent to the client's next update (deep gradient compression).
        scope: rank the entries of each layer by themselves, as both papers' code does, or of the whole model.
    """

    card = Card(
        title="Gradient compression",
        paper="https://arxiv.org/abs/1906.08935",
        threat="honest-but-curious server",
        notes="At least one entry of each layer is sent. Without momentum correction (Lin et al., section 3.2).",
    )
    prune: Annotated[float, Ge(0), Lt(1)] = 0.9
    residual: bool = False
    scope: Literal["layer", "model"] = "layer"

    def upload(self, update: Update, client: ClientState) -> Payload:
        """The largest entries with their places."""
        flat = update.flat
        if self.residual and "residual" in client.memory:
            flat = flat + client.memory["residual"]
        kept = self._largest(flat.abs(), update.layout)
        if self.residual:
            client.memory["residual"] = flat.index_fill(0, kept, 0)
        return Payload({"update": Sparse(kept, flat[kept], len(flat))})

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """Which entries say nothing of the true update.

        Where everything arrived, because the encoding was dense or another defense covered the gaps, those that are too
        small to have been chosen. With residuals, all but a client's first upload: it carries what earlier ones left.
        """
        noise = observation.noise.clone()
        if self.residual and local.earlier:
            noise.fill_(torch.inf)
        elif bool(observation.sent.all()):
            chosen = self._largest(observation.values.abs(), layout)
            noise.masked_fill_(torch.ones_like(noise, dtype=torch.bool).index_fill(0, chosen, False), torch.inf)
        return replace(observation, noise=noise)

    def _largest(self, size: Tensor, layout: Layout) -> Tensor:
        """Places of the kept entries, increasing."""
        scopes = layout.slices.values() if self.scope == "layer" else [slice(0, layout.size)]
        kept = []
        for scope in scopes:
            count = max(1, round((scope.stop - scope.start) * (1 - self.prune)))
            kept.append(size[scope].topk(count, sorted=False).indices + scope.start)
        return torch.cat(kept).sort().values
