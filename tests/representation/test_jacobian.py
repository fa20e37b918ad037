"""Row norms and spectral norms of Jacobians, against Jacobians formed by torch one sample at a time in float64."""

import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_attack_bench import models, representation
from fl_attack_bench.representation import chain, sliding, spectrum
from fl_attack_bench.representation.jacobian import general_row_norms
from fl_attack_bench.tasks.horizontal import Model

NETWORKS = [
    ("lenet_dlg", {}, (1, 28, 28)),
    ("lenet_dlg", {}, (3, 14, 17)),
    ("lenet5", {}, (1, 28, 28)),
    ("lenet5", {"pool": "avg", "activation": "tanh"}, (3, 20, 16)),
    ("convnet", {"width": 2}, (3, 18, 21)),
    ("convnet", {"width": 2, "norm": "none"}, (1, 13, 19)),
    ("convnet", {"width": 2, "normalise": "cifar10"}, (3, 18, 18)),
    ("logistic", {}, (1, 8, 8)),
    ("mlp", {"hidden": 16}, (1, 8, 8)),
]


def build(name: str, options: dict[str, object], shape: tuple[int, int, int]) -> nn.Module:
    return models.build(Model(name=name, options=options), shape, 10, torch.Generator().manual_seed(1)).double()


def pictures(shape: tuple[int, ...], count: int = 2, seed: int = 2) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Jacobians ``(B, L, pixels)``, with batch norm's batch statistics written into a copy by torch itself."""
    fixed = copy.deepcopy(model)
    for module in fixed.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training:
            module.momentum = 1.0
    if model.training:
        fixed(images)
        count = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(lambda m, args, name=name: count.update({name: args[0][:, 0].numel()}))
        copy.deepcopy(model)(images)
        for module in model.modules():
            module._forward_pre_hooks.clear()
        for name, module in fixed.named_modules():
            if isinstance(module, nn.BatchNorm2d):  # torch stores the unbiased variance and normalises with the biased
                module.running_var *= (count[name] - 1) / count[name]
    fixed.eval()
    found: list[Tensor] = []
    fixed.get_submodule(layer).register_forward_pre_hook(lambda _, args: found.append(args[0]))

    def entering(image: Tensor) -> Tensor:
        fixed(image.unsqueeze(0))
        return found.pop()[0]

    return torch.stack([torch.autograd.functional.jacobian(entering, image).flatten(1) for image in images])


