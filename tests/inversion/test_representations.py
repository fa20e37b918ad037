"""Class-wise representations, against the true means of what enters each layer."""

import pytest
import torch
import torch.nn.functional as F
from seen import Hand, changed, network, only, view_of
from torch import Tensor, nn

from fl_attack_bench import metrics
from fl_attack_bench.api import HorizontalView, SkipCell
from fl_attack_bench.data import datasets
from fl_attack_bench.inversion import representations
from fl_attack_bench.inversion.last_layer import probes
from fl_attack_bench.representation import inputs

CLASSES = (3, 7)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Hand:
    data = datasets.load("digits", tmp_path_factory.mktemp("data"))
    return data.x_train.double(), data.y_train


@pytest.fixture(scope="module")
def device(digits: Hand) -> Hand:
    """Two classes with 20 samples each."""
    rows = torch.cat([(digits[1] == label).nonzero().flatten()[:20] for label in CLASSES])
    return digits[0][rows], digits[1][rows]


class Deep(nn.Module):
    """Three fully connected layers, with an activation of choice between them."""

    def __init__(self, activate: nn.Module, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Linear(784, 60, bias=bias)
        self.second = nn.Linear(60, 40, bias=bias)
        self.third = nn.Linear(40, 10, bias=bias)
        self.activate = activate
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.activate(self.second(self.activate(self.first(images.flatten(1)))))
        return self.third(hidden)


def trained(digits: Hand, module: nn.Module, steps: int = 150) -> nn.Module:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(digits[1]), (32,), generator=generator)
        optimiser.zero_grad()
        F.cross_entropy(module(digits[0][rows]), digits[1][rows]).backward()
        optimiser.step()
    return module.eval()


def correlations(found: dict[str, Tensor], view: HorizontalView, hands: list[Hand]) -> dict[str, float]:
    """The mean over victims and classes present, by layer."""
    each: dict[str, list[float]] = {name: [] for name in found}
    for row, (images, labels) in enumerate(hands):
        entered = inputs(view.model, images)
        for name, inferred in found.items():
            for label in labels.unique().tolist():
                truth = entered[name][labels == label].mean(0)
                each[name].append(float(metrics.correlation(inferred[row, label], truth).abs()))
    return {name: sum(values) / len(values) for name, values in each.items()}


@pytest.mark.parametrize("approach", ["rows", "least_squares"])
@pytest.mark.parametrize("name", ["lenet5", "mlp", "lenet_dlg"])
def test_a_single_sample_gives_all_its_representations_away(
    digits: Hand, name: str, approach: representations.Approach
) -> None:
    hands = [(digits[0][row : row + 1], digits[1][row : row + 1]) for row in range(4)]
    view = view_of(network(name), hands)
    found = representations.infer(view, torch.stack([y for _, y in hands]), approach)
    assert list(found) == list(inputs(view.model, digits[0][:1]))
    assert min(correlations(found, view, hands).values()) > 0.999


def test_least_squares_tells_two_classes_apart_where_rows_mix_them(digits: Hand, device: Hand) -> None:
    view = view_of(trained(digits, Deep(nn.ReLU())), [device])
    labels = device[1].unsqueeze(0)
    published = correlations(representations.infer(view, labels, "rows", 10), view, [device])
    ours = correlations(representations.infer(view, labels, "least_squares"), view, [device])
    assert list(ours) == ["first", "second", "third"]
    assert min(ours.values()) > 0.9
    assert published["third"] > 0.9
    assert all(ours[name] > published[name] for name in ("first", "second"))
    blank = {name: r.mean(0).expand(1, 10, -1) for name, r in inputs(view.model, probes((1, 28, 28)).double()).items()}
    guess = correlations(blank, view, [device])
    assert all(guess[name] < ours[name] - 0.2 for name in ours)


