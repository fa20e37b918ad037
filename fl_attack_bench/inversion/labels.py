"""What the last layer's gradient says about the labels."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fl_attack_bench.api import HorizontalView, SkipCell
from fl_attack_bench.inversion import last_layer

# Of the loudest round's noise variance: what an exact round is taken to have beside it.
_FLOOR = 1e-6


def last_layer_sign(view: HorizontalView) -> Tensor:
    """The label of each victim's single sample (Zhao et al. 2020, equation 5).

    With cross entropy, ``dL/dz_c = p_c - [c = y]`` is negative for the true class only. The last layer's bias
    gradient is that very vector; its weight gradient's rows carry the same signs, as they are multiples of one
    representation.

    Returns:
        Shape ``(V, 1)``, int64.

    Raises:
        SkipCell: more than one sample a victim, a network that does not end in a linear layer, or one whose last layer
            was not sent.
    """
    if view.batch_size != 1:
        raise SkipCell(f"the last layer's gradient tells one label by its sign, not those of {view.batch_size} samples")
    layers = _each_round(view)
    evidence = torch.stack([layer.bias_gradient for layer in layers]) * _trust(layers)
    return evidence.sum(0).argmin(1, keepdim=True)


def label_counts(view: HorizontalView) -> Tensor:
    """How many samples of each class a victim has.

    Every class whose bias gradient is negative is present: only its own samples push it up. The other samples go where
    :func:`fl_attack_bench.inversion.last_layer.solve` expects them, rounded by largest remainder. After several local
    steps the sum of their gradients is read as so many times the gradient of all samples, which it is nearly.

    Returns:
        Shape ``(V, K)``, int64, not negative; a row sums to the victim's samples.

    Raises:
        SkipCell: the network does not end in a linear layer, or that layer's gradient was not sent.
    """
    layers = _each_round(view)
    trust = _trust(layers)
    expected = (torch.stack([last_layer.solve(layer, view.batch_size).counts for layer in layers]) * trust).sum(0)
    evidence = (torch.stack([layer.bias_gradient for layer in layers]) * trust).sum(0)
    doubt = (torch.stack([layer.doubt for layer in layers]) * trust).square().sum(0).sqrt()
    return _whole(expected, evidence < -doubt, evidence, view.batch_size)


def _each_round(view: HorizontalView) -> list[last_layer.LastLayer]:
    """The last layer in every round in which something of it can be read.

    Raises:
        SkipCell: there is none.
    """
    found, refused = [], None
    for seen in view.rounds:
        try:
            found.append(last_layer.read(replace(view, rounds=(seen,))))
        except SkipCell as reason:
            refused = reason
    if not found and refused is not None:
        raise refused
    return found


def _trust(layers: Sequence[last_layer.LastLayer]) -> Tensor:
    """How much each round counts: by the inverse of its mean noise variance; shape ``(R, V, 1)``, sums to 1 over R."""
    variance = torch.stack([layer.doubt.square().mean(1, keepdim=True) for layer in layers])
    weight = 1 / (variance + variance.amax(0, keepdim=True) * _FLOOR).clamp(min=torch.finfo(variance.dtype).tiny)
    weight = torch.where(variance.amax(0, keepdim=True) > 0, weight, 1.0)
    return weight / weight.sum(0, keepdim=True)


def labels_of(view: HorizontalView) -> Tensor:
    """The labels of each victim's samples, in ascending order.

    Returns:
        Shape ``(V, B)``, int64: by the sign rule where B = 1, else from the counts.

    Raises:
        SkipCell: the network does not end in a linear layer, or that layer's gradient was not sent.
    """
    return last_layer_sign(view) if view.batch_size == 1 else expand(label_counts(view))


def expand(counts: Tensor) -> Tensor:
    """Counts ``(V, K)`` with equal row sums B as labels ``(V, B)``, in ascending order."""
    victims, classes = counts.shape
    each = torch.arange(classes, device=counts.device).repeat(victims)
    return each.repeat_interleave(counts.flatten()).view(victims, -1)


def _whole(expected: Tensor, present: Tensor, evidence: Tensor, samples: int) -> Tensor:
    """Whole numbers near ``expected`` that sum to ``samples``; one at least for each class ``present``, if they fit."""
    strongest = evidence.argsort(dim=1, stable=True).argsort(1) < samples
    sure = (present & strongest).to(expected)
    rest = (expected - sure).clamp(min=0)
    free = samples - sure.sum(1, keepdim=True)
    rest = rest * free / rest.sum(1, keepdim=True).clamp(min=1e-12)
    floor = rest.floor()
    left = (free - floor.sum(1, keepdim=True)).round()
    rank = (rest - floor).argsort(dim=1, descending=True, stable=True).argsort(1)
    return (sure + floor + (rank < left)).to(torch.int64)
