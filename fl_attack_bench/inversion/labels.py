"""What the last layer's gradient says about the labels."""

import torch
from torch import Tensor

from fl_attack_bench.api import HorizontalView, SkipCell
from fl_attack_bench.inversion import last_layer


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
    return last_layer.read(view).bias_gradient.argmin(1, keepdim=True)


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
    layer = last_layer.read(view)
    expected = last_layer.solve(layer, view.batch_size).counts
    present = layer.bias_gradient < -layer.doubt
    return _whole(expected, present, layer.bias_gradient, view.batch_size)


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
