"""What a party saw of the first layer's outputs while samples were predicted, in the samples' own order."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.api import OutsourcedView, SkipCell
from fl_attack_bench.sharing import observation


@dataclass(frozen=True)
class FirstOutputs:
    """Values ``z = x W + b`` of the first layer.

    Args:
        ids: of the samples, ascending, shape ``(n,)``.
        values: shape ``(n, *outputs)``, float64; the mean where a sample was predicted more than once.
    """

    ids: Tensor
    values: Tensor

    def of(self, samples: Tensor) -> Tensor:
        """The values of some samples.

        Raises:
            SkipCell: one of them was never predicted.
        """
        places = torch.searchsorted(self.ids, samples).clamp(max=len(self.ids) - 1)
        missing = samples[self.ids[places] != samples]
        if len(missing):
            raise SkipCell(f"sample {int(missing[0])} was never predicted")
        return self.values[places]


def first_outputs(view: OutsourcedView) -> FirstOutputs:
    """All that the view says of them.

    Raises:
        SkipCell: the party sees none in the samples' order.
    """
    rows, values = [], []
    for seen in observation.revealed(view):
        if seen.topic == "inference" and seen.layer == 0 and not seen.permuted:
            rows.append(view.batches[seen.round])
            values.append(seen.values.reshape(-1, *view.plan.layers[0].outputs))
    if not rows:
        raise SkipCell(f"{view.party} sees no values of the first layer in the samples' order")
    ids, places = torch.cat(rows).unique(return_inverse=True)
    whole = torch.cat(values)
    total = torch.zeros(len(ids), *whole.shape[1:], dtype=whole.dtype).index_add_(0, places, whole)
    times = torch.bincount(places).reshape(-1, *[1] * (whole.ndim - 1))
    return FirstOutputs(ids, total / times)


def public_images(view: OutsourcedView) -> Tensor:
    """All samples whose features the adversary has: the auxiliary and the known ones, ``(N, *inputs)``, float64."""
    shape = (-1, *view.plan.inputs)
    known, auxiliary = (part.double().reshape(shape) for part in (view.known_features, view.auxiliary))
    return torch.cat([auxiliary, known])
