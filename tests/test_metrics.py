"""Metrics against direct formulas and scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fl_attack_bench import metrics


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    originals = torch.rand(4, 3, 20, 24, generator=generator)
    return (originals + 0.2 * torch.randn(originals.shape, generator=generator)).clamp(0, 1), originals


def test_mse_is_the_mean_over_all_pixels(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, originals = pair
    wanted = [np.mean((images[n].numpy() - originals[n].numpy()) ** 2) for n in range(4)]
    assert metrics.mse(images, originals).tolist() == pytest.approx(wanted)


def test_psnr_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, originals = pair
    wanted = [
        peak_signal_noise_ratio(o.numpy(), i.numpy(), data_range=1) for i, o in zip(images, originals, strict=True)
    ]
    assert metrics.psnr(images, originals).tolist() == pytest.approx(wanted, rel=1e-4)
    assert metrics.psnr(images, images).tolist() == [float("inf")] * 4


def test_ssim_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, originals = pair
    for image, original, found in zip(images, originals, metrics.ssim(images, originals), strict=True):
        _, likeness = structural_similarity(
            original.double().numpy(),
            image.double().numpy(),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        # Only where the window lies inside the image: scikit-image pads before it averages.
        assert float(found) == pytest.approx(likeness[:, 5:-5, 5:-5].mean(), rel=1e-6)


def test_ssim_of_an_image_with_itself_is_one(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert metrics.ssim(pair[0], pair[0]).tolist() == pytest.approx([1.0] * 4)
