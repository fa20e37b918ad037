"""Label inference from the direction of the returned gradients."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import Card, LabelAttack, PassiveView, SkipCell, Streams


@dataclass(frozen=True)
class GradientDirection(LabelAttack):
    """Samples of one class are sent gradients of similar directions, whatever the top model (Li et al. 2022).

    A sample goes to the class to whose mean direction its gradients, each scaled to length 1, have the largest sum of
    cosines over epochs. The means begin with the samples of known label and are then taken over all samples that went
    to the class, until no sample changes its class (spherical k-means).

    In round two and later an epoch's cosines count as much as its directions gather around their means: with the mean
    cosine r and d entries, ``r (d - r^2) / (1 - r^2)``, the concentration of a von Mises-Fisher distribution (Banerjee
    et al. 2005, "Clustering on the unit hypersphere using von Mises-Fisher distributions").

    Args:
        rounds: at most so many means after the first.
    """

    card = Card(
        title="Gradient direction",
        paper="https://arxiv.org/abs/2102.08504",
        threat="curious passive party",
        assumes="the labels of a few samples of each class",
        notes="Published for two classes, gradient by gradient. Here for any number, over all epochs, with the "
        "directions of unlabelled samples. Lengths are not used: they grow with the top model's weights "
        "while the directions of one class spread, so that epochs with long gradients say less.",
    )
    known: Annotated[int, Ge(1), Le(10_000)] = 1
    rounds: Annotated[int, Ge(0), Le(1000)] = 20

    def infer(self, view: PassiveView, streams: Streams) -> Tensor:
        """The class of the nearest mean direction."""
        del streams
        if len(view.known_labels.unique()) < view.classes:
            raise SkipCell(f"a labelled sample of each of the {view.classes} classes is needed")
        heard = torch.stack([seen.gradients.where(seen.sent, 0) for seen in view.epochs])
        directions = F.normalize(heard.nan_to_num(0.0, 0.0, 0.0), dim=2)
        means = _means(directions[:, view.known], view.known_labels, view.classes)
        weights = directions.new_ones(len(directions))
        labels = view.known_labels.new_full((directions.shape[1],), -1)
        for _ in range(self.rounds + 1):
            before = labels
            labels = torch.einsum("e,end,ecd->nc", weights, directions, means).argmax(1)
            labels[view.known] = view.known_labels
            if torch.equal(labels, before):
                break
            means = _means(directions, labels, view.classes)
            weights = _concentration(directions, labels, means)
        return labels


def _means(directions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Each class's mean direction in each epoch, from ``(E, N, d)`` to ``(E, classes, d)``."""
    members = F.one_hot(labels, classes).to(directions)
    return F.normalize(members.T @ directions, dim=2)


def _concentration(directions: Tensor, labels: Tensor, means: Tensor) -> Tensor:
    """How closely an epoch's directions gather around their classes' means, shape ``(E,)``."""
    # Samples of which nothing was sent have no direction and do not count.
    heard = (directions != 0).any(2).sum(1).clamp(min=1)
    cosine = torch.stack([(d * m[labels]).sum() for d, m in zip(directions, means, strict=True)]) / heard
    cosine = cosine.clamp(0, 1 - 1e-6)
    weight = cosine * (directions.shape[2] - cosine.square()) / (1 - cosine.square())
    return weight / weight.max().clamp(min=1e-12)
