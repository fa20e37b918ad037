"""What every passive attack must keep: same seed same result, victims apart, only the view; and that it attacks."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fl_attack_bench import metrics, models, registry
from fl_attack_bench.api import HorizontalDefense, HorizontalView, PassiveAttack, SkipCell
from fl_attack_bench.data import datasets
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.method import build
from fl_attack_bench.scenarios.horizontal import Samples, observe
from fl_attack_bench.seeds import Streams
from fl_attack_bench.suite import Model
from fl_attack_bench.wire import client

ATTACKS = registry.names("attack")


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    digits = datasets.load("digits", tmp_path_factory.mktemp("data"))
    return Samples(digits.x_test[:4], digits.y_test[:4])


def view_of(
    victims: Samples, defense: str = "none", ids: list[int] | None = None, **parameters: object
) -> HorizontalView:
    network = models.build(Model(name="lenet_dlg"), (1, 28, 28), 10, torch.Generator().manual_seed(1))
    protect = build(registry.find("defense", defense).cls, parameters)
    assert isinstance(protect, HorizontalDefense)
    names = [client(f"victim-{number}") for number in ids or range(len(victims))]
    return observe(FlatModel(network, torch.device("cpu")), victims, names, protect, defense, 0.1, Streams(3))


def attack(name: str, **parameters: object) -> PassiveAttack:
    made = build(registry.find("attack", name).cls, parameters)
    assert isinstance(made, PassiveAttack)
    return made


def precise(view: HorizontalView) -> HorizontalView:
    """The same view in double precision, where rounding does not grow into another path within a few steps."""
    seen = replace(view.observed, values=view.observed.values.double())
    return replace(view, model=copy.deepcopy(view.model).double(), observed=seen)


def only(view: HorizontalView, row: int) -> HorizontalView:
    rows = slice(row, row + 1)
    seen = replace(view.observed, values=view.observed.values[rows], sent=view.observed.sent[rows])
    return replace(view, messages=view.messages[rows], observed=seen)


@pytest.mark.parametrize("name", ATTACKS)
def test_it_reconstructs_undefended_victims(name: str, victims: Samples) -> None:
    found = attack(name, iterations=80).reconstruct(view_of(victims), Streams(0))
    error = metrics.mse(found.images.squeeze(1).clamp(0, 1), victims.images)
    assert error.median() < 1e-3
    assert (found.labels.squeeze(1) == victims.labels).float().mean() >= 0.75


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_streams_give_the_same_reconstruction(name: str, victims: Samples) -> None:
    first, second = (attack(name, iterations=3).reconstruct(view_of(victims), Streams(0)) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.objective, second.objective)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_batch_gives_what_single_runs_give(name: str, victims: Samples) -> None:
    view = precise(view_of(victims))
    strategy = attack(name, iterations=1, restarts=2)
    batch = strategy.reconstruct(view, Streams(0))
    for row in range(len(victims)):
        single = strategy.reconstruct(only(view, row), Streams(0))
        assert torch.allclose(batch.images[row], single.images[0], rtol=1e-5, atol=1e-6)
        assert torch.allclose(batch.objective[row], single.objective[0], rtol=1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_victim_whose_update_is_not_finite_spoils_nobody_else(name: str, victims: Samples) -> None:
    view = precise(view_of(victims))
    values = view.observed.values.clone()
    values[1] = torch.nan
    broken = replace(view, observed=replace(view.observed, values=values))
    strategy = attack(name, iterations=1)
    found, healthy = strategy.reconstruct(broken, Streams(0)), strategy.reconstruct(view, Streams(0))
    assert found.diverged.tolist() == [False, True, False, False]
    assert found.images.isfinite().all()
    rows = [0, 2, 3]
    assert torch.allclose(found.images[rows], healthy.images[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_read_but_the_view(name: str, victims: Samples) -> None:
    """The same view of other victims' making gives the same result: there is no way around the messages."""
    view = view_of(victims)
    disguised = replace(view, defense="something else", defense_parameters={})
    strategy = attack(name, iterations=2)
    before, after = strategy.reconstruct(view, Streams(0)), strategy.reconstruct(disguised, Streams(0))
    assert torch.equal(before.images, after.images)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_it_returns_is_of_the_stated_shape(name: str, victims: Samples) -> None:
    found = attack(name, iterations=2).reconstruct(view_of(victims, "gradient_compression"), Streams(0))
    count = len(victims)
    shapes: list[Tensor] = [found.objective, found.iterations, found.diverged]
    assert found.images.shape == (count, 1, 1, 28, 28)
    assert found.labels.shape == (count, 1)
    assert [t.shape for t in shapes] == [(count,)] * 3
    assert len(found.curve) <= 2


def test_the_view_holds_one_message_of_each_victim_to_the_server(victims: Samples) -> None:
    view = view_of(victims, ids=[5, 3, 8, 1])
    assert view.victims == ("client/victim-5", "client/victim-3", "client/victim-8", "client/victim-1")
    assert {message.receiver for message in view.messages} == {"server"}
    assert view.observed.sent.all()


def test_idlg_skips_a_batch_whose_labels_one_sign_cannot_tell(victims: Samples) -> None:
    with pytest.raises(SkipCell, match="2 samples"):
        attack("idlg").reconstruct(replace(view_of(victims), batch_size=2), Streams(0))


def test_the_lowest_objective_chooses_among_restarts(victims: Samples) -> None:
    view = only(view_of(victims), 0)
    one = attack("dlg", iterations=5, restarts=1).reconstruct(view, Streams(0))
    many = attack("dlg", iterations=5, restarts=4).reconstruct(view, Streams(0))
    assert many.objective[0] <= one.objective[0] * 1.01


@pytest.mark.parametrize("name", ATTACKS)
def test_half_of_the_entries_are_enough_for_who_matches_only_those(name: str, victims: Samples) -> None:
    view = view_of(victims, "gradient_compression", prune=0.5)
    adaptive = attack(name, iterations=40).reconstruct(view, Streams(0))
    published = attack(name, iterations=40, sent_only=False).reconstruct(view, Streams(0))
    errors = [metrics.mse(found.images.squeeze(1).clamp(0, 1), victims.images) for found in (adaptive, published)]
    assert errors[0].median() < 1e-3 < errors[1].median()


def test_a_restart_that_is_lost_at_once_is_never_chosen(victims: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = attack("dlg", iterations=2, restarts=2)
    view = only(view_of(victims), 0)
    start = strategy._start(view, Streams(0), 794)
    start[1] = torch.nan
    monkeypatch.setattr(type(strategy), "_start", lambda *_: start)
    found = strategy.reconstruct(view, Streams(0))
    assert not found.diverged[0]
    assert found.objective.isfinite().all()
