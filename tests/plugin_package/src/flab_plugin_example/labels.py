"""An attack in a package of its own."""

from dataclasses import dataclass

import torch

from fl_attack_bench.api import Card, HorizontalView, PassiveAttack, Reconstruction, Streams


@dataclass(frozen=True)
class Labels(PassiveAttack):
    """Read one sample's label off the last bias' gradient, ``softmax(z) - e_y``."""

    card = Card(
        title="Labels of a plugin",
        paper="https://example.org/labels",
        threat="honest-but-curious server",
        assumes="one sample a victim, a last layer with a bias",
    )

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Infer the labels, and no images."""
        values = view.observed.values
        return Reconstruction(
            images=None,
            labels=view.layout.views(values)[view.layout.names[-1]].argmin(1, keepdim=True),
            objective=torch.zeros(len(values), device=values.device),
            iterations=torch.zeros(len(values), dtype=torch.int64, device=values.device),
            diverged=~values.isfinite().all(1),
        )
