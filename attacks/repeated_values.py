"""Recognising records by values that repeat from batch to batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import THIRD, Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion import sorted_values
from fl_attack_bench.inversion.first_outputs import public_images
from fl_attack_bench.sharing import observation

_ALIKE = 1e-7  # of the values' range: how far apart two computations of the same value may lie
_COMMON = 0.5  # of all rounds: a value that occurs in more is the background's, and no sample's own


@dataclass(frozen=True)
class RepeatedValues(OutsourcedAttack):
    """Link batches by values that occur in both: the same record under the same network gives the same values.

    The adversary knows some samples that were predicted, for example because it sent them in, and in which batches
    they were. How many samples two batches share is counted by the first layer's values that both have. Is it c of a
    victim's B unknown ones, and are k of the other batch's n samples known, then the victim is one of these with
    chance ``(c / B) (k / n)``. For the rest of the chance the estimate is a regression from a batch's sorted values (in
    which the background's frequency shows) to the mean of its known samples; where that is no clear gain over the mean
    of all known samples, this mean.
    """

    card = Card(
        title="Repeated values",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious third party",
        assumes="features of some predicted samples, and which samples are in which batch; no weight",
        notes="Ours. Exact for a victim that is the same record as a known sample in a batch of one. float32 with "
        "large masks disturbs every value and prevents the link.",
    )

    known: Annotated[int, Ge(1), Le(100_000)] = 256

    @property
    def adversary(self) -> str:
        """Who evaluates activations."""
        return THIRD

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """Regression first, then what links say."""
        del streams
        seen = by_round(view)
        if not any(torch.isin(view.batches[number], view.victims).any() for number in seen):
            raise SkipCell(f"{view.party} sees no permuted values of the victims' batches")
        means = {number: mean for number in seen if (mean := known_mean(view, number)) is not None}
        images, inputs = public_images(view), view.plan.inputs
        blind = images.mean(0) if len(images) else torch.full(inputs, 0.5, dtype=torch.float64)
        own = distinct({number: layers[0] for number, layers in seen.items() if 0 in layers})
        found = blind.expand(len(view.victims), *inputs).clone()
        for number, batch in ((n, view.batches[n]) for n in seen if torch.isin(view.batches[n], view.victims).any()):
            # The victim's batch teaches nothing about itself: its known samples are no victims.
            others = {n: mean for n, mean in means.items() if n != number}
            guess = similar(seen, others, number, blind)
            unknown = int((~torch.isin(batch, view.known)).sum())
            chance = {
                n: count / unknown * float(torch.isin(view.batches[n], view.known).double().mean())
                for n in others
                if (count := shared(own, number, n, view.batches))
            }
            total = max(1.0, sum(chance.values()))
            linked = sum((others[n] * (share / total) for n, share in chance.items()), torch.zeros_like(blind))
            estimate = linked + guess * (1 - sum(chance.values()) / total)
            found[(view.victims.unsqueeze(1) == batch).any(1)] = estimate
        return found


def by_round(view: OutsourcedView) -> dict[int, dict[int, Tensor]]:
    """The permuted values of each predicted batch, by layer."""
    found: dict[int, dict[int, Tensor]] = {}
    for seen in observation.revealed(view):
        if seen.topic == "inference" and seen.permuted:
            found.setdefault(seen.round, {})[seen.layer] = seen.values
    return found


def known_mean(view: OutsourcedView, number: int) -> Tensor | None:
    """The mean of a batch's known samples, shape ``(*inputs)``; None where it has none."""
    places = (view.batches[number].unsqueeze(1) == view.known).nonzero()[:, 1]
    return view.known_features[places].double().mean(0).reshape(view.plan.inputs) if len(places) else None


def similar(seen: dict[int, dict[int, Tensor]], means: dict[int, Tensor], number: int, blind: Tensor) -> Tensor:
    """The mean of a batch by regression from batches of its size whose known samples' mean is ``means``."""
    size = {layer: len(values) for layer, values in seen[number].items()}
    alike = [n for n in means if {layer: len(values) for layer, values in seen[n].items()} == size]
    if len(alike) < 2:
        return blind
    layers = [torch.stack([seen[n][layer] for n in alike]) for layer in size]
    known, others = sorted_values.signatures(layers, [seen[number][layer].unsqueeze(0) for layer in size])
    targets = torch.stack([means[n] for n in alike]).flatten(1)
    found, error = sorted_values.regressed(known, targets, others)
    spread = float(targets.var(0).mean()) * (1 + 1 / len(alike))
    # Few batches fit by chance: their gain has to be larger.
    return found[0].reshape(blind.shape) if error < spread * (1 - len(alike) ** -0.5) else blind


def distinct(values: dict[int, Tensor]) -> dict[int, Tensor]:
    """Each round's own values on a grid: integers, ascending, without those that most rounds have."""
    if not values:
        return {}
    whole = torch.cat(list(values.values()))
    step = _ALIKE * max(float(whole.max() - whole.min()), torch.finfo(torch.float64).tiny)
    grids = {number: (found / step).round().long().unique() for number, found in values.items()}
    keys, times = torch.cat(list(grids.values())).unique(return_counts=True)
    usual = keys[times > max(1.0, _COMMON * len(grids))]
    usual = usual if len(grids) > 3 else usual[:0]  # of fewer rounds, what half of them share may be a sample
    return {number: grid[~torch.isin(grid, usual)] for number, grid in grids.items()}


def shared(own: dict[int, Tensor], number: int, other: int, batches: Sequence[Tensor]) -> int:
    """How many of another round's samples are records of this round too, those of the same id not counted."""
    if not len(own.get(number, ())) or not len(own.get(other, ())):
        return 0
    # The same value may fall on either side of a grid line.
    near = torch.isin(own[other], torch.cat([own[number] + shift for shift in (-1, 0, 1)]))
    size = len(batches[other])
    return max(0, round(float(near.double().mean()) * size) - int(torch.isin(batches[other], batches[number]).sum()))
