"""Holds what the attacks on vertical and outsourced tasks return against the truth."""

from typing import Any

import torch
from torch import Tensor

from fl_attack_bench.api import LabelAttack
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import Method


def score_labels(attack: LabelAttack, found: Tensor, labels: Tensor, known: Tensor) -> dict[str, Any]:
    """Share of labels found, over the samples whose label the attack did not know.

    Args:
        attack: for the error's name.
        found: what it returned, shape ``(N,)``, int64.
        labels: the truth, shape ``(N,)``.
        known: ids of the samples whose label it knew.

    Raises:
        UserError: what it returned is no label for each sample.
    """
    if not isinstance(found, Tensor) or found.shape != labels.shape or found.dtype != torch.int64:
        asked = f"int64 labels of shape {tuple(labels.shape)}"
        raise UserError(f"{attack.card.title}: infer must return {asked}, not {_shown(found)}")
    unknown = torch.ones(len(labels), dtype=torch.bool).index_fill(0, known, False)
    if not bool(unknown.any()):
        raise UserError(f"{attack.card.title}: it knows all {len(labels)} labels: lower known")
    truth = labels[unknown]
    return {
        "accuracy": float((found.cpu()[unknown] == truth).double().mean()),
        "majority": float(truth.bincount().max()) / len(truth),
        "samples": len(truth),
        "known": len(known),
    }


def score_features(attack: Method, found: Tensor, truth: Tensor, known: Tensor) -> list[dict[str, Any]]:
    """Mean squared error of each victim's features, beside that of the mean of some other samples.

    Args:
        attack: for the error's name.
        found: what it returned, shape ``(V, D)``.
        truth: shape ``(V, D)``, in [0, 1].
        known: features of these others, shape ``(T, D)``; a grey guess of 0.5 where there are none.

    Raises:
        UserError: what it returned is not finite, or of another shape.
    """
    if not isinstance(found, Tensor) or found.shape != truth.shape or not found.is_floating_point():
        asked = f"numbers of shape {tuple(truth.shape)}"
        raise UserError(f"{attack.card.title}: reconstruct must return {asked}, not {_shown(found)}")
    found = found.detach().cpu().double()
    if not bool(found.isfinite().all()):
        raise UserError(f"{attack.card.title}: reconstruct returned infinity or NaN")
    exact = truth.double()
    guess = known.double().mean(0) if len(known) else torch.full_like(exact[0], 0.5)
    clipped = (found.clamp(0, 1) - exact).square().mean(1)
    raw = (found - exact).square().mean(1)
    blind = (guess - exact).square().mean(1)
    return [
        {"victim": victim, "mse": float(one), "mse_raw": float(other), "blind": float(third)}
        for victim, (one, other, third) in enumerate(zip(clipped, raw, blind, strict=True))
    ]


def _shown(found: object) -> str:
    return f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
