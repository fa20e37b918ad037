"""Batched victim gradients against autograd, one victim after the other, with their second derivatives."""

import copy

import pytest
import torch
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

NETWORKS = [
    ("lenet_dlg", {}, (3, 32, 32)),
    ("lenet_dlg", {"normalise": "cifar10"}, (3, 32, 32)),
    ("lenet_dlg", {}, (1, 28, 28)),
    ("lenet5", {"activation": "tanh", "pool": "avg"}, (1, 28, 28)),
    ("lenet5", {"activation": "sigmoid", "pool": "max"}, (3, 32, 32)),
    ("convnet", {"width": 4}, (3, 32, 32)),
    ("mlp", {"activation": "sigmoid"}, (1, 28, 28)),
    ("logistic", {}, (1, 28, 28)),
]


def network(name: str, options: dict[str, object], shape: tuple[int, int, int]) -> nn.Module:
    module = models.build(Model(name=name, options=options), shape, 10, torch.Generator().manual_seed(0))
    return with_statistics(module.double().eval())


def with_statistics(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_var is not None
            assert layer.running_mean is not None
            layer.running_var.uniform_(0.01, 0.1, generator=torch.Generator().manual_seed(1))
            layer.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(2))
    return module


def one_victim(module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    logits = module(images)
    loss = -(targets * logits.log_softmax(-1)).sum(-1).mean()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, module.parameters(), create_graph=True)])


def check(module: nn.Module, shape: tuple[int, int, int], batch: int, victims: int = 3) -> None:
    """Gradients, and the derivative of a weighted distance between them and others, to images and label logits."""
    layout = Layout.of(module)
    gradients = VictimGradients(module, layout, cross_entropy)
    assert gradients.layered
    generator = torch.Generator().manual_seed(2)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, dtype=torch.float64, generator=generator)

    images = (drawn(victims, batch, *shape) * 0.3 + 0.5).requires_grad_()
    logits = drawn(victims, batch, 10).requires_grad_()
    observed, weights = drawn(victims, layout.size), drawn(victims, layout.size).square()

    def derivatives(found: Tensor) -> tuple[Tensor, ...]:
        distance = (weights * (found - observed).square()).sum()
        return (found.detach(), *torch.autograd.grad(distance, (images, logits)))

    ours = derivatives(gradients(images, logits.softmax(-1)))
    each = [one_victim(module, x, y) for x, y in zip(images, logits.softmax(-1), strict=True)]
    theirs = derivatives(torch.stack(each))
    for found, wanted in zip(ours, theirs, strict=True):
        assert wanted.abs().max() > 1e-5
        assert torch.allclose(found, wanted, rtol=1e-8, atol=1e-9 * float(wanted.abs().max()))


@pytest.mark.parametrize(("name", "options", "shape"), NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_sweeps_equal_autograd(
    name: str, options: dict[str, object], shape: tuple[int, int, int], batch: int
) -> None:
    check(network(name, options, shape), shape, batch)


# What no network of ours has: convolutions of odd shape, with many channels, without bias; what stands first.
CHAINS = {
    "wide": [nn.Conv2d(2, 32, 3, padding=1), nn.Tanh(), nn.Conv2d(32, 5, (3, 5), (2, 1), (0, 2), bias=False)],
    "no bias first": [nn.Conv2d(2, 4, (5, 3), (1, 2), (2, 0), bias=False), nn.Sigmoid(), nn.Conv2d(4, 5, 3)],
    "pools first": [nn.MaxPool2d(3, 2, 1), nn.Tanh(), nn.AvgPool2d(2, 1), nn.Conv2d(2, 5, 3), nn.Sigmoid()],
    "norm first": [nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 5, 3), nn.Identity(), nn.Tanh()],
    "overlapping pools": [nn.Conv2d(2, 5, 3), nn.Tanh(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1)],
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("batch", [1, 2])
def test_the_sweeps_equal_autograd_over_any_chain(name: str, batch: int) -> None:
    torch.manual_seed(0)
    features = CHAINS[name]
    size = nn.Sequential(*features)(torch.zeros(1, 2, 11, 12)).numel()
    module = nn.Sequential(*features, nn.Flatten(), nn.Linear(size, 7, bias=False), nn.Tanh(), nn.Linear(7, 10))
    check(with_statistics(copy.deepcopy(module).double().eval()), (2, 11, 12), batch)


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
