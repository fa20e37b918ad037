"""How strongly each feature of a representation hangs on the image: the row norms of its Jacobian."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fl_attack_bench.representation import chain, layers
from fl_attack_bench.representation.backward import Backward

# Pairs of sample and feature that the general way takes at once: each holds every activation's gradient.
CHUNK = 256


@dataclass(frozen=True)
class RowNorms:
    """A representation with the norms of its gradients.

    Args:
        representation: r, shape ``(B, L)``.
        norms: ``||d r_i / dX||_2``, per pixel unit, shape ``(B, L)``.
    """

    representation: Tensor
    norms: Tensor


@torch.no_grad()
def row_norms(model: nn.Module, layer: str, images: Tensor) -> RowNorms:
    """``||d r_i / dX||_2`` of every feature of every sample.

    Batch norm in training mode normalises with the batch's statistics, which count as constants here: a sample's
    features are then functions of that sample. Running statistics are left alone.

    Args:
        model: in either mode.
        layer: the fully connected layer that r enters; :func:`linear_layers` lists the legal ones.
        images: shape ``(B, C, H, W)``.

    Raises:
        SkipCell: active dropout.
    """
    found = chain.trace(model, layer, images)
    if found is None:
        return general_row_norms(model, layer, images)
    return RowNorms(found.representation, Backward(found, images).norms())


def general_row_norms(model: nn.Module, layer: str, images: Tensor) -> RowNorms:
    """The same for any network whose samples do not influence each other, by batched vector-Jacobian products."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        representation = layers.entering(layers.steady(model, images), layer, leaf)

    def product(cotangents: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(representation, leaf, cotangents, retain_graph=True)
        norms: Tensor = gradient.flatten(1).norm(dim=1)
        return norms

    batch, features = representation.shape
    unit = torch.eye(features, dtype=images.dtype, device=images.device)
    columns = [
        torch.func.vmap(product)(some.unsqueeze(1).expand(-1, batch, -1)) for some in unit.split(max(1, CHUNK // batch))
    ]
    return RowNorms(representation.detach(), torch.cat(columns).T)
