"""The largest singular value of a representation's Jacobian, without forming the Jacobian."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fl_attack_bench.representation import layers

# Of the squared singular value: where the iteration stops.
TOLERANCE = 1e-3
# Further steps for which the estimate must hold: one that settled on the second largest eigenvalue, because the start
# had hardly any of the largest one's vector, leaves it by then.
STEADY = 2


def spectral_norm(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """``||dr/dX||_2`` of each sample, shape ``(B,)``, from above by at most ``TOLERANCE / 2`` of itself.

    Lanczos' iteration on ``J J^T`` with full reorthogonalisation, all samples at once: a vector-Jacobian product is one
    backward pass, a Jacobian-vector product one through that pass's own graph. Batch norm's batch statistics count as
    constants.

    Args:
        model: in either mode.
        layer: the fully connected layer that r enters.
        images: shape ``(B, C, H, W)``.

    Raises:
        SkipCell: active dropout.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        representation = layers.entering(layers.steady(model, images), layer, leaf)
        cotangent = torch.zeros_like(representation, requires_grad=True)
        (pulled,) = torch.autograd.grad(representation, leaf, cotangent, create_graph=True)

    def gram(vectors: Tensor) -> Tensor:
        (pixels,) = torch.autograd.grad(representation, leaf, vectors, retain_graph=True)
        return torch.autograd.grad(pulled, cotangent, pixels, retain_graph=True)[0]

    return largest_eigenvalue(gram, _start(representation)).sqrt()


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The largest eigenvalue of symmetric positive matrices, one a row, plus the residual of its estimate.

    The residual bounds how far the estimate is from an eigenvalue, so that the sum is not below the one it is after.

    Args:
        product: ``(B, L)`` to ``(B, L)``: each matrix times its vector.
        start: shape ``(B, L)``, with a part along the eigenvector.

    Returns:
        Shape ``(B,)``; infinite where a product was not finite.
    """
    vector = start / start.norm(dim=1, keepdim=True)
    basis = vector.unsqueeze(1)
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    lost = torch.zeros_like(start[:, 0], dtype=torch.bool)
    held = 0
    while True:
        image = product(vector)
        # One matrix that is not finite must not stop the others.
        lost = lost | ~(image.isfinite().all(1) & image.square().sum(1).isfinite())
        image = image.masked_fill(lost.unsqueeze(1), 0)
        diagonal.append((vector * image).sum(1))
        for _ in range(2):  # rounding leaves a part along earlier vectors the first time
            image = image - ((basis @ image.unsqueeze(2)) * basis).sum(1)
        length = image.norm(dim=1)
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
        found, residual = values[:, -1].clamp(min=0), length * vectors[:, -1, -1].abs()
        held = held + 1 if bool((residual <= TOLERANCE * found).all()) else 0
        if len(diagonal) == start.shape[1] or held > STEADY:
            bound: Tensor = (found + residual).masked_fill(lost, torch.inf)
            return bound
        beside.append(length)
        vector = image / length.clamp(min=torch.finfo(length.dtype).tiny).unsqueeze(1)
        basis = torch.cat([basis, vector.unsqueeze(1)], dim=1)


def _tridiagonal(diagonal: list[Tensor], beside: list[Tensor]) -> Tensor:
    matrix: Tensor = torch.diag_embed(torch.stack(diagonal, dim=1))
    if beside:
        off = torch.stack(beside, dim=1)
        matrix = matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    return matrix


def _start(like: Tensor) -> Tensor:
    """Positive numbers without a pattern, always the same: multiples of the golden ratio, modulo 1."""
    numbers = torch.arange(1, like.shape[1] + 1, dtype=torch.float64, device=like.device)
    return (0.5 + (numbers * 0.6180339887498949) % 1).to(like.dtype).expand_as(like)
