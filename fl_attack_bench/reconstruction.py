"""Scores what an attack returned against the truth, which no attack ever sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fl_attack_bench import metrics
from fl_attack_bench.api import Certificate, Reconstruction
from fl_attack_bench.errors import UserError
from fl_attack_bench.representation import inputs
from fl_attack_bench.scenarios.horizontal import Samples

# Images of uniform noise that stand for a guess which saw no gradient.
_PROBES = 64


@dataclass(frozen=True)
class Truth:
    """The victims as they are.

    Args:
        images: shape ``(V, B, C, H, W)``, in [0, 1].
        labels: shape ``(V, B)``.
        ids: of the samples, victim by victim.
        classes: K, how many labels there are.
    """

    images: Tensor
    labels: Tensor
    ids: Sequence[int]
    classes: int

    @classmethod
    def of(cls, victims: Sequence[Samples], ids: Sequence[int], classes: int) -> "Truth":
        """From each victim's samples."""
        images, labels = (torch.stack([getattr(v, name) for v in victims]) for name in ("images", "labels"))
        return cls(images, labels, ids, classes)


def check(found: Reconstruction, truth: Truth) -> Reconstruction:
    """The reconstruction, if it is of the form that the contract asks for.

    Raises:
        UserError: the attack broke its contract.
    """
    victims, batch = truth.labels.shape
    _expect("images", found.images, tuple(truth.images.shape))
    _expect("labels", found.labels, (victims, batch))
    for name in ("objective", "iterations", "diverged"):
        _expect(name, getattr(found, name), (victims,))
    if found.images is not None and not bool(found.images.isfinite().all()):
        raise UserError("the attack returned pixels that are infinite or NaN")
    if found.labels is not None and not bool(((found.labels >= 0) & (found.labels < truth.classes)).all()):
        raise UserError(f"the attack returned labels outside 0 to {truth.classes - 1}")
    for layer, inferred in found.representations.items():
        _expect(f"representations of {layer}", inferred[..., 0], (victims, truth.classes))
    return found


def _expect(what: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    if tensor is not None and tuple(tensor.shape) != shape:
        raise UserError(f"the attack returned {what} of shape {tuple(tensor.shape)} instead of {shape}")


def ordered(found: Reconstruction, truth: Truth) -> Tensor | None:
    """The reconstructed images in the order of the originals, shape ``(V * B, C, H, W)``; None where there are none."""
    if found.images is None:
        return None
    order = metrics.match(found.images.clamp(0, 1), truth.images).to(found.images.device)
    return _rows(found.images, order).flatten(0, 1)


def score(
    moment: str, found: Reconstruction, truth: Truth, model: nn.Module, certificate: Certificate | None
) -> dict[str, Any]:
    """One moment of a record.

    Args:
        moment: which.
        found: a checked reconstruction.
        truth: what it is of.
        model: the network that the victims had, in evaluation mode: true representations are its.
        certificate: the defense's, over all samples, victim by victim.
    """
    accuracy = None if found.labels is None else float(metrics.label_accuracy(found.labels, truth.labels).mean())
    return {
        "moment": moment,
        "victims": _images(found, truth, certificate),
        "label_accuracy": accuracy,
        **_representations(found.representations, truth, model),
        "curve": list(found.curve),
    }


def _images(found: Reconstruction, truth: Truth, certificate: Certificate | None) -> list[dict[str, Any]]:
    raw, originals = ordered(found, truth), truth.images.flatten(0, 1)
    if raw is None or found.images is None:
        return []
    images, largest = raw.clamp(0, 1), torch.finfo(raw.dtype).max
    error, error_raw = metrics.mse(images, originals), metrics.mse(raw, originals)
    decibels, likeness = metrics.psnr(images, originals), metrics.ssim(images, originals)
    labels, inferred = truth.labels.flatten(), None
    if found.labels is not None:
        order = metrics.match(found.images.clamp(0, 1), truth.images).to(found.labels.device)
        inferred = found.labels.gather(1, order).flatten()
    bounds = _certified(raw, originals, certificate)
    batch = truth.labels.shape[1]
    return [
        {
            "victim": truth.ids[row],
            "mse": float(error[row]),
            "mse_raw": float(error_raw[row].clamp(max=largest)),
            "psnr": float(decibels[row]) if error[row] > 0 else None,
            "ssim": float(likeness[row]),
            "label": int(labels[row]),
            "label_recovered": None if inferred is None else int(inferred[row]),
            "objective": float(found.objective[row // batch].nan_to_num(posinf=largest)),
            "iterations": int(found.iterations[row // batch]),
            "diverged": bool(found.diverged[row // batch]),
            "certified": bounds[row] if bounds else None,
        }
        for row in range(len(originals))
    ]


@torch.no_grad()
def _certified(raw: Tensor, originals: Tensor, certificate: Certificate | None) -> list[dict[str, Any] | None]:
    """Each image's bound beside its measured distance; None where the bound is no number."""
    if certificate is None:
        return []
    distance = (raw - originals).flatten(1).norm(dim=1)
    missed = (certificate.extract(raw) - certificate.representation).norm(dim=1)
    residual = missed / certificate.change
    return [
        {
            "bound": float(certificate.bound[row]),
            "distance": float(distance[row].nan_to_num()),
            "residual": float(residual[row]) if bool(residual[row].isfinite()) else None,
        }
        if bool(certificate.bound[row].isfinite())
        else None
        for row in range(len(raw))
    ]


@torch.no_grad()
def _representations(found: Mapping[str, Tensor], truth: Truth, model: nn.Module) -> dict[str, Any]:
    """Correlation of each layer's inferred class-wise representations with the true means, over classes present.

    Beside it that of a blind guess, the mean representation of noise, over the same classes.
    """
    if not found:
        return {}
    present = torch.nn.functional.one_hot(truth.labels, truth.classes).to(truth.images)  # (V, B, K)
    counts = present.sum(1)
    true = inputs(model, truth.images.flatten(0, 1))
    noise = torch.rand(_PROBES, *truth.images.shape[2:], generator=torch.Generator().manual_seed(0))
    guess = {layer: each.mean(0) for layer, each in inputs(model, noise.to(truth.images)).items()}
    correlations, blind, shares = {}, {}, []
    for layer, inferred in found.items():
        each = true[layer].unflatten(0, truth.labels.shape)
        mean = torch.einsum("vbk,vbl->vkl", present, each) / counts.clamp(min=1).unsqueeze(2)
        told = (counts > 0) & inferred.isfinite().all(2)
        if bool(told.any()):
            correlations[layer] = float(metrics.correlation(inferred[told], mean[told]).abs().mean())
            blind[layer] = float(metrics.correlation(guess[layer].expand_as(mean[told]), mean[told]).abs().mean())
        shares.append(float(told.sum() / (counts > 0).sum()))
    return {"correlations": correlations, "blind": blind, "classes_found": min(shares)}


def _rows(images: Tensor, order: Tensor) -> Tensor:
    return images[torch.arange(len(images), device=images.device).unsqueeze(1), order]
