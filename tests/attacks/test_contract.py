"""What every passive attack must keep: same seed same result, victims apart, only the view; and that it attacks."""

from dataclasses import fields, replace
from functools import cache

import pytest
import torch
from torch import Tensor
from views import attack, only, precise, spoilt, view_of

from fl_attack_bench import metrics, registry
from fl_attack_bench.api import HorizontalView, PassiveAttack, Reconstruction, SkipCell
from fl_attack_bench.scenarios.horizontal import Samples
from fl_attack_bench.seeds import Streams

ATTACKS = [name for name in registry.names("attack") if issubclass(registry.find("attack", name).cls, PassiveAttack)]
# Networks of which every attack can play one.
NETWORKS = ("lenet_dlg", "mlp")


def suited(name: str, victims: Samples, defense: str = "none", **parameters: object) -> HorizontalView:
    """A view of the first network that the attack can play."""
    return view_of(victims, defense, network=_network(name), **parameters)


@cache
def _network(name: str) -> str:
    blank = Samples(torch.full((1, 1, 28, 28), 0.5), torch.zeros(1, dtype=torch.int64))
    for network in NETWORKS:
        try:
            attack(name, iterations=1).reconstruct(view_of(blank, network=network), Streams(0))
        except SkipCell:
            continue
        return network
    raise AssertionError(f"{name} plays none of {NETWORKS}")


def results(found: Reconstruction) -> dict[str, Tensor]:
    """All that the attack found out."""
    tensors = {"images": found.images, "labels": found.labels, "objective": found.objective}
    return {name: t for name, t in (tensors | dict(found.representations)).items() if t is not None}


