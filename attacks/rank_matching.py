"""Inversion of permuted values by a known network: sort, and compare with what public samples give."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import THIRD, Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion import sorted_values
from fl_attack_bench.inversion.first_layer import FirstLayer
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.sharing import observation
from fl_attack_bench.sharing.arithmetic import Float

_GROUPS = 1000  # simulated batches
# Standard deviation of a floating-point value, by term of its sum, in last digits of a product of two masks (measured).
_ROUNDING = 0.15
_SHUFFLES = 4  # times that a public sample may be in one


@dataclass(frozen=True)
class RankMatching(OutsourcedAttack):
    """Sorted values of a batch, against those that the same network gives for batches of public samples.

    Two estimates compete on the public samples, and the better one is taken. By rank: the k-th smallest value belongs
    to the place where public samples have the k-th smallest mean; then the first layer is inverted. By regression: from
    the sorted values of all layers to the mean image of the batch. Samples in the victim's batch that are known are
    computed and taken out first. Of a batch of B unknown samples nothing tells which is which: all get the same image.
    """

    card = Card(
        title="Rank matching",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious third party",
        assumes="the network's weights; public samples of the same distribution; which samples are in a batch, and "
        "known ones among them",
        notes="Ours, after Theorem 3.4, which counts n! orders as if all were equally likely.",
    )
    knows_model: ClassVar[bool] = True

    auxiliary: Annotated[int, Ge(2), Le(20_000)] = 1000

    @property
    def adversary(self) -> str:
        """Who evaluates activations."""
        return THIRD

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """The victims, batch by batch; those of batches with equally many unknown samples together."""
        if view.weights is None:
            raise SkipCell("the network's weights are not known")
        rounds = left_over(view)
        images = view.auxiliary.double().reshape(-1, *view.plan.inputs)
        blind = images.mean(0) if len(images) else torch.full(view.plan.inputs, 0.5, dtype=torch.float64)
        found = blind.expand(len(view.victims), *view.plan.inputs).clone()
        by_size = defaultdict(list)
        for number, (unknown, _) in rounds.items():
            by_size[unknown].append(number)
        for unknown, numbers in by_size.items():
            if len(images) < 2 * unknown:
                continue  # no two batches of public samples to compare with
            values = [torch.stack([rounds[number][1][layer] for number in numbers]) for layer in rounds[numbers[0]][1]]
            batches = simulate(images, unknown, streams.generator("batches", unknown))
            single = sorted_values.simulated(view.plan.layers, view.weights, images)
            rounding = observation.numbers(view)
            if isinstance(rounding, Float):
                error = _ROUNDING * torch.finfo(rounding.dtype).eps * (2 * rounding.mask_std) ** 2
                single = sorted_values.noisy(view.plan.layers, single, error, streams.generator("rounding"))
            means = estimate(view, images, single, batches, dict(zip(rounds[numbers[0]][1], values, strict=True)))
            for number, mean in zip(numbers, means, strict=True):
                found[(view.victims.unsqueeze(1) == view.batches[number]).any(1)] = mean
        return found


def left_over(view: OutsourcedView) -> dict[int, tuple[int, dict[int, Tensor]]]:
    """Of each round with a victim: how many of its samples are unknown, and each layer's values less the known ones'.

    Raises:
        SkipCell: the party sees no permuted values.
    """
    rounds: dict[int, tuple[int, dict[int, Tensor]]] = {}
    for seen in observation.revealed(view):
        rows = view.batches[seen.round] if seen.topic == "inference" and seen.permuted else view.known[:0]
        if not torch.isin(rows, view.victims).any():
            continue
        places = (rows.unsqueeze(1) == view.known).nonzero()[:, 1]
        features = view.known_features[places].reshape(-1, *view.plan.inputs)
        known = sorted_values.simulated(view.plan.layers, view.weights or (), features)[seen.layer]
        layers = rounds.setdefault(seen.round, (len(rows) - len(places), {}))[1]
        layers[seen.layer] = sorted_values.without(seen.values, known.flatten())
    if not rounds:
        raise SkipCell(f"{view.party} sees no permuted values of the victims' batches")
    return rounds


def simulate(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Batches of public samples, shape ``(S, size)``: each sample once for batches of one, else up to four times."""
    if size == 1:
        return torch.arange(len(images)).unsqueeze(1)
    whole = len(images) // size
    drawn = [torch.randperm(len(images), generator=generator)[: whole * size] for _ in range(_SHUFFLES)]
    return torch.cat(drawn).reshape(-1, size)[:_GROUPS]


def estimate(
    view: OutsourcedView, images: Tensor, single: list[Tensor], batches: Tensor, values: dict[int, Tensor]
) -> Tensor:
    """The mean image of each of R batches.

    Args:
        view: of the weights.
        images: public samples, shape ``(M, *inputs)``.
        single: what each layer makes of them, shape ``(M, n)``.
        batches: of public samples, shape ``(S, B)``.
        values: seen of each batch, by layer, shape ``(R, B n)``.

    Returns:
        Shape ``(R, *inputs)``.
    """
    weights, layers = view.weights or (), list(values)
    public = [single[layer][batches].flatten(1) for layer in layers]
    targets = images.flatten(1)[batches].mean(1)
    known, others = sorted_values.signatures(public, list(values.values()))
    best, lowest = sorted_values.regressed(known, targets, others)
    if 0 in layers:
        first = layers.index(0)
        expected = single[0].mean(0)
        placed = sorted_values.by_rank(expected, public[first])
        noise = float((placed - single[0][batches].mean(1)).square().mean())
        outputs = view.plan.layers[0].outputs
        layer = FirstLayer(view.plan.layers[0], weights[0].double(), weights[1].double(), noise)
        prior = GaussianPrior.of(images, view.plan.inputs)
        error = layer.invert(placed.unflatten(1, outputs), prior).flatten(1) - targets
        if float(error.square().mean()) < lowest:
            placed = sorted_values.by_rank(expected, values[0])
            best = layer.invert(placed.unflatten(1, outputs), prior).flatten(1)
    return best.reshape(-1, *view.plan.inputs)
