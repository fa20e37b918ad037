"""Networks cut at their fully connected layers: names, inputs, what must not change, what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fl_attack_bench import models, representation
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.tasks.horizontal import Model


def build(name: str, shape: tuple[int, int, int], **options: object) -> nn.Module:
    return models.build(Model(name=name, options=options), shape, 10, torch.Generator().manual_seed(1))


def images(shape: tuple[int, int, int], count: int = 3) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(2))


class Crossed(nn.Module):
    """Calls its layers in another order than it names them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 2)
        self.idle = nn.Linear(5, 5)
        self.first = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).tanh())


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).flatten(1)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x.flatten(1)))


def test_the_layers_are_named_in_the_order_as_called() -> None:
    assert representation.linear_layers(build("lenet5", (1, 28, 28)), (1, 28, 28)) == (
        "features.7",
        "features.9",
        "classifier",
    )
    assert representation.linear_layers(Crossed(), (1, 4, 4)) == ("first", "last")


def test_each_layer_gets_what_it_was_found_to_get() -> None:
    model, shown = build("lenet5", (1, 28, 28)), images((1, 28, 28))
    found = representation.inputs(model, shown)
    # An independent reference: the network's layers, one after the other.
    state = shown
    for name, layer in [*model.features.named_children(), ("classifier", model.classifier)]:
        key = name if name == "classifier" else f"features.{name}"
        if key in found:
            assert torch.equal(found[key], state)
            assert torch.equal(representation.extractor(model, key, (1, 28, 28))(shown), state)
        state = layer(state)
    assert list(found) == ["features.7", "features.9", "classifier"]
    assert torch.equal(representation.extractor(model, None, (1, 28, 28))(shown), found["features.7"])


def test_inputs_hang_on_the_images_alone() -> None:
    model, shown = build("mlp", (1, 8, 8), hidden=6, activation="tanh"), images((1, 8, 8)).requires_grad_()
    found = representation.inputs(model, shown)["classifier"]
    (gradient,) = torch.autograd.grad(found.sum(), shown)
    hidden = model.features[1]
    slope = 1 - torch.tanh(hidden(shown.flatten(1))) ** 2
    assert torch.allclose(gradient.flatten(1), slope @ hidden.weight, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not representation.inputs(model, shown.detach())["classifier"].requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_at_the_layers_output_is_the_losss(training: bool) -> None:
    model = build("convnet", (3, 9, 9), width=2).train(training)
    labels = torch.tensor([1, 2, 3])
    arriving = representation.arriving(
        model, "classifier", images((3, 9, 9)), lambda logits: F.cross_entropy(logits, labels)
    )
    kept = model(images((3, 9, 9)))
    (wanted,) = torch.autograd.grad(F.cross_entropy(kept, labels), kept)
    assert torch.allclose(arriving, wanted, atol=1e-7)


def test_nothing_is_left_behind_in_the_network() -> None:
    shape = (3, 9, 9)
    model, shown = build("convnet", shape, width=2).train(), images(shape)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    representation.linear_layers(model, shape)
    representation.inputs(model, shown)
    representation.extractor(model, None, shape)(shown)
    representation.row_norms(model, "classifier", shown)
    representation.spectral_norm(model, "classifier", shown)
    representation.arriving(model, "classifier", shown, lambda logits: logits.sum())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(m.training and not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_steady_holds_the_statistics_of_the_batch() -> None:
    model, shown = build("convnet", (3, 9, 9), width=2).train(), images((3, 9, 9))
    fixed = representation.steady(model, shown)
    assert torch.allclose(fixed(shown), model(shown), atol=1e-5)
    assert torch.allclose(fixed(shown)[:1], fixed(shown[:1]), atol=1e-5)


def test_what_cannot_be_cut_is_said_by_name() -> None:
    with pytest.raises(SkipCell, match="Convolutions has no fully connected layer"):
        representation.linear_layers(Convolutions(), (1, 4, 4))
    with pytest.raises(SkipCell, match=r"Twice.*'layer' twice"):
        representation.inputs(Twice(), images((1, 4, 4)))
    with pytest.raises(SkipCell, match=r"Twice.*'layer' 2 times"):
        representation.arriving(Twice(), "layer", images((1, 4, 4)), lambda logits: logits.sum())
    with pytest.raises(UserError, match=r"'middle'; legal: first, last"):
        representation.extractor(Crossed(), "middle", (1, 4, 4))
    with pytest.raises(SkipCell, match="'idle'"):
        representation.row_norms(Crossed(), "idle", images((1, 4, 4)))
    dropping = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2))
    with pytest.raises(SkipCell, match="dropout in '1'"):
        representation.row_norms(dropping, "2", images((1, 4, 4)))
    assert representation.row_norms(dropping.eval(), "2", images((1, 4, 4))).norms.allclose(torch.ones(3, 16))
