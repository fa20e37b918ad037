"""Label inference from the length of the returned gradients, for two classes."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import Card, LabelAttack, PassiveView, SkipCell, Streams


@dataclass(frozen=True)
class GradientNorm(LabelAttack):
    """With two classes of unequal size, the rarer one's gradients are longer (Li et al. 2022).

    A model that knows little yet predicts how frequent the classes are, so that a sample of the rarer class is further
    off. A sample's length is the mean over epochs; one threshold on it separates the classes.

    Without known labels the threshold is where two clusters leave the least variance within them (2-means, exact in
    one dimension), and the longer ones are called class 1. With known labels the threshold, and which class lies above
    it, are those that put most known samples right; of equally good thresholds, the one nearest to the clusters'.
    """

    card = Card(
        title="Gradient norm",
        paper="https://arxiv.org/abs/2102.08504",
        threat="curious passive party",
        assumes="without known labels: that class 1 is the rarer one; with them, nothing more",
        notes="Published as a score for each gradient, measured by the area under its curve; here over all epochs, "
        "and with a decision. The known samples are as many of either class, so that they do not tell which is rarer.",
    )
    known: Annotated[int, Ge(0), Le(10_000)] = 1

    def infer(self, view: PassiveView, streams: Streams) -> Tensor:
        """The side of the threshold on which each sample's mean length lies."""
        del streams
        if view.classes != 2:
            raise SkipCell(f"the lengths of gradients tell two classes apart, not {view.classes}")
        heard = torch.stack([seen.gradients.double().where(seen.sent, 0) for seen in view.epochs])
        lengths = heard.nan_to_num(0.0, 0.0, 0.0).norm(dim=2).mean(0)
        threshold, above = two_means(lengths), 1
        if len(view.known):
            threshold, above = separating(lengths[view.known], view.known_labels, threshold)
        labels = torch.where(lengths > threshold, above, 1 - above)
        labels[view.known] = view.known_labels
        return labels


def two_means(values: Tensor) -> float:
    """Where to split ``(N,)`` numbers so that the variance within both parts is least: halfway between the parts."""
    ordered = values.sort().values
    count = torch.arange(1, len(ordered), dtype=ordered.dtype, device=ordered.device)
    centred = ordered - ordered.mean()
    left = centred.cumsum(0)[:-1]
    # The sums of both parts cancel, so the variance between them needs one of them only.
    between = left.square() / (count * (len(ordered) - count))
    cut = int(between.argmax()) if len(between) else 0
    return float(ordered[cut : cut + 2].mean())


def separating(values: Tensor, labels: Tensor, wanted: float) -> tuple[float, int]:
    """The threshold on ``(T,)`` numbers that puts most labels in {0, 1} right, and the class above it.

    Args:
        values: one for each known sample.
        labels: theirs.
        wanted: of equally good thresholds, the nearest to this one is taken.
    """
    ordered, order = values.sort()
    ones = labels[order].double()
    # Cut c has the c smallest values below it.
    below = torch.cat([ones.new_zeros(1), (1 - 2 * ones).cumsum(0)])
    right = below + ones.sum()  # zeros below and ones above, for the ones above
    edges = torch.cat([ordered.new_full((1,), -torch.inf), ordered, ordered.new_full((1,), torch.inf)])
    low, high = edges[:-1], edges[1:]
    # Within the gap as near as can be, and never on a known value.
    middle = torch.where(low.isinf(), high - 1, torch.where(high.isinf(), low + 1, (low + high) / 2))
    thresholds = torch.where((low < wanted) & (wanted < high), wanted, middle)
    either = torch.stack([len(ones) - right, right], dim=1).masked_fill((low == high).unsqueeze(1), -1)
    away = (thresholds - wanted).abs().unsqueeze(1).expand(-1, 2)
    chosen = int(away.masked_fill(either < either.max(), torch.inf).argmin())
    return float(thresholds[chosen // 2]), chosen % 2