@pytest.mark.parametrize("approach", ["rows", "least_squares"])
def test_absent_classes_are_nan_and_no_others(device: Hand, approach: representations.Approach) -> None:
    view = view_of(network("lenet5"), [device])
    for inferred in representations.infer(view, device[1].unsqueeze(0), approach).values():
        present = inferred[0].isfinite().all(1)
        assert present.nonzero().flatten().tolist() == list(CLASSES)
        assert bool(inferred[0, ~present].isnan().all())


@pytest.mark.parametrize("activate", [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()])
def test_the_derivative_is_that_of_the_activation_between(device: Hand, activate: nn.Module) -> None:
    module = Deep(activate)
    output = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    value = activate(output)
    (wanted,) = torch.autograd.grad(value.sum(), output) if value is not output else (torch.ones_like(output),)
    found = representations._between(module, "first", "second", inputs(module, device[0][:5]))
    assert found is not None
    assert torch.allclose(found(value.detach()), wanted)


@pytest.mark.parametrize("approach", ["rows", "least_squares"])
def test_it_stops_where_it_does_not_know_the_activation(device: Hand, approach: representations.Approach) -> None:
    view = view_of(Deep(nn.GELU()), [device])
    assert list(representations.infer(view, device[1].unsqueeze(0), approach)) == ["third"]


@pytest.mark.parametrize("approach", ["rows", "least_squares"])
def test_a_network_without_biases_gives_as_much(device: Hand, approach: representations.Approach) -> None:
    view = view_of(Deep(nn.ReLU(), bias=False), [device])
    found = correlations(representations.infer(view, device[1].unsqueeze(0), approach, 10), view, [device])
    assert list(found) == ["first", "second", "third"]
    assert min(found.values()) > 0.9


def test_a_hidden_layer_stops_the_rows_and_not_the_least_squares(digits: Hand, device: Hand) -> None:
    view = view_of(trained(digits, Deep(nn.ReLU())), [device])
    labels = device[1].unsqueeze(0)
    hidden = changed(changed(view, "second.weight"), "second.bias")
    assert list(representations.infer(hidden, labels, "rows")) == ["third"]
    found = correlations(representations.infer(hidden, labels, "least_squares"), view, [device])
    assert found["first"] > 0.7


@pytest.mark.parametrize("approach", ["rows", "least_squares"])
def test_what_is_known_to_be_destroyed_is_not_read(device: Hand, approach: representations.Approach) -> None:
    view = view_of(network("lenet5"), [device])
    labels = device[1].unsqueeze(0)
    spoilt, missing = (changed(view, "features.9.weight", value=v, sent=s) for v, s in ((1e6, True), (0.0, False)))
    one, other = (representations.infer(seen, labels, approach) for seen in (spoilt, missing))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name].nan_to_num(), other[name].nan_to_num()) for name in one)


@pytest.mark.parametrize("approach", ["rows", "least_squares"])
def test_victims_do_not_influence_each_other(digits: Hand, approach: representations.Approach) -> None:
    hands = [(digits[0][rows], digits[1][rows]) for rows in torch.arange(60).split(20)]
    view, labels = view_of(network("lenet5"), hands), torch.stack([y for _, y in hands])
    together = representations.infer(view, labels, approach)
    for row in range(3):
        alone = representations.infer(only(view, row), labels[row : row + 1], approach)
        for name, inferred in alone.items():
            assert torch.allclose(together[name][row], inferred[0], rtol=1e-8, atol=1e-10, equal_nan=True)


def test_more_classes_are_more_entangled(digits: Hand, device: Hand) -> None:
    module = trained(digits, network("lenet5"), 80)
    everything = (digits[0][:40], digits[1][:40])
    found = []
    for hand in (device, everything):
        view = view_of(module, [hand])
        found.append(correlations(representations.infer(view, hand[1].unsqueeze(0), "rows", 10), view, [hand]))
    assert all(found[1][name] < found[0][name] for name in found[0])


def test_a_hidden_last_layer_is_skipped(device: Hand) -> None:
    view = changed(changed(view_of(network("lenet5"), [device]), "classifier.weight"), "classifier.bias")
    with pytest.raises(SkipCell, match="classifier"):
        representations.infer(view, device[1].unsqueeze(0), "rows")
