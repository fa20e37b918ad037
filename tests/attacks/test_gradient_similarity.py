"""What gradient similarity does beyond the contract: batches, local steps, noise, hidden entries, options."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from views import attack, only, precise, spoilt, view_of

from fl_attack_bench import metrics, models
from fl_attack_bench.api import HorizontalDefense, HorizontalView, Reconstruction
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.inversion import similarity
from fl_attack_bench.scenarios.horizontal import LocalWork, Samples, Snapshot
from fl_attack_bench.scenarios.observation import observe
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.wire import client

NAME = "gradient_similarity"


def played(view: HorizontalView, **parameters: object) -> Reconstruction:
    return attack(NAME, **parameters).reconstruct(view, Streams(0))


def error(found: Reconstruction, truth: Samples) -> Tensor:
    assert found.images is not None
    return metrics.mse(found.images.flatten(0, 1).clamp(0, 1), truth.images)


@pytest.mark.parametrize(("network", "limit"), [("mlp", 1e-3), ("lenet_dlg", 5e-2)])
def test_it_reconstructs_digits(network: str, limit: float, victims: Samples) -> None:
    found = played(view_of(victims, network=network), iterations=150)
    assert error(found, victims).median() < limit
    assert torch.equal(found.labels.flatten(), victims.labels)
    assert found.iterations.tolist() == [150] * 4
    assert len(found.curve) == 150


def test_pixels_stay_in_the_box_only_where_they_are_told_to(victims: Samples) -> None:
    view = view_of(victims)
    inside, free = (played(view, iterations=10, box=box).images for box in (True, False))
    assert inside.min() == 0
    assert inside.max() == 1
    assert free.min() < 0


@pytest.mark.parametrize("parameters", [{"signed": False}, {"tv": 0.1}, {"learning_rate": 0.01}])
def test_each_parameter_changes_the_result(parameters: dict[str, object], victims: Samples) -> None:
    view = view_of(victims)
    assert not torch.equal(played(view, iterations=5).images, played(view, iterations=5, **parameters).images)


def test_the_lowest_settled_objective_chooses_among_restarts(victims: Samples) -> None:
    view = precise(only(view_of(victims), 0))
    one, many = (played(view, iterations=12, restarts=count) for count in (1, 4))
    assert many.objective[0] <= one.objective[0] * (1 + 1e-9)


def test_it_stops_where_it_is_told_to(victims: Samples) -> None:
    found = played(view_of(victims), iterations=60, tv=0.0, stop_below=0.05)
    assert (found.objective < 0.05).all()
    assert (found.iterations < 60).all()


def test_a_batch_of_two_is_taken_apart(victims: Samples) -> None:
    view = view_of(victims, batch=2, network="mlp")
    found = played(view, iterations=150)
    assert found.images.shape == (2, 2, 1, 28, 28)
    assert torch.equal(found.labels, victims.labels.view(2, 2).sort(1).values)
    pairs = victims.images.unflatten(0, (2, 2))
    distances = [(found.images - some).square().flatten(1).mean(1) for some in (pairs, pairs.flip(1))]
    assert (torch.minimum(*distances) < 5e-3).all()


def locally_trained(victims: Samples, epochs: int, batch: int, size: int) -> HorizontalView:
    options = Model(name="lenet5", options={"activation": "tanh", "pool": "avg"})
    module = models.build(options, (1, 28, 28), 10, torch.Generator().manual_seed(1))
    flat = FlatModel(module, torch.device("cpu"))
    snapshots = [Snapshot(flat.weights.clone(), flat.statistics.clone())]
    hands = [victims.pick(rows) for rows in torch.arange(len(victims)).split(batch)]
    names = [client(number) for number in range(len(hands))]
    work = LocalWork(0.5, epochs, size)
    return observe(flat, snapshots, hands, names, HorizontalDefense(), "none", work, Streams(3))


def at_the_truth(view: HorizontalView, victims: Samples) -> Tensor:
    labels = victims.labels.view(len(view.victims), -1)
    asked = similarity.problem(view, labels, 1, 0.0, adaptive=True)
    return asked.evaluate(victims.images.view(len(labels), -1), torch.arange(len(labels)))[0]


def test_several_local_steps_are_unrolled(victims: Samples) -> None:
    """Who takes the sum of the steps' gradients for one gradient does not even know the truth when it sees it."""
    view = locally_trained(victims, epochs=5, batch=1, size=1)
    naive = replace(view, local=replace(view.local, epochs=1))
    assert view.local.steps == 5
    assert (at_the_truth(view, victims) < 1e-9).all()
    assert (at_the_truth(naive, victims) > 1e-3).all()
    unrolled = played(view, iterations=25, learning_rate=0.1)
    assert error(unrolled, victims).median() < 0.06
    assert torch.equal(unrolled.labels.flatten(), victims.labels)