@pytest.mark.parametrize(("name", "options", "shape"), NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_row_norms_are_those_of_the_jacobian(name, options, shape, training) -> None:
    model = build(name, options, shape).train(training)
    images = pictures(shape)
    for layer in representation.linear_layers(model, shape):
        wanted = by_hand(model, layer, images).norm(dim=2)
        assert chain.trace(model, layer, images) is not None, "the fast way is what this test is about"
        found = representation.row_norms(model, layer, images)
        assert torch.allclose(found.norms, wanted, rtol=1e-9, atol=1e-12)
        assert torch.allclose(general_row_norms(model, layer, images).norms, wanted, rtol=1e-9, atol=1e-12)
        assert torch.allclose(found.representation, representation.inputs(model, images)[layer], atol=1e-12)


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Sequential:
    """Three convolutions of any stride, padding, dilation and kernel, with whatever may stand between them."""
    stack: list[nn.Module] = []
    channels = 2
    for _ in range(3):
        after = draw(st.integers(1, 4))
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
        stack.append(
            nn.Conv2d(
                channels,
                after,
                kernel,
                stride=draw(st.integers(1, 3)),
                padding=draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
                dilation=draw(st.integers(1, 2)),
                bias=draw(st.booleans()),
            )
        )
        between = draw(st.sampled_from(["none", "relu", "relu_", "pool", "overlap", "norm", "softplus", "group"]))
        stack += {
            "none": [],
            "relu": [nn.ReLU()],
            "relu_": [nn.ReLU(inplace=True)],
            "pool": [nn.MaxPool2d(2, padding=1)],
            "overlap": [nn.Tanh(), nn.MaxPool2d(3, stride=2, padding=1)],
            "norm": [nn.BatchNorm2d(after), nn.Sigmoid()],
            "softplus": [nn.Softplus()],
            "group": [nn.GroupNorm(1, after)],
        }[between]
        channels = after
    return nn.Sequential(*stack, nn.Flatten())


@given(convolutions(), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_row_norms_of_any_stack_of_convolutions(stack: nn.Sequential, seed: int, training: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 2, 17, 15, generator=generator, dtype=torch.float64)
    stack = stack.double().train(training)
    for parameter in stack.parameters():
        nn.init.normal_(parameter, generator=generator)
    try:
        width = stack.eval()(images).shape[1]
    except RuntimeError:
        return  # a kernel larger than what is left of the image
    model = nn.Sequential(*stack, nn.Linear(width, 2)).double().train(training)
    last = str(len(stack))
    wanted = general_row_norms(model, last, images).norms
    assert torch.allclose(representation.row_norms(model, last, images).norms, wanted, rtol=1e-8, atol=1e-10)


@given(st.data(), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_all_places_at_once_are_the_same_as_each_by_itself(data: st.DataObject, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sides = data.draw(st.tuples(st.integers(9, 16), st.integers(9, 16)))
    channels = data.draw(st.integers(1, 3))
    images = torch.rand(2, channels, *sides, generator=generator, dtype=torch.float64)
    stack: list[nn.Module] = []
    for last in (False, False, True):
        kernel = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 4)))
        padding = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        stride = 1 if last else data.draw(st.integers(1, 3))
        stack.append(nn.Conv2d(channels, channels + 1, kernel, stride=stride, padding=padding))
        stack += [nn.Sigmoid()] if data.draw(st.booleans()) else []
        channels += 1
    body = nn.Sequential(*stack, nn.Flatten()).double()
    for parameter in body.parameters():
        nn.init.normal_(parameter, generator=generator)
    try:
        width = body(images).shape[1]
    except RuntimeError:
        return  # a kernel larger than what is left of the image
    model = nn.Sequential(*body, nn.Linear(width, 2)).double()
    last_layer = str(len(body))
    found = chain.trace(model, last_layer, images)
    assert found is not None
    stages = list(reversed(found.stages))
    slope = torch.ones(1, 1, dtype=torch.float64)
    if isinstance(stages[0], chain.Slope):
        slope = stages.pop(0).values.flatten(1)
    wanted = general_row_norms(model, last_layer, images).norms
    assert torch.allclose(sliding.norms(stages, images) * slope, wanted, rtol=1e-8, atol=1e-10)


def test_mnist_takes_the_short_way_and_cifar_does_not() -> None:
    for channels, short in ((1, True), (3, False)):
        shape = (channels, 28, 28)
        model, images = build("lenet_dlg", {}, shape), pictures(shape)
        found = chain.trace(model, "classifier", images)
        assert found is not None
        assert sliding.suits(list(reversed(found.stages))[1:], images) is short


class Residual(nn.Module):
    """No chain: an addition, and an activation that is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.classifier = nn.Linear(108, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.tanh(self.one(x))
        return self.classifier((first + self.two(first)).flatten(1))


class Written(Residual):
    """No chain either, although every layer gets the memory that the one before returned: it was written to."""

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        return self.classifier(self.two(first.clamp_(min=0)).flatten(1))


@pytest.mark.parametrize("kind", [Residual, Written])
def test_a_network_that_is_no_chain_goes_the_general_way(kind: type[nn.Module]) -> None:
    model, images = kind().double(), pictures((1, 6, 6))
    assert chain.trace(model, "classifier", images) is None
    found = representation.row_norms(model, "classifier", images).norms
    assert torch.allclose(found, by_hand(model, "classifier", images).norm(dim=2), rtol=1e-9)


def test_a_dead_feature_has_no_gradient_and_its_sample_does_not_matter_to_others() -> None:
    model = build("convnet", {"width": 4, "norm": "none"}, (3, 18, 18))
    images = pictures((3, 18, 18), 5)
    found = representation.row_norms(model, "classifier", images)
    dead = found.representation == 0
    assert dead.any()
    assert not dead.all()
    assert not found.norms[dead].any()
    assert (found.norms[~dead] > 0).all()
    alone = [representation.row_norms(model, "classifier", image.unsqueeze(0)).norms for image in images]
    assert torch.allclose(found.norms, torch.cat(alone), rtol=1e-12)


@pytest.mark.parametrize(("name", "options", "shape"), NETWORKS)
def test_the_spectral_norm_is_the_largest_singular_value(name, options, shape) -> None:
    model, images = build(name, options, shape), pictures(shape, 3)
    for layer in representation.linear_layers(model, shape):
        wanted = torch.linalg.svdvals(by_hand(model, layer, images))[:, 0]
        found = representation.spectral_norm(model, layer, images)
        assert torch.allclose(found, wanted, rtol=1e-3)
        assert (found >= wanted * (1 - 1e-9)).all()


@example(256, 24, 13, torch.float32)  # its start has hardly any of the largest eigenvalue's vector
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(0, 30), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=60, deadline=None)
def test_the_largest_eigenvalue_of_any_gram_matrix(seed: int, size: int, rank: int, kind: torch.dtype) -> None:
    factor = torch.randn(2, size, rank, generator=torch.Generator().manual_seed(seed), dtype=kind)
    matrix = factor @ factor.mT
    wanted = torch.linalg.eigvalsh(matrix.double())[:, -1].clamp(min=0)
    start = spectrum._start(torch.empty(2, size, dtype=kind))
    found = spectrum.largest_eigenvalue(lambda vector: (matrix @ vector.unsqueeze(2)).squeeze(2), start).double()
    assert torch.allclose(found, wanted, rtol=2e-3, atol=1e-6)
    assert (found >= wanted * (1 - 1e-5)).all()


class Named(nn.Module):
    """Hands its layers what they get by name, so that watching them shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.classifier = nn.Tanh(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.act(input=x).flatten(1))


def test_a_layer_that_is_called_by_keyword_goes_the_general_way() -> None:
    images = pictures((1, 2, 2))
    found = representation.row_norms(Named().double(), "classifier", images).norms
    assert torch.allclose(found, 1 - images.flatten(1).tanh() ** 2)
