"""Views of a split training written out in a few lines of plain torch, apart from the scenario's code."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits
from torch import Tensor, nn

from fl_attack_bench.api import ActiveView, PassiveView, SeenEpoch

NAMES = ("a", "b")
Change = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Played:
    features: Tensor
    labels: Tensor
    places: dict[str, Tensor]
    bottoms: dict[str, nn.Module]
    epochs: dict[str, tuple[SeenEpoch, ...]]

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def passive(self, known: int = 0, name: str = "b", seed: int = 0) -> PassiveView:
        ids = picked(self.labels, known, seed)
        return PassiveView(
            party=name,
            features=self.features[:, self.places[name]],
            epochs=self.epochs[name],
            bottom=self.bottoms[name],
            known=ids,
            known_labels=self.labels[ids],
            classes=self.classes,
            learning_rate=0.05,
            batch_size=64,
            defense="none",
            defense_parameters={},
        )

    def active(self, known: int, victims: int = 16) -> ActiveView:
        ids = torch.arange(victims, victims + known)
        embeddings = {name: tuple(seen.embeddings for seen in epochs) for name, epochs in self.epochs.items()}
        return ActiveView(embeddings, self.labels, torch.arange(victims), ids, self.features[ids], self.places)


def picked(labels: Tensor, known: int, seed: int = 0) -> Tensor:
    """So many samples of each class."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    ids = [order[labels[order] == c][:known] for c in range(int(labels.max()) + 1)]
    return torch.cat(ids)


@cache
def play(data: str = "digits", top: str = "sum", epochs: int = 8) -> Played:
    """Train without any defense; places are dealt out in a mixed order."""
    bunch = (load_digits if data == "digits" else load_breast_cancer)()
    x, y = torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target, dtype=torch.int64)
    x = (x - x.min(0).values) / (x.max(0).values - x.min(0).values).clamp(min=1e-9)
    rng = torch.Generator().manual_seed(0)
    dealt = torch.randperm(x.shape[1], generator=rng).chunk(2)
    classes = int(y.max()) + 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bottoms = [nn.Sequential(nn.Linear(len(p), 16), nn.ReLU()) for p in dealt]
        dense = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, classes))
    weights = [w for m in (*bottoms, *([dense] if top == "dense" else [])) for w in m.parameters()]
    seen: list[list[SeenEpoch]] = [[], []]
    for _ in range(epochs):
        sent, heard = torch.zeros(2, len(y), 16), torch.zeros(2, len(y), 16)
        for rows in torch.randperm(len(y), generator=rng).split(64):
            h = [bottom(x[rows][:, place]) for bottom, place in zip(bottoms, dealt, strict=True)]
            logits = h[0] + h[1] if top == "sum" else dense(torch.cat(h, 1))
            loss = F.cross_entropy(logits, y[rows], reduction="sum")
            gradients = torch.autograd.grad(loss, [*h, *weights])
            for party in range(2):
                sent[party, rows], heard[party, rows] = h[party].detach(), gradients[party]
            for weight, gradient in zip(weights, gradients[2:], strict=True):
                weight.data -= 0.05 * gradient / len(rows)
        for party in range(2):
            epoch = SeenEpoch(sent[party], heard[party], torch.ones_like(heard[party], dtype=torch.bool))
            seen[party].append(epoch)
    by_name = {name: tuple(epochs) for name, epochs in zip(NAMES, seen, strict=True)}
    return Played(x, y, dict(zip(NAMES, dealt, strict=True)), dict(zip(NAMES, bottoms, strict=True)), by_name)


def noisy(view_epochs: tuple[SeenEpoch, ...], scale: float, seed: int = 0) -> tuple[SeenEpoch, ...]:
    rng = torch.Generator().manual_seed(seed)
    return tuple(
        SeenEpoch(e.embeddings, e.gradients + scale * torch.randn(e.gradients.shape, generator=rng), e.sent)
        for e in view_epochs
    )


def sparse(view_epochs: tuple[SeenEpoch, ...], kept: int) -> tuple[SeenEpoch, ...]:
    """So many entries of a sample are sent in an epoch, the largest; the others are added to the next epoch's."""
    left = torch.zeros_like(view_epochs[0].gradients)
    found = []
    for epoch in view_epochs:
        whole = epoch.gradients + left
        sent = torch.zeros_like(epoch.sent).scatter(1, whole.abs().topk(kept, dim=1).indices, True)
        left = whole.where(~sent, 0)
        found.append(SeenEpoch(epoch.embeddings, whole.where(sent, 0), sent))
    return tuple(found)
