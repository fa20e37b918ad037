"""The attack on features by the active party."""

from dataclasses import replace

import pytest
import torch
from fl_attack_bench.attacks.embedding_inversion import EmbeddingInversion
from torch import Tensor
from vertical_views import play

from fl_attack_bench.api import ActiveView, SkipCell
from fl_attack_bench.errors import UserError
from fl_attack_bench.seeds import Streams


def invert(view: ActiveView) -> Tensor:
    return EmbeddingInversion().reconstruct(view, Streams(0))


def made_up(known: int = 20, seed: int = 0) -> tuple[ActiveView, Tensor]:
    """Two parties of 6 and 4 places in mixed order whose embeddings are linear in their features; and the truth."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.rand(60, 10, generator=rng, dtype=torch.float64)
    dealt = torch.randperm(10, generator=rng)
    places = {"a": dealt[:6], "b": dealt[6:]}
    embeddings = {}
    for name, held in places.items():
        maps = [torch.randn(len(held), 8, generator=rng, dtype=torch.float64) for _ in range(3)]
        embeddings[name] = tuple(features[:, held] @ m + 1 for m in maps)
    labels = torch.randint(0, 3, (60,), generator=rng)
    victims, ids = torch.tensor([3, 50, 7]), torch.arange(10, 10 + known)
    return ActiveView(embeddings, labels, victims, ids, features[ids], places), features[victims]


def test_a_linear_bottom_is_inverted_and_every_feature_returns_to_its_place():
    view, truth = made_up()
    torch.testing.assert_close(invert(view), truth, atol=1e-6, rtol=0)


def test_a_constant_party_leaves_the_others_features_exact():
    view, truth = made_up()
    flat = {**view.embeddings, "b": tuple(torch.ones_like(e) for e in view.embeddings["b"])}
    found = invert(replace(view, embeddings=flat))
    torch.testing.assert_close(found[:, view.places["a"]], truth[:, view.places["a"]], atol=1e-6, rtol=0)
    assert found.isfinite().all()


@pytest.mark.parametrize("top", ["sum", "dense"])
def test_it_beats_the_mean_of_the_known_samples_and_more_of_them_help(top: str):
    played = play(top=top)
    truth = played.features[:16]
    errors = []
    for known in (16, 128):
        view = played.active(known)
        errors.append(float((invert(view) - truth).square().mean()))
        assert errors[-1] < 0.7 * float((view.known_features.mean(0) - truth).square().mean())
    assert errors[1] < 0.6 * errors[0]


def test_another_partys_embeddings_help_where_features_are_correlated():
    """Party b's features are party a's, and its own embeddings are nothing."""
    view, truth = made_up()
    a, b = view.places["a"], view.places["b"]
    known = view.known_features.clone()
    known[:, b] = known[:, a[:4]]
    nothing = tuple(torch.zeros_like(e) for e in view.embeddings["b"])
    found = invert(replace(view, known_features=known, embeddings={**view.embeddings, "b": nothing}))
    torch.testing.assert_close(found[:, b], truth[:, a[:4]], atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, torch.nan, torch.inf])
def test_embeddings_that_say_nothing_give_a_finite_guess(value: float):
    view, _ = made_up()
    blank = {name: tuple(torch.full_like(e, value) for e in epochs) for name, epochs in view.embeddings.items()}
    one = replace(view, embeddings=blank, labels=torch.zeros_like(view.labels))
    torch.testing.assert_close(invert(one), view.known_features.mean(0).expand(3, -1))
    assert invert(replace(view, embeddings=blank)).isfinite().all()


def test_duplicates_among_the_known_samples_do_no_harm():
    view, _ = made_up()
    twice = torch.cat([view.known, view.known])
    found = invert(replace(view, known=twice, known_features=torch.cat([view.known_features] * 2)))
    assert found.isfinite().all()
    pair = torch.tensor([10, 10])
    assert invert(replace(view, known=pair, known_features=view.known_features[[0, 0]])).isfinite().all()


def test_only_the_rows_of_victims_and_known_samples_are_read():
    view, _ = made_up()
    used = torch.zeros(60, dtype=torch.bool)
    used[torch.cat([view.known, view.victims])] = True
    changed = {n: tuple(e.where(used[:, None], 1e9) for e in epochs) for n, epochs in view.embeddings.items()}
    assert torch.equal(invert(view), invert(replace(view, embeddings=changed, labels=view.labels.where(used, 9))))


def test_the_same_view_gives_the_same_result_and_draws_nothing():
    view = play().active(32)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = invert(view), invert(view)
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert (first.shape, first.dtype) == ((16, 64), torch.float32)


def test_too_few_known_samples_are_refused():
    with pytest.raises(UserError, match="known=1"):
        EmbeddingInversion(known=1)
    view, _ = made_up()
    with pytest.raises(SkipCell, match="not 1"):
        invert(replace(view, known=view.known[:1], known_features=view.known_features[:1]))
