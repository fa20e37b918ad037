"""Metrics against direct formulas and scikit-image."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_assignment_is_the_best_of_all(victims: int, batch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, originals = torch.rand(2, victims, batch, 1, 3, 3, generator=generator)
    found = metrics.match(images, originals)
    for v in range(victims):

        def total(order: tuple[int, ...], v: int = v) -> float:
            return float(metrics.mse(images[v][list(order)], originals[v]).sum())

        best = min(total(order) for order in permutations(range(batch)))
        assert sorted(found[v].tolist()) == list(range(batch))
        assert total(tuple(found[v].tolist())) == pytest.approx(best, rel=1e-5)


def test_labels_count_as_a_multiset() -> None:
    labels = torch.tensor([[1, 1, 2, 3], [0, 0, 0, 0]])
    inferred = torch.tensor([[3, 1, 2, 2], [0, 0, 9, 9]])
    assert metrics.label_accuracy(inferred, labels).tolist() == [0.75, 0.5]
    assert metrics.label_accuracy(labels.flip(1), labels).tolist() == [1.0, 1.0]


def test_correlation_agrees_with_numpy_and_knows_no_scale() -> None:
    one, other = torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(1))
    wanted = [np.corrcoef(a.numpy(), b.numpy())[0, 1] for a, b in zip(one, other, strict=True)]
    assert metrics.correlation(one, other).tolist() == pytest.approx(wanted, abs=1e-6)
    assert metrics.correlation(one, -3 * one + 2).tolist() == pytest.approx([-1.0] * 5)
    assert metrics.correlation(torch.ones(1, 4), torch.rand(1, 4)).tolist() == [0.0]
