"""The L2 objective: its formula over entries and rounds, its gradient, its chunks, and what it makes of a view."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_attack_bench import models, registry
from fl_attack_bench.api import HorizontalView, LocalPlan, Message, Observation, SeenRound, Streams
from fl_attack_bench.inversion import matching
from fl_attack_bench.inversion.l2_attack import L2GradientMatching
from fl_attack_bench.inversion.matching import L2Matching, Seen, Unknowns, squared_distance, value_and_gradient
from fl_attack_bench.inversion.per_sample import VictimGradients, cross_entropy
from fl_attack_bench.inversion.unrolled import UnrolledUpdates
from fl_attack_bench.method import build
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

SHAPE = (1, 8, 8)


def network(seed: int) -> nn.Module:
    made = models.build(Model(name="mlp", options={"hidden": 6, "activation": "sigmoid"}), SHAPE, 3, generator(seed))
    return made.eval()


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=generator(seed))


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 9), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_distance_and_its_gradient_are_those_of_plain_operations(
    seed: int, rows: int, entries: int, weighted: bool
) -> None:
    found, observed = drawn(seed, rows, entries).requires_grad_(), drawn(seed + 1, rows, entries)
    weights = drawn(seed + 2, rows, entries).sigmoid() if weighted else None
    ours = squared_distance(found, observed, weights)
    plain = ((1.0 if weights is None else weights) * (found - observed) ** 2).sum(1)
    outer = drawn(seed + 3, rows)
    assert torch.allclose(ours, plain)
    gradients = [torch.autograd.grad((outer * value).sum(), found)[0] for value in (ours, plain)]
    assert torch.allclose(*gradients)


def seen(seed: int, victims: int, weighted: bool) -> Seen:
    module = network(seed).double()
    layout = Layout.of(module)
    weights = drawn(seed + 8, victims, layout.size).sigmoid() if weighted else None
    return Seen(VictimGradients(module, layout, cross_entropy), drawn(seed + 9, victims, layout.size), weights)


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("which", [[0, 1, 2], [1]])
def test_rounds_add_up_and_each_has_its_own_weights(restarts: int, which: list[int]) -> None:
    rounds = [seen(0, 3, True), seen(20, 3, False)]
    scale, victim = drawn(1, 3).exp(), torch.arange(3).repeat_interleave(restarts)
    problems = torch.tensor([number for number in range(3 * restarts) if number // restarts in which])
    images, targets = drawn(2, len(problems), 2, *SHAPE), drawn(3, len(problems), 2, 3).softmax(-1)
    values = L2Matching(rounds, scale, victim)(images, targets, problems)
    for value, image, target, problem in zip(values, images, targets, problems, strict=True):
        row = int(victim[problem])
        wanted = 0.0
        for one in rounds:
            found = one.updates(image.unsqueeze(0), target.unsqueeze(0))[0]
            weights = torch.ones_like(found) if one.weights is None else one.weights[row]
            wanted += float((weights * (found - one.observed[row]).square()).sum() * scale[row])
        assert float(value) == pytest.approx(wanted, rel=1e-10)


def test_power_is_the_distance_from_nothing() -> None:
    for weighted in (True, False):
        one = seen(4, 3, weighted)
        assert torch.allclose(one.power, squared_distance(torch.zeros_like(one.observed), one.observed, one.weights))


@pytest.mark.parametrize("known", [True, False])
def test_chunks_do_not_matter_and_the_gradient_is_that_of_differences(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = L2Matching([seen(0, 5, True)], torch.ones(5, dtype=torch.float64), torch.arange(5))
    labels = drawn(5, 5, 2, 3).softmax(-1) if known else None
    unknowns = Unknowns((2, *SHAPE), 3, labels)
    points, which = drawn(6, 5, unknowns.size), torch.arange(5)
    whole = value_and_gradient(objective, unknowns, points, which)
    monkeypatch.setattr(matching, "CHUNK", 2)
    chunked = value_and_gradient(objective, unknowns, points, which)
    for ours, theirs in zip(whole, chunked, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)
    direction = drawn(7, 5, unknowns.size)
    ahead, behind = (value_and_gradient(objective, unknowns, points + e * direction, which)[0] for e in (1e-5, -1e-5))
    assert torch.allclose((ahead - behind) / 2e-5, (whole[1] * direction).sum(1), rtol=1e-6)


def view(rounds: int, steps: int = 1, noise: tuple[float, ...] = ()) -> tuple[HorizontalView, Tensor, Tensor]:
    """Two victims of two samples, seen in rounds of different weights; with their images and labels."""
    images, labels = torch.rand(2, 2, *SHAPE, generator=generator(1)), torch.tensor([[0, 2], [1, 1]])
    local = LocalPlan(samples=2, epochs=steps, batch_size=2, learning_rate=0.1)
    targets = nn.functional.one_hot(labels, 3).float()
    played = []
    for number in range(rounds):
        module = network(number)
        layout = Layout.of(module)
        values = UnrolledUpdates(module, layout, cross_entropy, local)(images, targets).detach()
        observation = Observation.exact(values)
        if noise:
            sound = torch.randn(values.shape, generator=generator(10 + number)) * noise[number]
            observation = replace(observation, values=values + sound).noisier(noise[number])
        messages = tuple(Message(0, "upload", f"client/{name}", "server", b"") for name in "ab")
        played.append(SeenRound(module, messages, observation))
    return HorizontalView(tuple(played), layout, local, SHAPE, 3, "none", {}), images, labels


def attack(name: str, **parameters: object) -> L2GradientMatching:
    made = build(registry.find("attack", name).cls, parameters)
    assert isinstance(made, L2GradientMatching)
    return made


@pytest.mark.parametrize(("rounds", "steps"), [(1, 1), (3, 1), (1, 2)])
def test_victims_are_found_from_one_round_from_several_and_from_several_local_steps(rounds: int, steps: int) -> None:
    seen_by_server, images, labels = view(rounds, steps)
    found = attack("dlg", iterations=15, restarts=2).reconstruct(seen_by_server, Streams(0))
    assert found.images is not None
    assert found.labels is not None
    for ours, theirs in zip(found.images, images, strict=True):
        orders = itertools.permutations(range(2))
        assert min(float((ours[list(order)] - theirs).square().mean()) for order in orders) < 1e-4
    assert torch.equal(found.labels.sort(1).values, labels.sort(1).values)


def test_the_objective_is_relative_to_the_power_of_all_rounds() -> None:
    seen_by_server, _, _ = view(2)
    rounds = attack("dlg")._rounds(seen_by_server)
    power = sum(one.observed.values.square().sum(1) for one in seen_by_server.rounds)
    assert [one.weights is None or bool((one.weights == 0.5).all()) for one in rounds] == [True, True]
    doubled = 1.0 if rounds[0].weights is None else 2.0
    assert torch.allclose(attack("dlg")._scale(rounds), doubled / power)
    assert torch.equal(attack("dlg", relative=False)._scale(rounds), torch.ones(2))


def test_a_noisy_round_counts_less_than_an_exact_one_unless_all_is_taken_for_the_truth() -> None:
    seen_by_server, _, _ = view(2, noise=(0.0, 1.0))
    exact, noisy = attack("idlg")._rounds(seen_by_server)
    assert exact.weights is not None
    assert noisy.weights is not None
    assert noisy.weights.max() < 0.2 * exact.weights.min()
    assert [one.weights for one in attack("idlg", adaptive=False)._rounds(seen_by_server)] == [None, None]


def test_entries_that_were_not_sent_do_not_count() -> None:
    whole, _, _ = view(1)
    (only_round,) = whole.rounds
    sent = drawn(3, *only_round.observed.values.shape) > 0
    part = Observation.exact(only_round.observed.values * sent, sent)
    torn = replace(whole, rounds=(replace(only_round, observed=part),))
    (adaptive,), (published,) = attack("dlg")._rounds(torn), attack("dlg", adaptive=False)._rounds(torn)
    assert adaptive.weights is not None
    assert torch.equal(adaptive.weights, sent.float())
    assert published.weights is None
    assert torch.equal(published.observed, part.values)


def test_polishing_takes_victims_that_are_near_to_the_end() -> None:
    seen_by_server, images, _ = view(1)
    plain, polished = (
        attack("dlg", iterations=3, stop_below=1e-10, polish=steps).reconstruct(seen_by_server, Streams(0))
        for steps in (0, 8)
    )
    assert (plain.objective > 1e-5).all()
    assert (polished.objective < 1e-10).all()
    assert polished.images is not None
    for ours, theirs in zip(polished.images, images, strict=True):
        assert min(float((ours[[a, 1 - a]] - theirs).square().mean()) for a in (0, 1)) < 1e-8


def test_polishing_leaves_alone_who_is_far_away_and_who_is_there() -> None:
    seen_by_server, _, _ = view(1)
    for options in ({"iterations": 1, "learning_rate": 1e-6}, {"iterations": 3, "stop_below": 1e-2}):
        results = [attack("dlg", polish=steps, **options).reconstruct(seen_by_server, Streams(0)) for steps in (0, 8)]
        assert torch.equal(results[0].objective, results[1].objective)
        assert results[0].images is not None
        assert results[1].images is not None
        assert torch.equal(results[0].images, results[1].images)
