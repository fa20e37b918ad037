"""Representation inference as a method: images from representations and from parts of the gradient."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from views import attack, precise, view_of

from fl_attack_bench import metrics
from fl_attack_bench.api import HorizontalView, Observation, SkipCell
from fl_attack_bench.inversion.feature_matching import FeatureMatching
from fl_attack_bench.inversion.priors import total_variation
from fl_attack_bench.representation import inputs
from fl_attack_bench.scenarios.horizontal import Samples
from fl_attack_bench.seeds import Streams

NAME = "representation_inference"


def images_of(view: HorizontalView, **parameters: object) -> Tensor:
    found = attack(NAME, **parameters).reconstruct(view, Streams(0))
    assert found.images is not None
    return found.images


@pytest.mark.parametrize("method", ["rows", "least_squares"])
def test_the_representation_gives_the_image_away(victims: Samples, method: str) -> None:
    images = images_of(view_of(victims), method=method, iterations=12)
    assert metrics.mse(images.squeeze(1).clamp(0, 1), victims.images).median() < 2e-3


def test_so_does_the_whole_gradient(victims: Samples) -> None:
    few = victims.pick(torch.arange(2))
    images = images_of(view_of(few), match="whole", iterations=20)
    assert metrics.mse(images.squeeze(1).clamp(0, 1), few.images).max() < 1e-3


def test_convolutional_matching_reads_nothing_else_than_the_labels(victims: Samples) -> None:
    view = precise(view_of(victims))
    first = images_of(view, match="convolutional", iterations=2)
    values = view.observed.values.clone()
    values[:, view.layout.slices["classifier.weight"]] *= 1.5
    spoilt = replace(view, rounds=(replace(view.rounds[0], observed=replace(view.observed, values=values)),))
    assert torch.equal(images_of(spoilt, match="convolutional", iterations=2), first)
    assert not torch.allclose(images_of(spoilt, match="whole", iterations=2), first)


def test_a_network_without_convolutions_has_none_to_match(victims: Samples) -> None:
    with pytest.raises(SkipCell, match="no convolutional layer"):
        attack(NAME, match="convolutional").reconstruct(view_of(victims, network="logistic"), Streams(0))


# A second step of the victim moves the network, and with it the representation that the second gradient shows.
@pytest.mark.parametrize(("parameters", "settings", "least"), [({"match": "none"}, {}, 0.99), ({}, {"epochs": 2}, 0.7)])
def test_where_it_makes_no_images_it_still_infers(
    victims: Samples, parameters: dict[str, object], settings: dict[str, int], least: float
) -> None:
    view = view_of(victims, network="mlp", **settings)
    found = attack(NAME, **parameters).reconstruct(view, Streams(0))
    assert found.images is None
    assert found.labels is not None
    assert torch.equal(found.labels.squeeze(1), victims.labels)
    assert list(found.representations) == ["features.1", "classifier"]
    for row, (image, label) in enumerate(zip(victims.images, victims.labels.tolist(), strict=True)):
        for layer, truth in inputs(view.model, image.unsqueeze(0)).items():
            assert metrics.correlation(found.representations[layer][row, label], truth[0]).abs() > least


def test_more_samples_than_classes_get_no_images(victims: Samples) -> None:
    many = Samples(victims.images.repeat(3, 1, 1, 1), victims.labels.repeat(3))
    found = attack(NAME, iterations=1).reconstruct(view_of(many, batch=12), Streams(0))
    assert found.images is None
    assert found.representations


def test_a_batch_of_different_classes_gives_an_image_each(victims: Samples) -> None:
    order = victims.labels.argsort()
    assert len(victims.labels.unique()) == len(order)
    found = attack(NAME, iterations=15).reconstruct(view_of(victims, batch=4), Streams(0))
    assert found.images is not None
    assert found.labels is not None
    assert torch.equal(found.labels[0], victims.labels[order])
    error = metrics.mse(found.images[0].clamp(0, 1), victims.images[order])
    wrong = metrics.mse(found.images[0].clamp(0, 1), victims.images[order.roll(1)])
    assert error.mean() < 0.3 * wrong.mean()


def test_a_destroyed_column_is_left_out_of_the_matching(victims: Samples) -> None:
    view = view_of(victims)
    observed = view.observed
    values, noise = observed.values.clone(), observed.noise.clone()
    for name, flat in (("values", values), ("noise", noise)):
        view.layout.views(flat)["classifier.weight"][:, :, ::3] = 0.0 if name == "values" else torch.inf
    told = replace(view, rounds=(replace(view.rounds[0], observed=Observation(values, observed.sent, noise)),))
    fooled = replace(view, rounds=(replace(view.rounds[0], observed=replace(observed, values=values)),))
    errors = [
        metrics.mse(images_of(seen, iterations=10).squeeze(1).clamp(0, 1), victims.images) for seen in (told, fooled)
    ]
    assert errors[0].median() < 0.1 * errors[1].median()


def test_the_lowest_objective_chooses_among_restarts(victims: Samples) -> None:
    view = view_of(victims)
    found = [attack(NAME, iterations=1, restarts=restarts).reconstruct(view, Streams(0)) for restarts in (1, 3)]
    assert bool((found[1].objective <= found[0].objective).all())
    assert bool((found[1].objective < found[0].objective).any())


def objective(victims: Samples, weight: float) -> FeatureMatching:
    view = precise(view_of(victims))
    wanted = inputs(view.model, victims.images.double())["classifier"].unsqueeze(1)
    return FeatureMatching.of(view, "classifier", 3 * wanted, weight, restarts=1)


def test_the_objective_is_that_of_its_formula(victims: Samples) -> None:
    matching, truth = objective(victims, 0.5), victims.images.double()
    value, _ = matching(truth.flatten(1), torch.arange(4))
    assert torch.allclose(value, 0.5 * total_variation(truth.unsqueeze(1)), atol=1e-9)
    # Away from the corners of absolute values, where there is no derivative.
    others = torch.rand(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 1.4 - 0.2
    value, gradient = matching(others.flatten(1), torch.arange(4))
    cosine = torch.nn.functional.cosine_similarity
    features = matching.extract(others)
    blank = 1 - cosine(matching.typical.expand_as(matching.wanted), matching.wanted)
    outside = (others - others.clamp(0, 1)).square().flatten(1).mean(1)
    formula = (1 - cosine(features, matching.wanted)) / blank + outside + 0.5 * total_variation(others.unsqueeze(1))
    assert torch.allclose(value, formula, rtol=1e-6)
    step = 1e-6 * torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    there, _ = matching(others.flatten(1) + step, torch.arange(4))
    back, _ = matching(others.flatten(1) - step, torch.arange(4))
    assert torch.allclose((there - back) / 2, (gradient * step).sum(1), rtol=1e-3, atol=1e-10)
