"""Analytic inversion: exact where it must be, and of a batch exactly the images that a unit saw alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from views import attack, only, precise, view_of

from fl_attack_bench import metrics, models
from fl_attack_bench.api import HorizontalView, Observation, SkipCell
from fl_attack_bench.inversion import analytic
from fl_attack_bench.scenarios.horizontal import Samples
from fl_attack_bench.seeds import Streams


@pytest.fixture(scope="module")
def victims(digits: Samples) -> Samples:
    return digits.pick(torch.arange(24))


def errors(view: HorizontalView, victims: Samples) -> Tensor:
    """MSE of each image, shape ``(V, B)``."""
    found = attack("analytic_inversion").reconstruct(view, Streams(0))
    assert found.images is not None
    truth = victims.images.to(found.images).unflatten(0, found.images.shape[:2])
    order = metrics.match(found.images.clamp(0, 1), truth)
    images = found.images.gather(1, order[..., None, None, None].expand_as(found.images))
    return metrics.mse(images.flatten(0, 1), truth.flatten(0, 1)).view(order.shape)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("mlp", {}),
        ("mlp", {"activation": "sigmoid"}),
        ("mlp", {"normalise": "mnist"}),
        ("logistic", {}),
        ("logistic", {"normalise": "mnist"}),
    ],
)
@pytest.mark.parametrize("epochs", [1, 4])
def test_one_sample_is_exact(victims: Samples, network: str, options: dict[str, object], epochs: int) -> None:
    view = view_of(victims, network=network, options=options, epochs=epochs)
    assert errors(view, victims).max() < 1e-8
    found = attack("analytic_inversion").reconstruct(view, Streams(0))
    assert found.objective.max() < 1e-8
    assert found.labels is not None
    assert torch.equal(found.labels.squeeze(1), victims.labels)


def exclusive(view: HorizontalView, images: Tensor) -> Tensor:
    """How many units each sample alone activates, from the samples themselves; shape ``(V, B)``."""
    network = view.model
    assert isinstance(network, models.Network)
    before = network.features[1](images.flatten(0, 1).flatten(1))
    active = (before > 0).unflatten(0, images.shape[:2])
    alone = active.sum(1, keepdim=True) == 1
    return (active & alone).sum(2)


@pytest.mark.parametrize("batch", [2, 4, 8])
def test_of_a_batch_it_finds_every_image_that_two_units_saw_alone(victims: Samples, batch: int) -> None:
    view = precise(view_of(victims, network="mlp", batch=batch))
    seen = exclusive(view, victims.images.double().unflatten(0, (-1, batch)))
    error = errors(view, victims)
    assert bool((seen > 1).any())
    assert error[seen > 1].max() < 1e-10
    assert bool((error[seen == 0] > 1e-6).all())


def test_the_objective_is_the_share_that_no_two_units_confirm(victims: Samples) -> None:
    view = precise(view_of(victims, network="mlp", batch=8))
    seen = exclusive(view, victims.images.double().unflatten(0, (-1, 8)))
    found = attack("analytic_inversion").reconstruct(view, Streams(0))
    assert torch.allclose(found.objective, (seen < 2).double().mean(1))


def test_units_that_see_all_samples_give_none_away(victims: Samples) -> None:
    view = view_of(victims, network="mlp", batch=8, options={"activation": "sigmoid"})
    error = errors(view, victims)
    assert error.min() > 1e-4
    assert bool(error.isfinite().all())
    assert attack("analytic_inversion").reconstruct(view, Streams(0)).objective.tolist() == [1.0] * 3


def noisy(view: HorizontalView, scale: float, rounds: int = 1) -> HorizontalView:
    generator = torch.Generator().manual_seed(0)
    seen = view.observed

    def observed() -> Observation:
        noise = torch.randn(seen.values.shape, generator=generator)
        return Observation(seen.values + scale * noise, seen.sent, torch.full_like(seen.noise, scale))

    return replace(view, rounds=tuple(replace(view.rounds[0], observed=observed()) for _ in range(rounds)))


def test_all_units_together_bear_more_noise_than_any_one(victims: Samples) -> None:
    view = noisy(view_of(victims, network="mlp"), 1e-3)
    gradients = view.layout.views(view.observed.values)
    weight, bias = gradients["features.1.weight"], gradients["features.1.bias"]
    best = bias.abs().argmax(1)
    rows = torch.arange(len(best))
    quotient = weight[rows, best] / bias[rows, best].unsqueeze(1)
    single = metrics.mse(quotient.view_as(victims.images), victims.images)
    assert errors(view, victims).mean() < 0.2 * single.mean()


def test_more_rounds_average_noise_out(victims: Samples) -> None:
    few = victims.pick(torch.arange(6))
    view = view_of(few, network="mlp")
    once, often = (errors(noisy(view, 5e-3, rounds), few).mean() for rounds in (1, 8))
    assert often < 0.5 * once


def test_a_pixel_that_no_unit_tells_is_grey_and_the_others_are_exact(victims: Samples) -> None:
    view = view_of(victims, network="mlp")
    sent = view.observed.sent.clone()
    view.layout.views(sent)["features.1.weight"][:, :, 300:400] = False
    observed = Observation.exact(view.observed.values * sent, sent)
    part = replace(view, rounds=(replace(view.rounds[0], observed=observed),))
    found = attack("analytic_inversion").reconstruct(part, Streams(0))
    assert found.images is not None
    images, truth = found.images.flatten(2).squeeze(1), victims.images.flatten(1)
    assert torch.equal(images[:, 300:400], torch.full_like(images[:, 300:400], 0.5))
    assert torch.allclose(images[:, :300], truth[:, :300], atol=1e-5)
    assert torch.allclose(images[:, 400:], truth[:, 400:], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
def test_victims_do_not_influence_each_other(victims: Samples, batch: int) -> None:
    view = precise(view_of(victims, network="mlp", batch=batch))
    strategy = attack("analytic_inversion")
    together = strategy.reconstruct(view, Streams(0))
    for row in range(len(view.victims)):
        alone = strategy.reconstruct(only(view, row), Streams(0))
        assert together.images is not None
        assert alone.images is not None
        assert torch.allclose(together.images[row], alone.images[0], atol=1e-10)


def test_only_the_strongest_units_are_compared(victims: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    view = precise(view_of(victims, network="mlp", batch=2))
    monkeypatch.setattr(analytic, "_UNITS", 40)
    kept = analytic._strongest(analytic.first_layer(view))
    everything = analytic.first_layer(view)
    assert kept.bias.shape == (12, 40)
    assert bool((kept.bias.abs().amin(1) >= everything.bias.abs().sort(1).values[:, -41]).all())
    assert errors(view, victims).median() < 1e-10


def test_a_network_that_begins_with_a_convolution_is_skipped(victims: Samples) -> None:
    for name in ("lenet_dlg", "lenet5"):
        with pytest.raises(SkipCell, match="does not begin with a linear layer"):
            attack("analytic_inversion").reconstruct(view_of(victims, network=name), Streams(0))


def test_a_first_layer_that_was_not_sent_is_skipped(victims: Samples) -> None:
    view = view_of(victims, network="mlp")
    place = view.layout.slices["features.1.bias"]
    sent = view.observed.sent.clone()
    sent[:, place] = False
    hidden = replace(view, rounds=(replace(view.rounds[0], observed=Observation.exact(view.observed.values, sent)),))
    with pytest.raises(SkipCell, match=r"features\.1"):
        attack("analytic_inversion").reconstruct(hidden, Streams(0))


def test_a_first_layer_without_bias_is_skipped(victims: Samples) -> None:
    view = view_of(victims, network="mlp")
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
    rounds = (replace(view.rounds[0], model=module),)
    with pytest.raises(SkipCell, match="no bias"):
        attack("analytic_inversion").reconstruct(replace(view, rounds=rounds), Streams(0))
