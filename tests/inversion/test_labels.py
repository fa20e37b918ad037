"""Labels read off the last layer's gradient, against the labels themselves and against the formulas."""

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from seen import Hand, changed, network, only, view_of, with_values
from torch import Tensor, nn

from fl_attack_bench import metrics
from fl_attack_bench.api import Observation, SeenRound, SkipCell
from fl_attack_bench.data import datasets
from fl_attack_bench.inversion import labels, last_layer


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Hand:
    data = datasets.load("digits", tmp_path_factory.mktemp("data"))
    return data.x_train.double(), data.y_train


def hands(digits: Hand, count: int, batch: int) -> list[Hand]:
    rows = torch.randperm(len(digits[1]), generator=torch.Generator().manual_seed(batch))[: count * batch]
    return [(digits[0][some], digits[1][some]) for some in rows.split(batch)]


def counted(chosen: list[Hand]) -> Tensor:
    return torch.stack([F.one_hot(y, 10).sum(0) for _, y in chosen])


@pytest.mark.parametrize("name", ["lenet_dlg", "mlp", "logistic"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_sign_tells_a_single_label(digits: Hand, name: str, bias: bool) -> None:
    chosen = hands(digits, 12, 1)
    view = view_of(network(name), chosen)
    view = view if bias else changed(view, "classifier.bias", value=9.0)
    truth = torch.stack([y for _, y in chosen])
    assert torch.equal(labels.last_layer_sign(view), truth)
    assert torch.equal(labels.labels_of(view), truth)


def test_one_sign_does_not_tell_the_labels_of_two(digits: Hand) -> None:
    with pytest.raises(SkipCell, match="2 samples"):
        labels.last_layer_sign(view_of(network("mlp"), hands(digits, 1, 2)))


@pytest.mark.parametrize(
    ("name", "options"), [("lenet_dlg", {}), ("lenet5", {}), ("convnet", {"width": 4}), ("mlp", {"activation": "tanh"})]
)
@pytest.mark.parametrize(("batch", "share"), [(2, 1.0), (8, 0.99), (32, 0.95)])
def test_a_fresh_network_gives_the_counts_away(
    digits: Hand, name: str, options: dict[str, object], batch: int, share: float
) -> None:
    chosen = hands(digits, 8, batch)
    view = view_of(network(name, **options), chosen)
    right = torch.minimum(labels.label_counts(view), counted(chosen)).sum() / (8 * batch)
    assert right >= share
    without = torch.minimum(labels.label_counts(changed(view, "classifier.bias")), counted(chosen)).sum() / (8 * batch)
    assert without >= share - 0.1


def test_several_steps_are_read_as_their_average(digits: Hand) -> None:
    chosen = hands(digits, 6, 10)
    view = view_of(network("mlp"), chosen, epochs=5, rate=0.02)
    assert torch.equal(labels.label_counts(view), counted(chosen))


def test_the_expanded_counts_are_the_labels(digits: Hand) -> None:
    chosen = hands(digits, 5, 8)
    view = view_of(network("mlp"), chosen)
    assert torch.equal(labels.labels_of(view), torch.stack([y for _, y in chosen]).sort(1).values)


def test_victims_do_not_influence_each_other(digits: Hand) -> None:
    view = view_of(network("lenet_dlg"), hands(digits, 5, 32))
    together = labels.label_counts(view)
    assert all(torch.equal(together[row : row + 1], labels.label_counts(only(view, row))) for row in range(5))


@given(st.integers(0, 2**31), st.integers(1, 40), st.sampled_from([0.0, 1e-8, 1.0, 1e30, torch.nan, torch.inf]))
@settings(max_examples=30, deadline=None)
def test_counts_are_counts_whatever_was_sent(seed: int, batch: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    blank = (torch.zeros(batch, 1, 4, 4, dtype=torch.float64), torch.zeros(batch, dtype=torch.int64))
    view = view_of(network("mlp", (1, 4, 4), hidden=6), [blank, blank])
    noise = torch.randn(view.observed.values.shape, generator=generator, dtype=torch.float64)
    counts = labels.label_counts(with_values(view, noise * scale))
    assert bool((counts >= 0).all())
    assert counts.sum(1).tolist() == [batch, batch]
    assert labels.expand(counts).shape == (2, batch)


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_rounding_finds_the_nearest_whole_counts(values: list[float], present: list[bool]) -> None:
    samples = 6
    shares = torch.tensor([values], dtype=torch.float64) + 0.1
    expected = shares * samples / shares.sum()
    sure = torch.tensor([present])
    found = labels._whole(expected, sure, torch.where(sure, -1.0, 1.0), samples)
    assert found.sum() == samples
    assert bool((found[sure] >= 1).all())
    if not any(present):
        grid = (torch.tensor(c) for c in product(range(samples + 1), repeat=4) if sum(c) == samples)
        best = min(float((c - expected).square().sum()) for c in grid)
        assert float((found - expected).square().sum()) <= best + 1e-9


def test_a_negative_bias_gradient_means_present(digits: Hand) -> None:
    view = view_of(network("lenet_dlg"), hands(digits, 6, 32))
    negative = last_layer.read(view).bias_gradient < 0
    assert bool(negative.any())
    assert bool((labels.label_counts(view)[negative] > 0).all())


def test_a_destroyed_bias_counts_as_not_sent(digits: Hand) -> None:
    view = view_of(network("mlp"), hands(digits, 3, 8))
    destroyed = changed(view, "classifier.bias", value=1e3, sent=True)
    assert torch.equal(labels.label_counts(destroyed), labels.label_counts(changed(view, "classifier.bias")))


def test_a_hidden_last_layer_is_skipped(digits: Hand) -> None:
    view = changed(changed(view_of(network("mlp"), hands(digits, 2, 1)), "classifier.bias"), "classifier.weight")
    for read in (labels.last_layer_sign, labels.label_counts, labels.labels_of):
        with pytest.raises(SkipCell, match="classifier"):
            read(view)


def test_a_network_that_ends_otherwise_is_skipped() -> None:
    module = nn.Sequential(nn.Conv2d(1, 10, 4), nn.Flatten()).double()
    view = view_of(module, [(torch.rand(1, 1, 4, 4, dtype=torch.float64), torch.tensor([3]))])
    with pytest.raises(SkipCell, match="no fully connected layer"):
        labels.label_counts(view)


def test_a_network_that_goes_on_after_its_last_linear_layer_is_skipped() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 10), nn.ReLU()).double()
    view = view_of(module, [(torch.rand(1, 1, 4, 4, dtype=torch.float64), torch.tensor([3]))])
    with pytest.raises(SkipCell, match="something follows 1"):
        labels.label_counts(view)


def made_up(counts: Tensor) -> tuple[last_layer.LastLayer, Tensor]:
    """A last layer whose classes have one representation each, so that the formulas hold exactly."""
    generator = torch.Generator().manual_seed(5)
    classes, features = counts.shape[1], 30
    weight = 0.3 * torch.randn(classes, features, dtype=torch.float64, generator=generator)
    inputs = torch.rand(classes, features, dtype=torch.float64, generator=generator)
    probabilities = (inputs @ weight.T).softmax(1)
    errors = probabilities - torch.eye(classes, dtype=torch.float64)
    shares = counts / counts.sum(1, keepdim=True)
    typical = torch.full((features,), 0.5, dtype=torch.float64)
    layer = last_layer.LastLayer(
        name="last",
        weight=weight.expand(len(counts), -1, -1),
        bias=torch.zeros(counts.shape, dtype=torch.float64),
        weight_gradient=torch.einsum("vc,ck,cl->vkl", shares, errors, inputs),
        bias_gradient=shares @ errors,
        doubt=torch.zeros(counts.shape, dtype=torch.float64),
        known=torch.ones(len(counts), features, dtype=torch.bool),
        typical=typical,
        prior=(typical @ weight.T).softmax(0).expand(len(counts), -1),
    )
    return layer, inputs


def test_the_fixed_point_solves_the_equations_it_was_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_layer, "_RIDGE", 1e-9)
    monkeypatch.setattr(last_layer, "_ROUNDS", 60)
    counts = torch.tensor([[3.0, 0, 5, 0, 0, 1], [0, 9, 0, 0, 0, 0]], dtype=torch.float64)
    layer, inputs = made_up(counts)
    found = last_layer.solve(layer, 9)
    assert torch.allclose(found.counts, counts, atol=5e-3)
    for victim, label in ((0, 0), (0, 2), (0, 5), (1, 1)):
        assert torch.allclose(found.representations[victim, label], inputs[label], atol=1e-2)
        assert torch.allclose(
            found.probabilities[victim, label], (layer.weight[0] @ inputs[label]).softmax(0), atol=1e-3
        )


