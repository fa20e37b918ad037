"""Analytic inversion of a linear first layer."""

from dataclasses import dataclass

import torch

from fl_attack_bench.api import Card, HorizontalView, PassiveAttack, Reconstruction, Streams
from fl_attack_bench.inversion import analytic
from fl_attack_bench.inversion.labels import labels_of


@dataclass(frozen=True)
class AnalyticInversion(PassiveAttack):
    """Divide the first linear layer's weight gradient by its bias gradient (Phong et al. 2017, section 3).

    Exact for one sample. Of a batch it finds the images that some unit saw alone; the rest are filled with the mean of
    what the units saw. Draws no random number and iterates nothing.

    Args:
        adaptive: leave out pixels whose entries were not sent or were destroyed; False takes what is read for true.
    """

    card = Card(
        title="Analytic first-layer inversion",
        paper="https://eprint.iacr.org/2017/715",
        threat="honest-but-curious server",
        assumes="a network that begins with a linear layer with bias; which entries were sent, and their noise",
        notes="The paper divides one unit's gradients; here all units and all rounds vote, by least squares for one "
        "sample, by agreement for a batch. Objective: for one sample the share of the gradient's energy left "
        "unexplained, for a batch the share of images that no two units agree on.",
    )

    adaptive: bool = True

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Read the images off the first layer."""
        del streams
        view = view if self.adaptive else view.taken_for_true()
        units = analytic.first_layer(view)
        found = analytic.single(units) if view.batch_size == 1 else analytic.several(units, view.batch_size)
        values = view.observed.values
        return Reconstruction(
            images=found.images.clamp(-1e3, 1e3).to(values).unflatten(2, view.image_shape),
            labels=labels_of(view),
            objective=found.doubtful.to(values),
            iterations=torch.zeros(len(values), dtype=torch.int64, device=values.device),
            diverged=~torch.stack([seen.observed.values.isfinite().all(1) for seen in view.rounds]).all(0),
        )
