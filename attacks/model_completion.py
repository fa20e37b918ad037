"""Label inference by completing the own bottom model."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import Card, LabelAttack, PassiveView, SkipCell, Streams
from fl_attack_bench.inversion.ridge import KernelRidge

NEIGHBOURS = 10
ROUNDS = 30
KEPT = 0.99
CHUNK = 1024


@dataclass(frozen=True)
class ModelCompletion(LabelAttack):
    """Predict labels from the own embedding, with a head learned from a few labelled samples (Fu et al. 2022).

    The training shaped the passive party's bottom model so that its embedding tells the classes apart. Gradients are
    not used, so nothing that is done to them stands against it, short of spoiling the training.

    ``spread`` is semi-supervised: labels spread over the graph of each sample's 10 nearest neighbours,
    ``F <- 0.99 D^-1/2 A D^-1/2 F + 0.01 Y``, 30 rounds (Zhou et al. 2004, "Learning with local and global
    consistency"); each class's column is then scaled to the same sum (Zhu et al. 2003, class mass normalisation).
    ``ridge`` is a linear head by ridge regression on the labelled samples alone, its strength by leave-one-out error.

    Args:
        head: how the head learns.
        reads: ``embeddings`` of the trained bottom model; or its own ``features``, which it had before the training:
            what this blind head reaches, no protocol has leaked.
    """

    card = Card(
        title="Model completion",
        paper="https://www.usenix.org/conference/usenixsecurity22/presentation/fu-chong",
        threat="curious passive party",
        assumes="the labels of a few samples of each class",
        notes="The published attack adds layers to the bottom model and fine-tunes all of it with MixMatch; this one "
        "leaves the bottom model as it is. Their active attack, a malicious optimiser that makes the top model rely on "
        "the adversary's embedding, is not part of it. Compare reads=features. The graph takes time quadratic in the "
        "number of samples.",
    )
    known: Annotated[int, Ge(1), Le(10_000)] = 4
    head: Literal["spread", "ridge"] = "spread"
    reads: Literal["embeddings", "features"] = "embeddings"

    @torch.no_grad()
    def infer(self, view: PassiveView, streams: Streams) -> Tensor:
        """The head's prediction."""
        del streams
        if len(view.known_labels.unique()) < view.classes:
            raise SkipCell(f"a labelled sample of each of the {view.classes} classes is needed")
        inputs = view.bottom(view.features) if self.reads == "embeddings" else view.features
        inputs = inputs.nan_to_num(0.0, 0.0, 0.0)
        truth = F.one_hot(view.known_labels, view.classes).double()
        scores = (_spread if self.head == "spread" else _ridge)(inputs, view.known, truth)
        labels = scores.argmax(1).to(view.known_labels)
        labels[view.known] = view.known_labels
        return labels


def _ridge(inputs: Tensor, known: Tensor, truth: Tensor) -> Tensor:
    """The linear head's scores, shape ``(N, classes)``."""
    inputs = inputs.double()
    fit = KernelRidge(inputs[known] @ inputs[known].T, inputs @ inputs[known].T)
    return fit.predict(truth, fit.best(truth)[0])


def _spread(inputs: Tensor, known: Tensor, truth: Tensor) -> Tensor:
    """The labels' weights after they have spread over the graph, shape ``(N, classes)``.

    On the CPU: adding up along edges has no fixed order elsewhere.
    """
    nearest = _nearest(inputs).cpu()
    start = torch.zeros(len(inputs), truth.shape[1], dtype=truth.dtype)
    start[known.cpu()] = truth.cpu()
    to = nearest.flatten()
    degree = nearest.shape[1] + to.bincount(minlength=len(inputs))
    scale = degree.clamp(min=1).to(start).rsqrt().unsqueeze(1)
    weight = start
    for _ in range(ROUNDS):
        scaled = scale * weight
        around = scaled[nearest].sum(1)
        around.index_add_(0, to, scaled.repeat_interleave(nearest.shape[1], 0))
        weight = KEPT * scale * around + (1 - KEPT) * start
    return weight / weight.sum(0)


def _nearest(inputs: Tensor) -> Tensor:
    """Each row's nearest other rows, shape ``(N, at most 10)``."""
    count = min(NEIGHBOURS, len(inputs) - 1)
    squares = inputs.square().sum(1)
    found = []
    for rows in torch.arange(len(inputs), device=inputs.device).split(CHUNK):
        distance = squares - 2 * inputs[rows] @ inputs.T
        distance.scatter_(1, rows.unsqueeze(1), torch.inf)
        found.append(distance.topk(count, dim=1, largest=False).indices)
    return torch.cat(found)