def same(one: Reconstruction, other: Reconstruction, rows: list[int] | None = None, tolerance: float = 0.0) -> bool:
    pairs = zip(results(one).values(), results(other).values(), strict=True)
    picked = [(a, b) if rows is None else (a[rows], b[rows]) for a, b in pairs]
    return all(
        torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True) for a, b in picked
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_it_finds_something_out(name: str, victims: Samples) -> None:
    found = attack(name, iterations=300, patience=30).reconstruct(suited(name, victims), Streams(0))
    assert found.images is not None or found.labels is not None or found.representations
    if found.images is not None:
        error = metrics.mse(found.images.squeeze(1).clamp(0, 1), victims.images)
        blank = metrics.mse(victims.images.mean(0, keepdim=True).expand_as(victims.images), victims.images)
        assert error.median() < 0.5 * blank.median()
    if found.labels is not None:
        assert (found.labels.squeeze(1) == victims.labels).float().mean() >= 0.75


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_streams_give_the_same_result(name: str, victims: Samples) -> None:
    view = suited(name, victims)
    first, second = (attack(name, iterations=3).reconstruct(view, Streams(0)) for _ in range(2))
    assert same(first, second)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_gives_what_single_runs_give(name: str, batch: int, victims: Samples) -> None:
    view = precise(suited(name, victims, batch=batch))
    strategy = attack(name, iterations=2, restarts=2)
    try:
        together = strategy.reconstruct(view, Streams(0))
    except SkipCell as reason:
        assert batch > 1
        assert str(batch) in str(reason)  # noqa: PT017 - the other outcome is tested below
        return
    for row in range(len(view.victims)):
        single = strategy.reconstruct(only(view, row), Streams(0))
        assert all(
            torch.allclose(one[row], alone[0], rtol=1e-5, atol=1e-6, equal_nan=True)
            for one, alone in zip(results(together).values(), results(single).values(), strict=True)
        )


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_victim_whose_update_is_not_finite_spoils_nobody_else(name: str, value: float, victims: Samples) -> None:
    view = precise(suited(name, victims))
    strategy = attack(name, iterations=1)
    found, healthy = (strategy.reconstruct(v, Streams(0)) for v in (spoilt(view, 1, value), view))
    assert found.diverged.tolist() == [False, True, False, False]
    assert found.images is None or found.images.isfinite().all()
    assert same(found, healthy, rows=[0, 2, 3], tolerance=1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_read_but_what_was_sent(name: str, victims: Samples) -> None:
    """Neither the defense's name nor its parameters change the result: an attack goes by what the view says."""
    view = suited(name, victims)
    disguised = replace(view, defense="something else", defense_parameters={})
    before, after = (attack(name, iterations=2).reconstruct(v, Streams(0)) for v in (view, disguised))
    assert same(before, after)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_global_generator_is_left_alone(name: str, victims: Samples) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    attack(name, iterations=1).reconstruct(suited(name, victims), Streams(0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("defense", ["none", "gradient_compression", "gaussian_noise"])
def test_what_it_returns_is_of_the_stated_shape(name: str, defense: str, victims: Samples) -> None:
    view, count = suited(name, victims, defense), len(victims)
    try:
        found = attack(name, iterations=2).reconstruct(view, Streams(0))
    except SkipCell as reason:
        assert defense != "none"
        assert str(reason)  # noqa: PT017 - the other outcome is tested below
        return
    assert found.images is None or found.images.shape == (count, 1, 1, 28, 28)
    assert found.images is None or found.images.isfinite().all()
    assert found.labels is None or (found.labels.shape == (count, 1) and found.labels.dtype == torch.int64)
    assert [t.shape for t in (found.objective, found.iterations, found.diverged)] == [(count,)] * 3
    assert not found.objective.isnan().any()
    assert all(inferred.shape[:2] == (count, 10) for inferred in found.representations.values())


@pytest.mark.parametrize("name", ATTACKS)
def test_a_victim_that_sent_nothing_in_the_clear_is_skipped_or_survives(name: str, victims: Samples) -> None:
    """Hidden layers are a reason to skip or a result without information, never a crash and never a reconstruction."""
    view = suited(name, victims)
    seen = view.observed
    hidden = type(seen).exact(torch.zeros_like(seen.values), torch.zeros_like(seen.sent))
    blind = replace(view, rounds=(replace(view.rounds[0], observed=hidden),))
    try:
        found = attack(name, iterations=2).reconstruct(blind, Streams(0))
    except SkipCell as reason:
        assert str(reason)  # noqa: PT017 - the other outcome is tested below
        return
    if found.images is not None:
        assert found.images.isfinite().all()
        assert metrics.mse(found.images.squeeze(1).clamp(0, 1), victims.images).median() > 0.02


def test_the_view_holds_one_message_of_each_victim_to_the_server(victims: Samples) -> None:
    view = view_of(victims, ids=[5, 3, 8, 1])
    assert view.victims == ("client/victim-5", "client/victim-3", "client/victim-8", "client/victim-1")
    assert {message.receiver for message in view.messages} == {"server"}
    assert view.observed.sent.all()
    assert not view.observed.noise.any()


def test_idlg_skips_a_batch_whose_labels_one_sign_cannot_tell(victims: Samples) -> None:
    with pytest.raises(SkipCell, match="2 samples"):
        attack("idlg").reconstruct(view_of(victims, batch=2), Streams(0))


def test_the_lowest_objective_chooses_among_restarts(victims: Samples) -> None:
    view = only(view_of(victims), 0)
    one = attack("dlg", iterations=5, restarts=1).reconstruct(view, Streams(0))
    many = attack("dlg", iterations=5, restarts=4).reconstruct(view, Streams(0))
    assert many.objective[0] <= one.objective[0] * 1.01


@pytest.mark.parametrize("name", ["dlg", "idlg"])
def test_half_of_the_entries_are_enough_for_who_matches_only_those(name: str, victims: Samples) -> None:
    assert "adaptive" in {field.name for field in fields(registry.find("attack", name).cls)}
    view = view_of(victims, "gradient_compression", prune=0.5)
    adaptive = attack(name, iterations=40).reconstruct(view, Streams(0))
    published = attack(name, iterations=40, adaptive=False).reconstruct(view, Streams(0))
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
