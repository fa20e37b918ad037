"""Label inference from the last layer's gradient."""

from dataclasses import dataclass

import torch

from fl_attack_bench.api import Card, HorizontalView, PassiveAttack, Reconstruction, Streams
from fl_attack_bench.inversion.labels import labels_of


@dataclass(frozen=True)
class LabelInference(PassiveAttack):
    """Count the samples of each class from the last layer's gradient (Wainakh et al. 2021; Ma et al. 2022).

    One sample's label is the sign rule of iDLG. Draws no random number and iterates a fixed number of times.
    """

    card = Card(
        title="Label inference",
        paper="https://arxiv.org/abs/2105.09369",
        threat="honest-but-curious server",
        assumes="architecture, weights, number of samples, cross entropy, a linear last layer; which entries were sent",
        notes="LLG estimates what each label contributes from dummy images; here a fixed point in counts, "
        "class-wise representations and probabilities starts there, as in iLRG "
        "(https://openreview.net/forum?id=FIrQfNSOoTr). After several local steps it reads their average as one step. "
        "Without the bias's gradient it uses the weight's.",
    )

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Infer labels, and no images."""
        del streams
        values = view.observed.values
        return Reconstruction(
            images=None,
            labels=labels_of(view),
            objective=torch.zeros(len(values), device=values.device, dtype=values.dtype),
            iterations=torch.zeros(len(values), dtype=torch.int64, device=values.device),
            diverged=~values.isfinite().all(1),
        )
