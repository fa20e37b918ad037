"""Scoring a reconstruction against the truth: order, labels, representations, bounds, and broken contracts."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fl_attack_bench import metrics, models, reconstruction
from fl_attack_bench.api import Certificate, Reconstruction
from fl_attack_bench.errors import UserError
from fl_attack_bench.reconstruction import Truth
from fl_attack_bench.representation import inputs
from fl_attack_bench.tasks.horizontal import Model

VICTIMS, BATCH, CLASSES = 3, 2, 10


@pytest.fixture
def truth() -> Truth:
    images = torch.rand(VICTIMS, BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return Truth(images, torch.tensor([[1, 2], [3, 3], [0, 9]]), [10, 11, 20, 21, 30, 31], CLASSES)


@pytest.fixture
def network() -> nn.Module:
    return models.build(Model(name="mlp"), (1, 28, 28), CLASSES, torch.Generator().manual_seed(1)).eval()


def found(images: Tensor | None, labels: Tensor | None, **more: Tensor) -> Reconstruction:
    none = torch.zeros(VICTIMS, dtype=torch.int64)
    return Reconstruction(images, labels, none.float(), none, none.bool(), representations=more)


def test_images_are_scored_in_the_order_that_fits_best(truth: Truth, network: nn.Module) -> None:
    shuffled = found((truth.images + 0.01).flip(1), truth.labels.flip(1))
    scored = reconstruction.score("initial", shuffled, truth, network, None)
    assert [v["victim"] for v in scored["victims"]] == truth.ids
    assert [v["label"] for v in scored["victims"]] == truth.labels.flatten().tolist()
    assert [v["label_recovered"] for v in scored["victims"]] == truth.labels.flatten().tolist()
    assert all(v["mse_raw"] == pytest.approx(1e-4, rel=1e-3) for v in scored["victims"])
    ordered = reconstruction.ordered(shuffled, truth)
    assert ordered is not None
    assert torch.allclose(ordered, (truth.images + 0.01).flatten(0, 1))


def test_an_attack_without_images_leaves_labels_only(truth: Truth, network: nn.Module) -> None:
    labels = torch.tensor([[2, 1], [3, 4], [5, 5]])
    scored = reconstruction.score("initial", found(None, labels), truth, network, None)
    assert scored["victims"] == []
    assert scored["label_accuracy"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert "correlations" not in scored


def test_representations_are_held_against_the_class_means(truth: Truth, network: nn.Module) -> None:
    true = inputs(network, truth.images.flatten(0, 1))["classifier"].unflatten(0, (VICTIMS, BATCH))
    inferred = torch.full((VICTIMS, CLASSES, true.shape[2]), torch.nan)
    inferred[0, 1], inferred[0, 2] = 5 * true[0, 0], -2 * true[0, 1]
    inferred[1, 3] = true[1].mean(0)
    inferred[2, 5] = 1.0  # a class that is not there
    scored = reconstruction.score("initial", found(None, None, classifier=inferred), truth, network, None)
    assert scored["correlations"]["classifier"] == pytest.approx(1.0, abs=1e-5)
    assert scored["classes_found"] == pytest.approx(3 / 5)
    noise = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    guess = inputs(network, noise)["classifier"].mean(0)
    means = torch.stack([true[0, 0], true[0, 1], true[1].mean(0)])
    assert scored["blind"]["classifier"] == pytest.approx(
        float(metrics.correlation(guess.expand_as(means), means).abs().mean()), abs=1e-5
    )


def test_a_bound_stands_beside_the_measured_distance(truth: Truth, network: nn.Module) -> None:
    def extract(images: Tensor) -> Tensor:
        return images.flatten(1)

    originals = truth.images.flatten(0, 1)
    wanted = extract(originals) + 0.1
    count = len(originals)
    certificate = Certificate("classifier", torch.full((count,), 2.5), wanted, torch.full((count,), 2.8), extract)
    scored = reconstruction.score("initial", found(truth.images + 0.1, truth.labels), truth, network, certificate)
    for score in scored["victims"]:
        assert score["certified"]["bound"] == 2.5
        assert score["certified"]["distance"] == pytest.approx(0.1 * 28, rel=1e-4)
        assert score["certified"]["residual"] == pytest.approx(0, abs=1e-4)
    endless = replace(certificate, bound=certificate.bound.index_fill(0, torch.tensor([1]), torch.inf))
    partly = reconstruction.score("initial", found(truth.images, truth.labels), truth, network, endless)
    assert [score["certified"] is None for score in partly["victims"]] == [False, True, False, False, False, False]
    unchanged = replace(certificate, change=torch.zeros(count), representation=extract(originals))
    exact = reconstruction.score("initial", found(truth.images, truth.labels), truth, network, unchanged)
    assert all(score["certified"]["residual"] is None for score in exact["victims"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"images": torch.zeros(VICTIMS, 1, 1, 28, 28)}, "images of shape"),
        ({"images": torch.full((VICTIMS, BATCH, 1, 28, 28), torch.nan)}, "infinite or NaN"),
        ({"labels": torch.zeros(VICTIMS, dtype=torch.int64)}, "labels of shape"),
        ({"labels": torch.full((VICTIMS, BATCH), CLASSES)}, "labels outside 0 to 9"),
        ({"objective": torch.zeros(VICTIMS, BATCH)}, "objective of shape"),
        ({"representations": {"classifier": torch.zeros(VICTIMS, 4, 5)}}, "representations of classifier"),
    ],
)
def test_a_broken_contract_is_named(truth: Truth, change: dict[str, Tensor], why: str) -> None:
    sound = found(truth.images, truth.labels)
    assert reconstruction.check(sound, truth) is sound
    with pytest.raises(UserError, match=why):
        reconstruction.check(replace(sound, **change), truth)


def test_pixels_outside_the_range_are_clipped_for_the_match_and_kept_for_the_raw_error(truth: Truth) -> None:
    network = models.build(Model(name="mlp"), (1, 28, 28), CLASSES, torch.Generator().manual_seed(1)).eval()
    wild = truth.images.clone()
    wild[0, 0, 0, 0, 0] = 100.0
    score = reconstruction.score("initial", found(wild, truth.labels), truth, network, None)["victims"][0]
    assert score["mse"] == pytest.approx(float((1 - truth.images[0, 0, 0, 0, 0]) ** 2) / 784, rel=1e-3)
    assert score["mse_raw"] > 10
    assert metrics.mse(truth.images[0], truth.images[0]).tolist() == [0.0, 0.0]
