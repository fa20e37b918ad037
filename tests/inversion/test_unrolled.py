"""Unrolled local training against a client that really takes the steps, and against finite differences."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.api import LocalPlan
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy
from fl_attack_bench.inversion.unrolled import UnrolledUpdates
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

PLANS = [LocalPlan(4, 1, 4, 0.5), LocalPlan(4, 3, 4, 0.5), LocalPlan(4, 2, 2, 0.3), LocalPlan(4, 2, 3, 0.3)]
NETWORKS = {
    "lenet_dlg": ({"scale": 0.3}, (1, 12, 12)),
    "convnet": ({"width": 2}, (3, 16, 16)),
    "mlp": ({"hidden": 8}, (1, 8, 8)),
}


def network(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    options, shape = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    return models.build(Model.model_validate({"name": name, "options": options}), shape, 10, generator).double(), shape


def trained(module: nn.Module, layout: Layout, images: Tensor, labels: Tensor, plan: LocalPlan) -> Tensor:
    """``(w_received - w_local) / lr`` of a client that runs torch.optim.SGD."""
    local = copy.deepcopy(module).eval()
    optimiser = torch.optim.SGD(local.parameters(), lr=plan.learning_rate)
    for _ in range(plan.epochs):
        for rows in torch.arange(plan.samples).split(plan.batch_size):
            optimiser.zero_grad()
            F.cross_entropy(local(images[rows]), labels[rows]).backward()
            optimiser.step()
    moved = {n: p.detach() - dict(local.named_parameters())[n].detach() for n, p in module.named_parameters()}
    return layout.flatten(moved) / plan.learning_rate


def victims(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(3, 4, *shape, dtype=torch.float64, generator=generator)
    return images, torch.randint(10, (3, 4), generator=generator)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_what_local_training_sends(name: str, plan: LocalPlan) -> None:
    module, shape = network(name)
    layout = Layout.of(module)
    images, labels = victims(shape)
    found = UnrolledUpdates(module, layout, cross_entropy, plan)(images, F.one_hot(labels, 10).double())
    for row in range(3):
        wanted = trained(module, layout, images[row], labels[row], plan)
        assert torch.allclose(found[row], wanted, rtol=1e-8, atol=1e-11)
    once = VictimGradients(module, layout, cross_entropy)(images, F.one_hot(labels, 10).double())
    assert plan.steps == 1 or (found - plan.steps * once).norm() > 1e-3 * once.norm()


@pytest.mark.parametrize("name", ["lenet_dlg", "convnet"])
def test_its_derivative_is_that_of_finite_differences(name: str) -> None:
    module, shape = network(name)
    layout, plan = Layout.of(module), LocalPlan(4, 2, 2, 0.3)
    images, labels = victims(shape)
    updates, targets = UnrolledUpdates(module, layout, cross_entropy, plan), F.one_hot(labels, 10).double()
    generator = torch.Generator().manual_seed(3)
    direction, weights = (
        torch.randn(s, dtype=torch.float64, generator=generator) for s in (images.shape, (3, layout.size))
    )

    def value(x: Tensor) -> Tensor:
        return (updates(x, targets) * weights).sum(1)

    images.requires_grad_()
    (gradient,) = torch.autograd.grad(value(images).sum(), images)
    step = 1e-7
    with torch.no_grad():
        difference = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert torch.allclose((gradient * direction).flatten(1).sum(1), difference, rtol=1e-5)
    (others,) = torch.autograd.grad(value(images)[1], images)
    assert not others[[0, 2]].any()
