"""Images that a linear first layer gives away.

Unit j of the layer has ``dL/dW_j = sum_i delta_ij x_i`` and ``dL/db_j = sum_i delta_ij`` over the samples i of a batch:
where one sample alone drives the unit, their quotient is its input (Phong et al. 2017, section 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fl_attack_bench.api import HorizontalView, SeenRound, SkipCell
from fl_attack_bench.inversion.last_layer import probes, readable
from fl_attack_bench.representation import inputs

# How far two readings of one sample's pixels may lie apart for rounding alone (float32). Two samples of one class send
# nearly the same errors back, so that their mixtures differ by little more from unit to unit.
_ROUNDING = 1e-5
# How far a reading of a pixel may leave [0, 1].
_OUTSIDE = 1e-3
# Units that a victim's images are looked for in: those with the largest bias gradients.
_UNITS = 1024
_SWEEPS = 4


@dataclass(frozen=True)
class Units:
    """The first layer's gradients of each victim, the units of all rounds one after the other, in double precision.

    Args:
        weight: shape ``(V, J, P)``, over the P pixels of an image in [0, 1]; 0 where not known.
        bias: shape ``(V, J)``; 0 where not known.
        known: shape ``(V, J, P)``, bool; False wherever the unit's bias entry is not known.
        doubt: shape ``(V, J)``: standard deviation of the noise on a unit's entries, the largest of them.
    """

    weight: Tensor
    bias: Tensor
    known: Tensor
    doubt: Tensor


@dataclass(frozen=True)
class Found:
    """What the units gave away.

    Args:
        images: shape ``(V, B, P)``.
        doubtful: shape ``(V,)``, lower is better: for one sample the share of the gradient's energy that the image
            leaves unexplained, for a batch the share of images that no two units agree on.
    """

    images: Tensor
    doubtful: Tensor


def first_layer(view: HorizontalView) -> Units:
    """The gradients of the layer that the pixels enter, over pixels as they were before any normalisation.

    Raises:
        SkipCell: that layer is not linear, has no bias, or was not sent.
    """
    name, scale, shift = _pixels_to_inputs(view)
    parts = [_units(view, seen, name) for seen in view.rounds]
    weight, bias, known, doubt = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    if not known.any():
        raise SkipCell(f"nothing of the gradient of the first layer, {name}, can be read")
    return Units((weight - shift * bias.unsqueeze(2)) / scale * known, bias, known, doubt)


def single(units: Units) -> Found:
    """The only sample of each victim: the rank-one fit ``dL/dW = delta x^T``, ``dL/db = delta``.

    It begins with ``x = sum_j db_j dW_j / sum_j db_j^2``, which is exact without noise; alternating least squares then
    lets all pixels say how strongly a unit was driven, which averages noise out.
    """
    known = units.known.to(units.weight)
    has_bias = known.amax(2)
    delta = units.bias
    for _ in range(_SWEEPS):
        power = torch.einsum("vj,vjp->vp", delta.square(), known)
        seen = torch.einsum("vj,vjp->vp", delta, units.weight)
        image = torch.where(power > 0, seen / power.clamp(min=1e-300), 0.5)
        length = has_bias + torch.einsum("vjp,vp->vj", known, image.square())
        delta = (units.bias + torch.einsum("vjp,vp->vj", units.weight, image)) / length.clamp(min=1e-300)
    left = (units.weight - delta.unsqueeze(2) * image.unsqueeze(1) * known).square().sum((1, 2))
    total = units.weight.square().sum((1, 2))
    return Found(image.unsqueeze(1), torch.where(total > 0, left / total, 1.0))


def several(units: Units, samples: int) -> Found:
    """The images of a batch that some unit saw alone; the others are filled with the mean candidate.

    A candidate is a unit's quotient. Two units that agree on one to within rounding and noise both saw that sample
    alone, as a mixture of samples differs from unit to unit. Candidates in [0, 1] are taken in the order of how many
    units agree, then of how far they are from the mean, which mixtures are closer to; each one with those like it.
    """
    units = _strongest(units)
    candidates, usable, tolerance = _candidates(units)
    outside = (candidates - candidates.clamp(0, 1)).square().mean(2).sqrt()
    usable = usable & (outside <= _OUTSIDE + tolerance)
    apart = torch.cdist(candidates, candidates) / candidates.shape[2] ** 0.5
    alike = (apart <= torch.maximum(tolerance.unsqueeze(1), tolerance.unsqueeze(2))) & usable.unsqueeze(1)
    agreeing = (alike & usable.unsqueeze(2)).sum(2)
    mean = _mean(candidates, usable)
    contrast = (candidates - mean.unsqueeze(1)).square().mean(2).sqrt()
    rank = torch.where(usable, agreeing + contrast / (1 + contrast), -1.0)
    chosen, confirmed = [], []
    for _ in range(samples):
        best = rank.argmax(1)
        there = rank.gather(1, best.unsqueeze(1)) > 0
        pick = candidates[torch.arange(len(best), device=best.device), best]
        chosen.append(torch.where(there, pick, mean))
        confirmed.append(there.squeeze(1) & (agreeing.gather(1, best.unsqueeze(1)).squeeze(1) > 1))
        claimed = alike.gather(1, best.view(-1, 1, 1).expand(-1, 1, alike.shape[2])).squeeze(1)
        rank = rank.masked_fill(claimed, -1.0).scatter(1, best.unsqueeze(1), -1.0)
    return Found(torch.stack(chosen, 1), 1 - torch.stack(confirmed, 1).double().mean(1))


def _pixels_to_inputs(view: HorizontalView) -> tuple[str, Tensor, Tensor]:
    """Name of the first linear layer and the pixelwise ``input = scale * pixel + shift``, shape ``(P,)`` each."""
    like = next(view.model.parameters())
    with torch.no_grad():
        images = probes(view.image_shape).to(like)
        black, white = torch.zeros_like(images[:1]), torch.ones_like(images[:1])
        name, entered = next(iter(inputs(view.model, torch.cat([black, white, images])).items()))
    pixels, entered = images.flatten(1).double(), entered.double()
    shift, scale = entered[0], entered[1] - entered[0]
    straight = entered.shape[1] == pixels.shape[1]
    if not straight or not torch.allclose(entered[2:], pixels * scale + shift, rtol=1e-4, atol=1e-4):
        raise SkipCell(
            f"{type(view.model).__name__} does not begin with a linear layer: {name} does not see the pixels"
        )
    layer = view.model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    if layer.bias is None:
        raise SkipCell(f"the first layer, {name}, has no bias")
    return name, scale, shift


def _units(view: HorizontalView, seen: SeenRound, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    known = readable(seen.observed)
    values = seen.observed.values.double().nan_to_num(0, 0, 0) * known
    noise = torch.where(known, seen.observed.noise.double().nan_to_num(), 0.0)
    gradients, readings, noises = (view.layout.views(flat) for flat in (values, known, noise))
    has_bias = readings[f"{name}.bias"]
    entries = readings[f"{name}.weight"] & has_bias.unsqueeze(2)
    doubt = torch.maximum(noises[f"{name}.weight"].amax(2), noises[f"{name}.bias"])
    return gradients[f"{name}.weight"] * entries, gradients[f"{name}.bias"], entries, doubt


def _strongest(units: Units) -> Units:
    """The units with the largest bias gradients, for which rounding and noise matter least."""
    if units.bias.shape[1] <= _UNITS:
        return units
    kept = units.bias.abs().topk(_UNITS, dim=1).indices
    wide = kept.unsqueeze(2).expand(-1, -1, units.weight.shape[2])
    return Units(
        units.weight.gather(1, wide),
        units.bias.gather(1, kept),
        units.known.gather(1, wide),
        units.doubt.gather(1, kept),
    )


def _candidates(units: Units) -> tuple[Tensor, Tensor, Tensor]:
    """Each unit's quotient, whether it is one, and how far noise and rounding may move its pixels.

    A unit whose image is not wholly known is left out: entries that were not sent read 0.
    """
    largest = units.bias.abs().amax(1, keepdim=True)
    usable = units.known.all(2) & (units.bias.abs() > 1e-5 * largest) & (largest > 0)
    divisor = torch.where(usable, units.bias, 1.0)
    candidates = torch.where(usable.unsqueeze(2), units.weight / divisor.unsqueeze(2), 0.5)
    # The quotient of two noisy numbers, the pixel being at most 1; two candidates differ by both their errors.
    tolerance = _ROUNDING + 2 * units.doubt / divisor.abs()
    return candidates, usable & (tolerance < 0.1), tolerance


def _mean(candidates: Tensor, usable: Tensor) -> Tensor:
    """Mean over the usable candidates, or grey where there is none, shape ``(V, P)``."""
    weight = usable.unsqueeze(2).to(candidates)
    count = weight.sum(1)
    return torch.where(count > 0, (candidates * weight).sum(1) / count.clamp(min=1), 0.5)
