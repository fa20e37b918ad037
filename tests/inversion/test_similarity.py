"""The cosine objective against plain autograd on torch's own cosine, one victim at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy
from fl_attack_bench.inversion.similarity import Direction, Objective, Problem, cosine_distance
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_distance_is_one_minus_the_cosine_with_its_gradient() -> None:
    found, wanted = normal(5, 40, seed=1).requires_grad_(), F.normalize(normal(5, 40, seed=2))
    ours, theirs = cosine_distance(found, wanted), 1 - F.cosine_similarity(found, wanted)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    weights = normal(5, seed=3)
    gradients = [torch.autograd.grad((value * weights).sum(), found)[0] for value in (ours, theirs)]
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-14)
    assert torch.autograd.gradcheck(lambda f: cosine_distance(f, wanted), (found,))


def test_it_is_precise_where_one_minus_the_cosine_is_not() -> None:
    wanted = F.normalize(normal(1, 10_000))
    aside = normal(1, 10_000, seed=1)
    aside -= (aside @ wanted.T) * wanted
    angle = 1e-6
    found = wanted + angle * F.normalize(aside)
    distance = cosine_distance(found.float(), wanted.float())
    assert float(distance) == pytest.approx(angle**2 / 2, rel=0.05, abs=0)
    plain = 1 - F.cosine_similarity(found.float(), wanted.float())
    assert float(plain) != pytest.approx(angle**2 / 2, rel=0.5, abs=0)


def test_a_victim_of_whom_nothing_is_known_pulls_nowhere() -> None:
    found = normal(1, 6).requires_grad_()
    distance = cosine_distance(found * 0, torch.zeros(1, 6, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(distance.sum(), found)
    assert float(distance.detach()) == 0
    assert not gradient.any()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    options = Model(name="lenet5", options={"activation": "tanh", "pool": "avg"})
    return models.build(options, (1, 20, 20), 10, torch.Generator().manual_seed(0)).double().eval()


def by_hand(module: nn.Module, image: Tensor, labels: Tensor, seen: list[tuple[Tensor, Tensor, float]], tv: float):
    """The published form: loss, create_graph, flat cosine, total variation; one victim."""
    image = image.clone().requires_grad_()
    loss = F.cross_entropy(module(image), labels)
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()), create_graph=True)])
    value = tv * ((image[..., 1:, :] - image[..., :-1, :]).abs().mean() + image.diff(dim=-1).abs().mean())
    for observed, weights, share in seen:
        scalar = (weights * flat * observed).sum()
        norms = (weights * flat**2).sum().sqrt() * (weights * observed**2).sum().sqrt()
        value = value + share * (1 - scalar / norms)
    return value.detach(), torch.autograd.grad(value, image)[0]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("chunk", [1, 4, 32])
def test_values_and_gradients_are_those_of_plain_autograd(network: nn.Module, batch: int, chunk: int) -> None:
    layout = Layout.of(network)
    observed = [normal(2, layout.size, seed=seed) for seed in (1, 2)]
    weights = normal(2, layout.size, seed=3).square().clamp(max=1)
    weights[:, ::3] = 0
    shares = torch.tensor([[0.3, 0.5], [0.7, 0.5]], dtype=torch.float64)
    labels = torch.randint(10, (2, batch), generator=torch.Generator().manual_seed(4))
    tv = torch.tensor([1e-2, 0.5], dtype=torch.float64)
    gradients = VictimGradients(network, layout, cross_entropy)
    rounds = [
        Direction.of(gradients, observed[0], None, shares[0]),
        Direction.of(gradients, observed[1], weights, shares[1]),
    ]
    victim = torch.tensor([0, 0, 0, 1, 1, 1])
    objective = Objective(rounds, tv, victim)
    problem = Problem(objective, F.one_hot(labels, 10).double(), (batch, 1, 20, 20), chunk)
    points, which = normal(5, batch * 400, seed=5), torch.tensor([0, 1, 3, 4, 5])
    values, slopes = problem.evaluate(points, which)
    for row, number in enumerate(which.tolist()):
        who = int(victim[number])
        image = points[row].view(batch, 1, 20, 20)
        seen = [
            (observed[0][who], torch.ones(layout.size), float(shares[0, who])),
            (observed[1][who], weights[who], float(shares[1, who])),
        ]
        value, slope = by_hand(network, image, labels[who], seen, float(tv[who]))
        assert torch.allclose(values[row], value, rtol=1e-10)
        assert torch.allclose(slopes[row], slope.flatten(), rtol=1e-8, atol=1e-13)


def test_an_entry_of_weight_zero_may_hold_anything(network: nn.Module) -> None:
    layout = Layout.of(network)
    observed, weights = normal(1, layout.size), torch.ones(1, layout.size, dtype=torch.float64)
    weights[:, :7] = 0
    spoilt = observed.clone()
    spoilt[:, :7] = torch.inf
    kept = [Direction.of(lambda i, t: i, o, weights, torch.ones(1)).wanted for o in (observed, spoilt)]
    assert torch.equal(*kept)
    assert kept[0].norm() == pytest.approx(1)