def test_a_batch_after_local_epochs_is_seen_for_what_it_is(victims: Samples) -> None:
    view = locally_trained(victims, epochs=3, batch=2, size=2)
    assert (at_the_truth(view, victims) < 1e-9).all()
    assert played(view, iterations=2).images.shape == (2, 2, 1, 28, 28)


def test_who_matches_only_what_was_sent_sees_the_truth_as_it_is(victims: Samples) -> None:
    view = view_of(victims, "gradient_compression", prune=0.8)
    assert (at_the_truth(view, victims) < 1e-9).all()
    adaptive, published = (played(view, iterations=100, adaptive=choice, tv=1e-5) for choice in (True, False))
    assert error(adaptive, victims).median() < error(published, victims).median()


def test_knowing_how_large_what_was_not_sent_may_be_is_worth_more_than_leaving_it_out(victims: Samples) -> None:
    view = view_of(victims, "gradient_compression", network="mlp", prune=0.8)
    seen = view.observed
    largest = torch.where(seen.sent, seen.values.abs(), torch.inf).amin(1, keepdim=True).expand_as(seen.values)
    noise = [torch.where(seen.sent, 0.0, other) for other in (largest / 3**0.5, torch.full_like(largest, torch.inf))]
    bounded, masked = (
        played(replace(view, rounds=(replace(view.rounds[0], observed=replace(seen, noise=n)),)), iterations=100)
        for n in noise
    )
    published = played(view, iterations=100, adaptive=False)
    best, left_out, zeros = (error(found, victims).median() for found in (bounded, masked, published))
    assert best < 0.1 * left_out
    assert best < zeros


def test_repeated_rounds_average_the_noise(victims: Samples) -> None:
    once, often = (view_of(victims, "gaussian_noise", scale=0.1, rounds=rounds) for rounds in (1, 6))
    first, second = (error(played(view, iterations=80), victims).median() for view in (once, often))
    assert second < 0.8 * first


def test_under_noise_the_prior_counts_more_for_who_knows_the_noise(victims: Samples) -> None:
    view = view_of(victims, "gaussian_noise", scale=0.1)
    adaptive, published = (error(played(view, iterations=80, adaptive=choice), victims) for choice in (True, False))
    assert adaptive.median() < published.median()


def test_noise_that_is_not_stated_is_estimated(victims: Samples) -> None:
    view = view_of(victims, "gaussian_noise", scale=0.1, rounds=3)
    silent = replace(
        view,
        rounds=tuple(
            replace(seen, observed=replace(seen.observed, noise=torch.full_like(seen.observed.noise, torch.nan)))
            for seen in view.rounds
        ),
    )
    stated, estimated, ignorant = (
        played(v, iterations=30, adaptive=choice) for v, choice in ((view, True), (silent, True), (silent, False))
    )
    distance = [float((other.images - stated.images).square().mean()) for other in (estimated, ignorant)]
    assert distance[0] < 0.5 * distance[1]


def test_a_victim_that_runs_off_returns_finite_pixels(victims: Samples) -> None:
    found = played(spoilt(view_of(victims), 2, torch.nan), iterations=3, restarts=2)
    assert found.diverged.tolist() == [False, False, True, False]
    assert found.images.isfinite().all()
    assert found.objective[2] == torch.inf
