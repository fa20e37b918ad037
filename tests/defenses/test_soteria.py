"""Soteria against the paper's algorithms written out one sample and one feature at a time."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fl_attack_bench.defenses import soteria
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_attack_bench import models, representation
from fl_attack_bench.api import HorizontalDefense, Layout, LocalPlan, LocalStep, Observation, SkipCell, Update
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import build
from fl_attack_bench.tasks.horizontal import Model

NETWORKS = [
    ("lenet_dlg", {}, (1, 12, 12), None, "classifier"),
    ("convnet", {"width": 2}, (3, 18, 18), None, "classifier"),
    ("lenet5", {}, (1, 12, 12), None, "features.7"),
    ("lenet5", {}, (1, 12, 12), "features.9", "features.9"),
    ("logistic", {}, (1, 6, 6), None, "classifier"),
]


def make(**parameters: object) -> HorizontalDefense:
    found = build(soteria.Soteria, parameters)
    assert isinstance(found, HorizontalDefense)
    return found


def network(name: str, options: dict[str, object], shape: tuple[int, int, int], seed: int = 1) -> nn.Module:
    return models.build(Model(name=name, options=options), shape, 4, torch.Generator().manual_seed(seed)).double()


def a_step(model: nn.Module, shape: tuple[int, int, int], count: int = 3, seed: int = 2) -> LocalStep:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *shape, generator=generator, dtype=torch.float64)
    return LocalStep(model, images, torch.arange(count) % 4, generator)


def gradient(step: LocalStep) -> Update:
    """As a client computes it, on a copy, whose running statistics move."""
    model = copy.deepcopy(step.model)
    loss = F.cross_entropy(model(step.images), step.labels)
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return Update(torch.cat([part.flatten() for part in parts]), Layout.of(model))


def by_loop(step: LocalStep, layer: str, prune: float) -> tuple[Tensor, Tensor]:
    """Algorithms 1 and 2 for each sample by itself: the layer's weight gradient, and r'. Evaluation mode."""
    model, module = step.model, step.model.get_submodule(layer)
    total, perturbed = torch.zeros_like(module.weight), []
    for image, label in zip(step.images, step.labels, strict=True):
        pixels, seen = image.unsqueeze(0).clone().requires_grad_(), {}
        hook = module.register_forward_hook(lambda _, args, out, seen=seen: seen.update(r=args[0], b=out))
        loss = F.cross_entropy(model(pixels), label.view(1))
        hook.remove()
        (delta,) = torch.autograd.grad(loss, seen["b"], retain_graph=True)
        r = seen["r"][0]
        scores = []
        for feature in r:
            (slope,) = torch.autograd.grad(feature, pixels, retain_graph=True)
            inverse = torch.linalg.pinv(slope.reshape(1, -1)) if slope.any() else torch.zeros(1)
            scores.append(float((feature.detach() * inverse).norm()))
        kept = r.detach().clone()
        kept[np.argsort(scores)[len(scores) - max(1, round(prune * len(scores))) :].tolist()] = 0
        perturbed.append(kept)
        total += torch.outer(delta[0], kept) / len(step.images)
    return total.detach(), torch.stack(perturbed)


@pytest.mark.parametrize(("name", "options", "shape", "layer", "defended"), NETWORKS)
@pytest.mark.parametrize("prune", [0.001, 0.3])
def test_the_layers_gradient_is_the_algorithms(name, options, shape, layer, defended, prune) -> None:
    step = a_step(network(name, options, shape).eval(), shape)
    before = gradient(step)
    after = make(prune=prune, layer=layer).local_gradient(before, step)
    wanted, perturbed = by_loop(step, defended, prune)
    views, unchanged = after.layout.views(after.flat), before.layout.views(before.flat)
    assert torch.allclose(views[f"{defended}.weight"], wanted, atol=1e-12)
    assert not torch.allclose(wanted, unchanged[f"{defended}.weight"], atol=1e-9)
    assert all(torch.equal(views[n], unchanged[n]) for n in views if n != f"{defended}.weight")
    certificate = make(prune=prune, layer=layer).certify(step)
    assert certificate is not None
    assert certificate.layer == defended
    assert torch.allclose(certificate.representation, perturbed)


def test_the_released_formula_is_one_mask_for_the_batch() -> None:
    step = a_step(network("convnet", {"width": 2}, (3, 18, 18)).eval(), (3, 18, 18))
    before = gradient(step)
    images = step.images.clone().requires_grad_()
    r = step.model.features(images).flatten(1)
    norms = torch.zeros_like(r)
    for feature in range(r.shape[1]):
        (slope,) = torch.autograd.grad(r[:, feature].sum(), images, retain_graph=True)
        norms[:, feature] = slope.flatten(1).norm(dim=1)
    scores = (norms / (r + 0.1)).sum(0).detach().numpy()
    for prune in (0.2, 0.5, 0.9):
        mask = np.where(np.abs(scores) < np.percentile(scores, 100 * prune), 0.0, 1.0)
        after = make(prune=prune, formula="released").local_gradient(before, step)
        wanted = before.layout.views(before.flat)["classifier.weight"] * torch.as_tensor(mask)
        assert torch.equal(after.layout.views(after.flat)["classifier.weight"], wanted)
        place = before.layout.slices["classifier.weight"]
        assert torch.equal(after.flat[: place.start], before.flat[: place.start])
        assert torch.equal(after.flat[place.stop :], before.flat[place.stop :])


@given(
    st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 40), st.floats(0, 1, exclude_min=True, exclude_max=True)
)
@settings(max_examples=100, deadline=None)
def test_as_many_features_go_as_asked_for_and_none_of_a_higher_score_stays(seed, batch, count, prune) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, count, generator=generator).relu()
    norms = torch.rand(batch, count, generator=generator) * (features > 0)
    keep = soteria.paper_keep(features, norms, prune)
    assert (~keep).sum(1).eq(max(1, round(prune * count))).all()
    scores = torch.where(features > 0, features / norms, 0)
    for row, stays in zip(scores, keep, strict=True):
        assert not stays.any() or row[stays].max() <= row[~stays].min()
    mask = soteria.released_keep(features, norms, prune)
    assert mask.shape == (1, count)
    assert mask.any()


def test_dead_features_go_last_in_the_paper_and_first_in_the_released_code() -> None:
    features, norms = torch.tensor([[0.0, 1.0, 2.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    assert soteria.paper_keep(features, norms, 0.5).tolist() == [[True, False, False, True]]
    assert soteria.released_keep(features, norms, 0.5).tolist() == [[False, True, True, False]]
    # A feature that no pixel moves, but is not zero, has an inverse without bound.
    assert soteria.paper_keep(features, torch.tensor([[0.0, 0.0, 5.0, 0.0]]), 0.1)[0, 1].item() is False


def test_batch_norm_in_training_mode_is_left_alone_and_uses_its_batch() -> None:
    step = a_step(network("convnet", {"width": 2}, (3, 18, 18)).train(), (3, 18, 18))
    before, state = gradient(step), {n: v.clone() for n, v in step.model.state_dict().items()}
    # Pruning the least possible feature of each sample changes a gradient of the same r: the others stay as they were.
    after = make(prune=0.001).local_gradient(before, step)
    assert all(torch.equal(state[name], value) for name, value in step.model.state_dict().items())
    difference = (after.flat - before.flat)[before.layout.slices["classifier.weight"]].view(4, -1)
    assert 1 <= int((difference.abs() > 1e-9).any(0).sum()) <= 3


def seen(values: Tensor, layout: Layout, local: LocalPlan, noise: float = 0.0, **parameters: object) -> Tensor:
    observation = Observation.exact(values)
    read = make(**parameters).interpret(observation.noisier(noise) if noise else observation, layout, local)
    assert torch.equal(read.values, values)
    assert torch.equal(read.sent, observation.sent)
    return read.noise


@pytest.mark.parametrize("formula", ["paper", "released"])
def test_the_server_learns_which_columns_were_destroyed(formula: str) -> None:
    shape = (1, 12, 12)
    one = a_step(network("lenet_dlg", {}, shape).eval(), shape, count=1)
    update = make(prune=0.3, formula=formula).local_gradient(gradient(one), one)
    noise = seen(update.flat, update.layout, LocalPlan(1, 1, 1, 0.1), prune=0.3, formula=formula)
    weights = update.layout.views(noise)["classifier.weight"]
    columns = weights.isinf().all(0)
    assert torch.equal(columns, weights.isinf().any(0))
    # 0.3 of 108 are 32; below the 0.3 quantile, which lies between the 33rd and the 34th of 108 numbers, are 33.
    assert int(columns.sum()) == {"paper": 32, "released": 33}[formula]
    assert torch.equal(columns, update.layout.views(update.flat)["classifier.weight"].eq(0).all(0))
    assert not noise[: update.layout.slices["classifier.weight"].start].any()
    truth = gradient(one).layout.views(gradient(one).flat)["classifier.weight"]
    kept = update.layout.views(update.flat)["classifier.weight"]
    assert torch.allclose(kept[:, ~columns], truth[:, ~columns], atol=1e-12)
    both = seen(torch.stack([update.flat, update.flat]), update.layout, LocalPlan(1, 1, 1, 0.1), formula=formula)
    assert torch.equal(both, torch.stack([noise, noise]))


@pytest.mark.parametrize(
    ("formula", "local", "noise", "whole"),
    [
        ("paper", LocalPlan(2, 1, 2, 0.1), 0.0, True),
        ("released", LocalPlan(2, 1, 2, 0.1), 0.0, False),
        ("released", LocalPlan(2, 2, 2, 0.1), 0.0, True),
        ("released", LocalPlan(2, 1, 1, 0.1), 0.0, True),
        ("paper", LocalPlan(1, 3, 1, 0.1), 0.0, True),
        ("paper", LocalPlan(1, 1, 1, 0.1), 0.2, True),
    ],
)
def test_where_columns_do_not_tell_the_whole_layer_is_suspect(formula, local, noise, whole) -> None:
    layout = Layout(("conv.weight", "a.weight", "a.bias", "b.weight"), ((3, 1, 2, 2), (4, 5), (4,), (2, 4)))
    values = torch.ones(layout.size)
    layout.views(values)["a.weight"][:, 2] = 0
    found = layout.views(seen(values, layout, local, noise, formula=formula))
    assert found["a.weight"].isinf().all(0).tolist() == ([True] * 5 if whole else [False, False, True, False, False])
    assert all((found[name] == noise).all() for name in ("conv.weight", "a.bias", "b.weight"))
    named = layout.views(seen(values, layout, LocalPlan(8, 1, 8, 0.1), layer="b"))
    assert named["b.weight"].isinf().all()
    assert not named["a.weight"].any()


class Invertible(nn.Module):
    """One square layer and an activation that can be undone, then the defended layer."""

    def __init__(self, activation: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        square = nn.Linear(9, 9)
        nn.init.normal_(square.weight, generator=generator)
        nn.init.normal_(square.bias, generator=generator)
        self.features = nn.Sequential(nn.Flatten(), square, activation)
        self.classifier = nn.Linear(9, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


@given(st.integers(0, 100_000), st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_the_bound_is_never_above_the_distance_where_f_is_linear(seed: int, prune: float) -> None:
    model = Invertible(nn.Identity(), torch.Generator().manual_seed(seed)).double()
    step = a_step(model, (1, 3, 3), seed=seed)
    certificate = make(prune=prune, layer="classifier").certify(step)
    assert certificate is not None
    square = model.features[1]
    undone = torch.linalg.solve(square.weight, (certificate.representation - square.bias).T).T.detach()
    assert torch.allclose(certificate.extract(undone.view(3, 1, 3, 3)), certificate.representation, atol=1e-6)
    distance = (undone - step.images.flatten(1)).norm(dim=1)
    assert (certificate.bound <= distance * (1 + 1e-9)).all()
    assert torch.allclose(certificate.bound * torch.linalg.matrix_norm(square.weight, 2), certificate.change, rtol=1e-3)


@given(st.integers(0, 100_000), st.floats(0.01, 1.0))
@settings(max_examples=50, deadline=None)
def test_the_bound_holds_to_first_order_where_f_bends(seed: int, share: float) -> None:
    """For a small change of r, undone through the sigmoid exactly, the bound fails by no more than the second order."""
    model = Invertible(nn.Sigmoid(), torch.Generator().manual_seed(seed)).double()
    step = a_step(model, (1, 3, 3), seed=seed)
    steepest = representation.spectral_norm(model, "classifier", step.images)
    r = model.features(step.images).detach()
    change = torch.randn(r.shape, generator=step.rng, dtype=r.dtype)
    change *= 1e-4 * share * (r * (1 - r)).amin(1, keepdim=True)
    square = model.features[1]
    undone = torch.linalg.solve(square.weight, ((r + change).logit() - square.bias).T).T.detach()
    distance = (undone - step.images.flatten(1)).norm(dim=1)
    assert (change.norm(dim=1) / steepest <= distance * (1 + 1e-2)).all()


def test_a_zero_feature_that_is_pruned_certifies_nothing() -> None:
    model = network("logistic", {}, (1, 4, 4))
    step = a_step(model, (1, 4, 4))
    black = LocalStep(model, torch.zeros_like(step.images), step.labels, step.rng)
    certificate = make().certify(black)
    assert certificate is not None
    assert not certificate.bound.any()
    pixels = make(prune=0.5).certify(step)
    assert pixels is not None
    # The representation is the image itself, so that the bound is the distance; the largest pixels go.
    assert torch.allclose(pixels.bound, step.images.flatten(1).sort(1).values[:, 8:].norm(dim=1), rtol=1e-3)


def test_what_cannot_be_defended_is_skipped_with_its_reason() -> None:
    bare = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()).double()
    step = a_step(bare, (1, 3, 3))
    layout = Layout.of(bare)
    with pytest.raises(SkipCell, match="Sequential has no fully connected layer"):
        make().local_gradient(Update(torch.zeros(layout.size, dtype=torch.float64), layout), step)
    with pytest.raises(SkipCell, match="no fully connected layer"):
        make().interpret(Observation.exact(torch.zeros(layout.size)), layout, LocalPlan(1, 1, 1, 0.1))
    with pytest.raises(SkipCell, match="no fully connected layer"):
        make().certify(step)
    model = network("lenet5", {}, (1, 12, 12))
    with pytest.raises(SkipCell, match=r"LeNet5.*'classfier'.*legal: features.7, features.9, classifier"):
        make(layer="classfier").certify(a_step(model, (1, 12, 12)))


@pytest.mark.parametrize("parameters", [{"prune": 0.0}, {"prune": 1.0}, {"formula": "mine"}, {"layer": 3}])
def test_illegal_parameters_are_refused_by_name(parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        make(**parameters)


def test_what_another_defense_zeroed_before_does_not_come_back() -> None:
    step = a_step(network("lenet_dlg", {}, (1, 12, 12)).eval(), (1, 12, 12), count=1)
    once = make(prune=0.9).local_gradient(gradient(step), step)
    twice = make(prune=0.1).local_gradient(once, step)
    assert torch.allclose(twice.flat, once.flat, atol=1e-12)


def test_a_network_that_saturates_certifies_no_number_and_stops_nobody() -> None:
    model = network("lenet_dlg", {}, (1, 12, 12)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e12)
    certificate = make().certify(a_step(model, (1, 12, 12)))
    assert certificate is not None
    assert certificate.bound.shape == (3,)
    assert torch.linalg.vector_norm(certificate.representation, dim=1).isfinite().all()
