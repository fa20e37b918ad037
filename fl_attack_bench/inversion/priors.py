"""What is known of natural images before anything was observed."""

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Anisotropic total variation: ``mean |x[i+1, j] - x[i, j]| + mean |x[i, j+1] - x[i, j]|`` (Geiping et al. 2020).

    Args:
        images: shape ``(A, B, C, H, W)``.

    Returns:
        Shape ``(A,)``, in pixel units: the means run over all B images and their channels.
    """
    down = images.diff(dim=-2).abs().flatten(1)
    across = images.diff(dim=-1).abs().flatten(1)
    return _mean(down) + _mean(across)


def _mean(rows: Tensor) -> Tensor:
    """Means along the rows; 0 where a picture of one pixel's height or width has no neighbours."""
    return rows.mean(1) if rows.shape[1] else torch.zeros_like(rows.sum(1))
