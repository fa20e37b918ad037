"""Recovering a first layer from what comes out of it."""

import pytest
import torch
from torch import Tensor

from fl_attack_bench.data import datasets
from fl_attack_bench.inversion import first_layer
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.inversion.moments import fit_moments
from fl_attack_bench.models import stack
from fl_attack_bench.tasks.outsourced import Layer


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Digits of 8 by 8 with something of a texture, float64."""
    data = datasets.load("digits", tmp_path_factory.mktemp("data"))
    small = torch.nn.functional.avg_pool2d(data.x_train[:1000].double(), 2)
    noise = torch.rand(small.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return (small * (0.5 + 0.5 * noise)).clamp(0, 1)


def layer(images: Tensor, seed: int = 0, **sizes: int) -> tuple[stack.PlannedLayer, Tensor, Tensor, Tensor]:
    """A layer, its weights, and what it makes of the images."""
    shape = (1, *images.shape[2:])
    kind = "convolution" if "kernel" in sizes else "dense"
    planned = stack.plan([Layer(kind=kind, **sizes)], shape)[0]
    matrix, bias = stack.initial([planned], torch.Generator().manual_seed(seed))
    return planned, matrix, bias, stack.linear(planned, images, matrix, bias)


def test_the_operator_is_the_layer(images: Tensor):
    for sizes in ({"kernel": 4, "stride": 2}, {}):
        planned, matrix, bias, values = layer(images[:5], outputs=3, **sizes)
        known = first_layer.FirstLayer(planned, matrix, bias)
        made = images[:5].flatten(1) @ known.operator + known.offset
        torch.testing.assert_close(made, values.flatten(1))
        by_place = first_layer.patches(planned, images[:5]) @ torch.cat([matrix, bias.unsqueeze(0)])
        torch.testing.assert_close(by_place, first_layer.by_place(planned, values))


def test_one_image_gives_the_filters_of_a_convolution(images: Tensor):
    planned, matrix, bias, values = layer(images, outputs=4, kernel=4, stride=1)
    found = first_layer.fit(planned, images[:1], values[:1], GaussianPrior.of(images[:1], planned.inputs))
    torch.testing.assert_close(found.matrix, matrix, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.bias, bias, atol=1e-6, rtol=0)
    again = found.invert(values[1:20], GaussianPrior.of(images[:1], planned.inputs))
    torch.testing.assert_close(again, images[1:20], atol=1e-4, rtol=0)


def test_a_dense_layer_takes_as_many_pairs_as_it_has_unknowns():
    images = torch.rand(600, 1, 14, 14, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    planned, matrix, bias, values = layer(images, outputs=5)
    prior = GaussianPrior.of(images[-100:], planned.inputs)
    errors = []
    for count in (30, 220):
        found = first_layer.fit(planned, images[:count].flatten(1), values[:count], prior)
        errors.append(float((found.matrix - matrix).abs().max()))
        # with fewer pairs the fit is exact on what it has seen, and says how far off it is elsewhere
        torch.testing.assert_close(found.apply(images[:count].flatten(1)), values[:count], atol=1e-8, rtol=0)
        off = float((found.apply(images[300:]) - values[300:]).square().mean())
        assert off / 4 <= found.noise <= 4 * off + 1e-9
    assert errors[0] > 1e-2
    assert errors[1] < 1e-6
    torch.testing.assert_close(found.bias, bias, atol=1e-6, rtol=0)


def test_noise_on_the_values_is_estimated_and_damps_the_fit(images: Tensor):
    planned, matrix, _, values = layer(images, outputs=4, kernel=3, stride=1)
    blurred = values + 0.2 * torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior = GaussianPrior.of(images[500:], planned.inputs)
    found = first_layer.fit(planned, images[:4], blurred[:4], prior)
    assert 0.03 < found.noise < 0.06
    plain = torch.linalg.lstsq(
        first_layer.patches(planned, images[:4]).flatten(0, 1),
        first_layer.by_place(planned, blurred[:4]).flatten(0, 1),
    ).solution
    assert (found.matrix - matrix).norm() < (plain[:-1] - matrix).norm()
    truth = images[10:40]
    inverted = found.invert(blurred[10:40], prior)
    assert (inverted - truth).square().mean() < 0.8 * (images[500:].mean(0) - truth).square().mean()


def test_the_right_rows_are_found_among_200(images: Tensor):
    planned, _, _, values = layer(images, outputs=4, kernel=4, stride=2)
    rows = torch.tensor([199, 3, 77, 120])
    assert torch.equal(first_layer.link(planned, images[rows], values[:200]), rows)
    assert torch.equal(first_layer.link(planned, images[rows[:1]], values[:200]), rows[:1])
    left_over = first_layer.residuals(planned, images[rows], values[:200])
    right = left_over[torch.arange(4), rows]
    assert (right < 1e-20).all()
    left_over[torch.arange(4), rows] = 1
    assert (left_over > 1e-4).all()


def test_filters_are_found_from_moments_and_better_from_more_samples(images: Tensor):
    planned, matrix, bias, values = layer(images, outputs=2, kernel=3, stride=1)
    prior = GaussianPrior.of(images[500:], planned.inputs)
    errors = []
    for count in (20, 500):
        found = fit_moments(planned, prior, 500, values[:count])
        errors.append(float((found.matrix - matrix).norm() / matrix.norm()))
    assert errors[1] < 0.7 * errors[0]
    assert errors[1] < 0.2
    torch.testing.assert_close(found.bias, bias, atol=0.05, rtol=0)


def test_moments_of_normal_images_give_the_filters_to_sampling_error():
    """Where the model is true: images drawn from the prior itself."""
    rng = torch.Generator().manual_seed(3)
    shape = (1, 7, 7)
    root = torch.randn(49, 49, generator=rng, dtype=torch.float64)
    mean = torch.randn(49, generator=rng, dtype=torch.float64)
    drawn = torch.randn(40_000, 49, generator=rng, dtype=torch.float64) @ root / 7 + mean
    images = drawn.reshape(-1, *shape)
    planned, matrix, bias, values = layer(images, outputs=2, kernel=3, stride=2)
    prior = GaussianPrior(shape, mean, root.T @ root / 49)
    found = fit_moments(planned, prior, 10**9, values)
    torch.testing.assert_close(found.matrix, matrix, atol=0.02, rtol=0)
    torch.testing.assert_close(found.bias, bias, atol=0.05, rtol=0)
