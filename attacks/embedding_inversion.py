"""Feature inversion: from embeddings back to the features that they were made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import ActiveView, Card, FeatureAttack, SkipCell, Streams
from fl_attack_bench.inversion.ridge import PENALTIES, KernelRidge

WIDTHS = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class EmbeddingInversion(FeatureAttack):
    """Learn the inverse of the bottom models from samples whose features are known (He et al. 2019, query-free).

    The inverse is a ridge regression in its dual form, from all embeddings that a sample had during the training to
    its features: the bottom model changes from epoch to epoch, so each epoch adds equations. For each party's features
    the leave-one-out error on the known samples chooses the embeddings (the party's own, or all parties': their
    features may be correlated), the kernel (linear, or Gaussian of one of three widths), whether a sample's label is
    used too, and the penalty. Only the victims' and the known samples' rows are used.
    """

    card = Card(
        title="Embedding inversion",
        paper="https://doi.org/10.1145/3359789.3359824",
        threat="curious active party",
        assumes="all features of some training samples",
        notes="The published inverse is a neural network trained on pairs of embeddings and inputs; a closed form "
        "needs no tuning and is exact where a linear inverse exists. Luo et al. 2021 "
        "(https://arxiv.org/abs/2010.10152) start from predictions and from one party's features of the victim "
        "itself, which this adversary does not know. Not constrained to [0, 1].",
    )
    known: Annotated[int, Ge(2), Le(2000)] = 64

    def reconstruct(self, view: ActiveView, streams: Streams) -> Tensor:
        """The victims' features, party by party."""
        del streams
        if len(view.known) < 2:
            raise SkipCell(f"an inverse is learned from 2 known samples or more, not {len(view.known)}")
        targets = view.known_features.double()
        found = targets.mean(0).expand(len(view.victims), -1).clone()
        lowest = dict.fromkeys(view.places, float("inf"))
        for parties, kernel in _candidates(view):
            errors = kernel.errors(targets)
            for party in parties:
                places = view.places[party]
                error, choice = errors[:, places].mean(1).min(0)
                if float(error) < lowest[party]:
                    lowest[party] = float(error)
                    found[:, places] = kernel.predict(targets[:, places], PENALTIES[int(choice)])
        return found.to(view.known_features)


def _candidates(view: ActiveView) -> Iterator[tuple[list[str], KernelRidge]]:
    """Every regression to choose from, with the parties whose features it may predict."""
    count = len(view.known)
    rows = torch.cat([view.known, view.victims])
    same = (view.labels[rows].unsqueeze(1) == view.labels[view.known]).double()
    seen = {party: _seen(epochs, rows) for party, epochs in view.embeddings.items()}
    sources: Mapping[str, list[str]] = {party: [party] for party in seen}
    if len(seen) > 1:
        sources = {**sources, "": list(seen)}
    for parties in sources.values():
        inputs = torch.cat([seen[party] for party in parties], dim=1)
        for kernel in _kernels(inputs, count):
            for used in (kernel, kernel + same * _spread(kernel[:count])):
                yield parties, KernelRidge(used[:count], used[count:])


def _seen(epochs: tuple[Tensor, ...], rows: Tensor) -> Tensor:
    """All of a party's embeddings of some samples side by side, shape ``(R, E d)``, float64."""
    return torch.cat([embeddings[rows].double() for embeddings in epochs], dim=1).nan_to_num(0.0, 0.0, 0.0)


def _kernels(inputs: Tensor, count: int) -> Iterator[Tensor]:
    """Linear and Gaussian kernels of all rows with the first ``count``, shape ``(R, count)``."""
    inputs = inputs - inputs[:count].mean(0)
    linear = inputs @ inputs[:count].T
    yield linear
    squares = inputs.square().sum(1)
    distance = (squares.unsqueeze(1) + squares[:count] - 2 * linear).clamp(min=0)
    typical = float(distance[:count].mean())
    for width in WIDTHS if typical > 0 else ():
        yield (-distance / (2 * width**2 * typical)).exp()


def _spread(gram: Tensor) -> float:
    """The mean squared distance of the known rows from their mean, in a kernel's own space."""
    return float(gram.diagonal().mean() - gram.mean())
