"""How good a reconstruction is: of images (a defense wants MSE high, PSNR and SSIM low), labels, representations."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor

SMALLEST = _WINDOW = 11
_SIGMA = 1.5


def mse(images: Tensor, originals: Tensor) -> Tensor:
    """Mean squared error over the pixels: ``mean((x - y)^2)``, lower is a better reconstruction.

    Args:
        images: shape ``(N, C, H, W)``.
        originals: the same shape.

    Returns:
        Shape ``(N,)``.
    """
    return (images - originals).square().flatten(1).mean(1)


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, ``-10 log10 MSE`` decibels for pixels in [0, 1]; infinite where the error is zero."""
    return -10 * mse(images, originals).log10()


def ssim(images: Tensor, originals: Tensor) -> Tensor:
    """Mean structural similarity in [-1, 1] (Wang et al. 2004), higher is a better reconstruction.

    A Gaussian window of 11 pixels and standard deviation 1.5, ``K1 = 0.01``, ``K2 = 0.03``, over the places where the
    window lies inside the image, averaged over channels.

    Args:
        images: shape ``(N, C, H, W)`` with H and W at least 11.
        originals: the same shape.

    Returns:
        Shape ``(N,)``.
    """
    x, y = images.double(), originals.double()
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (likeness / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))).flatten(1).mean(1)


def match(images: Tensor, originals: Tensor) -> Tensor:
    """Which reconstruction stands for which original: the assignment of least total MSE.

    An update of several samples is a sum, which has no order, so neither has what is reconstructed from it.

    Args:
        images: reconstructions, shape ``(V, B, C, H, W)``.
        originals: the same shape.

    Returns:
        Shape ``(V, B)``: ``images[v, match[v, b]]`` belongs to ``originals[v, b]``.
    """
    from scipy.optimize import linear_sum_assignment

    if images.shape[1] == 1:
        return torch.zeros(images.shape[:2], dtype=torch.int64)
    flat, true = images.flatten(2).double(), originals.flatten(2).double()
    costs = torch.cdist(true, flat).square().cpu().numpy()
    return torch.from_numpy(np.stack([linear_sum_assignment(cost)[1] for cost in costs]))


def label_accuracy(inferred: Tensor, labels: Tensor) -> Tensor:
    """Share of labels inferred rightly, whatever their order: ``sum_k min(count_k, inferred count_k) / B``.

    Args:
        inferred: shape ``(V, B)``, int64.
        labels: the same shape.

    Returns:
        Shape ``(V,)``, in [0, 1]; a defense wants it low.
    """
    classes = int(max(inferred.max(), labels.max())) + 1
    counts = [torch.nn.functional.one_hot(found, classes).sum(1) for found in (inferred, labels)]
    return torch.minimum(*counts).sum(1) / labels.shape[1]


def correlation(inferred: Tensor, true: Tensor) -> Tensor:
    """Pearson's correlation coefficient along the last axis, in [-1, 1]; 0 where one of them does not vary.

    Source: the measure of Soteria's Table 1.
    """
    x, y = (part.double() - part.double().mean(-1, keepdim=True) for part in (inferred, true))
    size = (x.square().sum(-1) * y.square().sum(-1)).sqrt()
    return torch.where(size > 0, (x * y).sum(-1) / size.clamp(min=torch.finfo(torch.float64).tiny), 0.0).clamp(-1, 1)


def _blur(images: Tensor) -> Tensor:
    """Weighted means under the Gaussian window, without padding."""
    place = torch.arange(_WINDOW, dtype=images.dtype, device=images.device) - _WINDOW // 2
    weights = torch.exp(-(place**2) / (2 * _SIGMA**2))
    weights = (weights / weights.sum()).view(1, 1, 1, -1)
    single = images.flatten(0, 1).unsqueeze(1)
    blurred = F.conv2d(F.conv2d(single, weights), weights.transpose(2, 3))
    return blurred.view(*images.shape[:2], *blurred.shape[-2:])
