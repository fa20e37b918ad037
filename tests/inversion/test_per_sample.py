"""Batched victim gradients against torch.func, with their second derivatives."""

import pytest
import torch
from torch import nn

from fl_attack_bench import models
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy
from fl_attack_bench.suite import Model
from fl_attack_bench.update import Layout

NETWORKS = [
    ("lenet_dlg", {}, (3, 32, 32)),
    ("lenet_dlg", {}, (1, 28, 28)),
    ("lenet5", {"activation": "tanh", "pool": "avg"}, (1, 28, 28)),
    ("convnet", {"width": 4}, (3, 32, 32)),
    ("mlp", {"activation": "sigmoid"}, (1, 28, 28)),
    ("logistic", {}, (1, 28, 28)),
]


def network(name: str, options: dict[str, object], shape: tuple[int, int, int]) -> nn.Module:
    module = (
        models.build(Model(name=name, options=options), shape, 10, torch.Generator().manual_seed(0)).double().eval()
    )
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_var is not None
            layer.running_var.uniform_(0.01, 0.1, generator=torch.Generator().manual_seed(1))
    return module


@pytest.mark.parametrize(("name", "options", "shape"), NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_layer_products_equal_torch_func(
    name: str, options: dict[str, object], shape: tuple[int, int, int], batch: int
) -> None:
    module = network(name, options, shape)
    layout = Layout.of(module)
    fast, general = VictimGradients(module, layout, cross_entropy), VictimGradients(module, layout, cross_entropy)
    assert fast.layered
    general.layered, general._model = False, module
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(4, batch, *shape, dtype=torch.float64, generator=generator, requires_grad=True)
    logits = torch.randn(4, batch, 10, dtype=torch.float64, generator=generator, requires_grad=True)
    observed = torch.randn(4, layout.size, dtype=torch.float64, generator=generator)
    results = []
    for gradients in (fast, general):
        found = gradients(images, logits.softmax(-1))
        back = torch.autograd.grad((found - observed).square().sum(), (images, logits))
        results.append((found.detach(), *back))
    assert results[1][0].abs().max() > 1e-3
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-10)


class Twice(nn.Module):
    """Uses a parameter that belongs to no known layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.linear = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1) * self.scale)


def test_a_network_with_other_layers_falls_back_to_torch_func_and_is_left_alone() -> None:
    module = Twice().double()
    layout = Layout.of(module)
    gradients = VictimGradients(module, layout, cross_entropy)
    assert not gradients.layered
    images, labels = torch.rand(2, 1, 1, 2, 2, dtype=torch.float64), torch.tensor([[0], [2]])
    found = gradients(images, nn.functional.one_hot(labels, 3).double())
    for row in range(2):
        module.zero_grad()
        nn.functional.cross_entropy(module(images[row]), labels[row]).backward()
        alone = layout.flatten({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
        assert torch.allclose(found[row], alone)


def test_cross_entropy_takes_probabilities() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    targets = torch.randn(5, 4, dtype=torch.float64).softmax(-1)
    wanted = nn.functional.cross_entropy(logits, targets, reduction="none")
    assert torch.allclose(cross_entropy(logits, targets), wanted)
