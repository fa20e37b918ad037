"""How good a reconstruction is, one value an image in [0, 1]; a defense wants MSE high, PSNR and SSIM low."""

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


def _blur(images: Tensor) -> Tensor:
    """Weighted means under the Gaussian window, without padding."""
    place = torch.arange(_WINDOW, dtype=images.dtype, device=images.device) - _WINDOW // 2
    weights = torch.exp(-(place**2) / (2 * _SIGMA**2))
    weights = (weights / weights.sum()).view(1, 1, 1, -1)
    single = images.flatten(0, 1).unsqueeze(1)
    blurred = F.conv2d(F.conv2d(single, weights), weights.transpose(2, 3))
    return blurred.view(*images.shape[:2], *blurred.shape[-2:])