def test_the_regression_is_ridge_regression() -> None:
    generator = torch.Generator().manual_seed(8)
    steps = torch.randn(2, 4, 7, dtype=torch.float64, generator=generator)
    gradient = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator)
    typical = torch.randn(5, dtype=torch.float64, generator=generator)
    known = torch.ones(2, 1, 5, dtype=torch.bool)
    known[1, 0, 3] = False
    found = last_layer.regress(gradient, steps, typical, known)
    for victim in range(2):
        design = steps[victim].T
        ridge = last_layer._RIDGE * design.square().sum(0).max()
        rows = torch.cat([design, ridge.sqrt() * torch.eye(4, dtype=torch.float64)])
        wanted = torch.cat([gradient[victim], ridge.sqrt() * typical.expand(4, -1)])
        direct = torch.linalg.lstsq(rows, wanted).solution
        direct[:, ~known[victim, 0]] = typical[~known[victim, 0]]
        assert torch.allclose(found[victim], direct, atol=1e-10)


def test_the_weights_halfway_are_nearer_to_where_the_gradients_were_taken(digits: Hand) -> None:
    module, (chosen,) = network("mlp"), hands(digits, 1, 10)
    steps, rate, name = 6, 0.05, "classifier.weight"
    passed = []
    for epochs in range(steps):
        view = view_of(module, [chosen], epochs=epochs or 1, rate=rate)
        moved = view.layout.views(view.observed.values)[name][0] * (epochs > 0)
        passed.append(module.get_parameter(name).detach() - rate * moved)
    middle = torch.stack(passed).mean(0)
    view = view_of(module, [chosen], epochs=steps, rate=rate)
    off = (last_layer.halfway(view, name)[0] - middle).norm()
    assert off < 0.2 * (passed[0] - middle).norm()
    single = view_of(module, [chosen], rate=rate)
    assert torch.equal(last_layer.halfway(single, name)[0], module.get_parameter(name))


