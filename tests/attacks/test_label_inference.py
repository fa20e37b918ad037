"""Label inference as a method: what it returns, on batches and behind defenses."""

import pytest
import torch
from views import attack, view_of

from fl_attack_bench import metrics, registry
from fl_attack_bench.scenarios.horizontal import Samples
from fl_attack_bench.seeds import Streams

BATCH = 8


@pytest.fixture(scope="module")
def victims(digits: Samples) -> Samples:
    return digits.pick(torch.arange(6 * BATCH))


def share(victims: Samples, *defense: str, **settings: object) -> float:
    """Of the labels that were inferred right."""
    view = view_of(victims, *defense, batch=BATCH, **settings)
    found = attack("label_inference").reconstruct(view, Streams(0))
    assert found.labels is not None
    return float(metrics.label_accuracy(found.labels, victims.labels.view(-1, BATCH)).mean())


def test_it_returns_labels_and_no_images(victims: Samples) -> None:
    found = attack("label_inference").reconstruct(view_of(victims, batch=BATCH), Streams(0))
    assert found.images is None
    assert found.labels is not None
    assert found.labels.shape == (6, BATCH)
    assert not found.representations
    assert found.objective.tolist() == [0.0] * 6
    assert not found.diverged.any()


def test_it_has_nothing_to_restart() -> None:
    assert not attack("label_inference").parameters
    assert "restarts" not in registry.find("attack", "label_inference").cls.__dataclass_fields__


@pytest.mark.parametrize("network", ["lenet_dlg", "mlp", "logistic"])
def test_it_counts_the_labels_of_a_batch(victims: Samples, network: str) -> None:
    assert share(victims, network=network) >= 0.97


def test_local_epochs_do_not_stop_it(victims: Samples) -> None:
    assert share(victims, network="mlp", epochs=5) >= 0.95


def test_compression_does_not_stop_it(victims: Samples) -> None:
    assert share(victims, "gradient_compression", network="mlp", prune=0.9) >= 0.9


def test_noise_louder_than_the_gradient_does(victims: Samples) -> None:
    quiet = share(victims, "gaussian_noise", network="mlp", scale=1e-4)
    loud = share(victims, "gaussian_noise", network="mlp", scale=10.0)
    assert loud < 0.6 < 0.95 < quiet


def test_labels_beat_chance_where_the_network_is_fresh(victims: Samples) -> None:
    constant = torch.zeros(6, BATCH, dtype=torch.int64)
    chance = float(metrics.label_accuracy(constant, victims.labels.view(-1, BATCH)).mean())
    assert share(victims) > chance + 0.5
