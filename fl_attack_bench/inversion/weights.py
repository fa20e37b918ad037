"""How much an adaptive adversary trusts each entry of what it observed, each round, and its prior beside them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fl_attack_bench.api import HorizontalView, Observation
from fl_attack_bench.update import Layout

# The median absolute deviation of the standard normal distribution.
_NORMAL_MAD = 0.6744897501960817
# A typical difference between neighbouring pixels of natural images in [0, 1].
_NEIGHBOURS = 0.05
# How well a reconstruction that is under way fits the signal, in squares.
_SOFT = 0.01


def entry_weights(observed: Observation) -> Tensor | None:
    """Weights for a sum of squared differences to the observed entries.

    ``w = (s^2 + sigma_min^2) / (s^2 + sigma^2)``: inverse variance, softened by ``s^2``, a hundredth of the signal's
    mean square over the victim's known entries, because no reconstruction fits exact entries exactly while it is being
    looked for. 0 where the true value is not known (infinite noise), 1 where the noise is the victim's smallest; noise
    that is not stated (NaN) counts as none.

    Returns:
        Shape ``(V, n)``, the largest of a row being 1 unless nothing is known of that victim; None where all are 1.
    """
    variance = _variance(observed)
    known = variance.isfinite()
    least = variance.amin(-1, keepdim=True)
    if bool((variance == least).all() & known.all()):
        return None
    _, signal = _powers(observed.values, variance)
    soft = _SOFT * signal.nan_to_num(0.0, 0.0, 0.0).unsqueeze(-1)
    weights = (soft + least) / (soft + variance)
    # 0/0: no signal, and exact entries. inf/inf: nothing is known of this victim.
    return torch.where(known, weights.nan_to_num(1.0), 0.0)


def round_shares(rounds: Sequence[Observation]) -> Tensor:
    """How much each round counts for each victim.

    Proportional to ``1 / (1 + r)``, r being the noise's variance over the signal's mean square: rounds with loud noise
    count by their signal-to-noise ratio, as maximum likelihood wants for angles, and exact rounds alike.

    Returns:
        Shape ``(R, V)``; columns sum to 1.
    """
    shares = []
    for observed in rounds:
        variance = _variance(observed)
        power, signal = _powers(observed.values, variance)
        # 1 / (1 + r) with r = noise / signal
        shares.append((signal / power).nan_to_num(0.0, 0.0, 0.0) * variance.isfinite().any(-1))
    stacked = torch.stack(shares)
    total = stacked.sum(0)
    return torch.where(total > 0, stacked / total, 1 / len(rounds))


def prior_weight(rounds: Sequence[Observation], shares: Tensor, pixels: int) -> Tensor:
    """What noise adds to the weight of the mean total variation beside ``sum of shares * (1 - cos)``.

    For independent normal noise the log-likelihood is ``-|f| |g| (1 - cos) / sigma^2`` plus a constant, and for
    differences between neighbouring pixels that follow a Laplace distribution of scale b the prior's is
    ``-pixels / b * TV``: the most probable image weighs TV by ``pixels sigma^2 / (b |f| |g|)``.

    Args:
        rounds: as they were observed.
        shares: of the rounds, shape ``(R, V)``.
        pixels: numbers that make up a victim's images.

    Returns:
        Shape ``(V,)``, at most 1; 0 without noise.
    """
    total = torch.zeros_like(shares[0])
    for observed, share in zip(rounds, shares, strict=True):
        variance = _variance(observed)
        known = variance.isfinite()
        power, signal = _powers(observed.values, variance)
        angle = _mean(variance, known) / (known.sum(-1) * (power * signal).sqrt())
        total = total + share * angle.nan_to_num(0.0, 0.0, 0.0) / max(1, len(rounds))
    return (pixels / _NEIGHBOURS * total).clamp(max=1)


def estimate_noise(values: Tensor, layout: Layout) -> Tensor:
    """The standard deviation of independent noise from repeated observations of one gradient.

    ``median |d - median d| / (0.6745 sqrt 2)`` over a layer's differences d between successive rounds: exact for normal
    noise, and hardly moved by the few entries whose true value changed. Where all changed, because the model went on
    learning, the change counts as noise too.

    Args:
        values: shape ``(R, V, n)``.
        layout: names the layers.

    Returns:
        Shape ``(V, n)``, one number for each parameter tensor; zeros where R is 1.
    """
    estimate = torch.zeros_like(values[0])
    if len(values) == 1:
        return estimate
    differences = values.diff(dim=0)
    for place in layout.slices.values():
        layer = differences[..., place].transpose(0, 1).flatten(1)
        spread = (layer - layer.median(1, keepdim=True).values).abs().median(1, keepdim=True).values
        estimate[:, place] = spread / (_NORMAL_MAD * 2**0.5)
    return estimate


def stated(view: HorizontalView) -> tuple[Observation, ...]:
    """The view's observations with noise that is not stated (NaN) estimated from the differences between rounds."""
    rounds = tuple(seen.observed for seen in view.rounds)
    if not any(bool(observed.noise.isnan().any()) for observed in rounds):
        return rounds
    estimate = estimate_noise(torch.stack([observed.values for observed in rounds]), view.layout)
    return tuple(replace(o, noise=torch.where(o.noise.isnan(), estimate.to(o.noise), o.noise)) for o in rounds)


def _variance(observed: Observation) -> Tensor:
    return observed.noise.nan_to_num(nan=0.0, posinf=torch.inf).square()


def _powers(values: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares over the known entries of each row: of what was observed, and of the signal in it.

    The signal's is at least a hundredth, because where noise drowns it the difference of the two means little.
    """
    known = variance.isfinite()
    power = _mean(values.square(), known)
    return power, torch.maximum(power - _mean(variance, known), power / 100)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Means over the known entries of each row; 0 where there is none."""
    return torch.where(known, values, 0.0).sum(-1) / known.sum(-1).clamp(min=1)