def test_probes_are_distinct_pictures_in_range() -> None:
    images = last_layer.probes((3, 12, 9))
    assert images.shape == (35, 3, 12, 9)
    assert bool((images >= 0).all() & (images <= 1).all())
    assert len(images.flatten(1).unique(dim=0)) == 35


@pytest.mark.parametrize("batch", [1, 3])
def test_every_round_has_a_say_in_the_labels(digits: Hand, batch: int) -> None:
    """Loud noise hides labels in one round; sixteen rounds bring them back, and one silent round decides alone."""
    chosen = hands(digits, 24, batch)
    view = view_of(network("logistic"), chosen)
    rng = torch.Generator().manual_seed(5)

    def noisy() -> SeenRound:
        seen = view.rounds[0].observed
        values = seen.values + 0.4 * torch.randn(seen.values.shape, generator=rng, dtype=torch.float64)
        return replace(view.rounds[0], observed=Observation.exact(values).noisier(0.4))

    loud = tuple(noisy() for _ in range(16))

    def right(rounds: tuple[SeenRound, ...]) -> float:
        inferred = labels.labels_of(replace(view, rounds=rounds))
        truth = torch.stack([y for _, y in chosen])
        return float(metrics.label_accuracy(inferred, truth).mean())

    assert right(loud) > right(loud[:1]) + 0.1
    assert right(loud) > 0.75
    assert right((*loud[:-1], view.rounds[0])) == right(view.rounds)
