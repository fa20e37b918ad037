"""The tag check: whom it names, whom it cannot, and that tags say nothing about the update."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from fl_attack_bench.crypto.decoding import Undecodable, coordinated
from fl_attack_bench.crypto.field import MERSENNE_31, MERSENNE_61, PrimeField
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir, TooFewShares
from fl_attack_bench.crypto.share_tags import Verdict, challenge, judge, tags

CHECKS, N = 2, 8


class Round:
    """One round with honest parties: what is dealt, reported and answered; tests alter it."""

    def __init__(self, shamir: Shamir, dealers: int, seed: bytes) -> None:
        self.shamir, self.secrets = shamir, Secrets.seeded(seed)
        p = shamir.field.prime
        self.updates = self.secrets.below(p, (dealers, N))
        blinding = self.secrets.below(p, (dealers, CHECKS))
        self.dealt = [shamir.share(vector, self.secrets) for vector in np.concatenate([self.updates, blinding], axis=1)]
        self.reports = shamir.field.sum(np.stack(self.dealt))
        self.challenge = challenge(seed + b"later", CHECKS, N, shamir.field)
        self.answers = {i: tags(shares, self.challenge, shamir.field) for i, shares in enumerate(self.dealt)}
        self.holders = list(range(shamir.parties))

    def verdict(self) -> Verdict:
        reports = self.reports[self.holders]
        return judge(self.shamir, self.challenge, reports, self.holders, range(len(self.dealt)), self.answers)

    def add(self, holder: int, values: object) -> None:
        """Add to a report's values, not to its blinding."""
        row = self.reports[holder, :N]
        self.reports[holder, :N] = self.shamir.field.add(row, np.broadcast_to(np.uint64(values), row.shape))

    def total_without(self, wrong: frozenset[int]) -> list[int]:
        trusted = [holder for holder in self.holders if holder not in wrong]
        return self.shamir.reconstruct(self.reports[trusted, :N], trusted).tolist()

    def true_total(self) -> list[int]:
        return [sum(map(int, column)) % self.shamir.field.prime for column in self.updates.T]


def played(seed: bytes, shamir: Shamir | None = None, dealers: int = 4) -> Round:
    return Round(shamir or Shamir(6, 10), dealers, seed)


def test_a_tag_is_the_combination_of_a_share_behind_its_blinding() -> None:
    field = PrimeField(101)
    shares = np.array([[1, 2, 3, 50, 60], [4, 5, 6, 70, 80]], dtype=np.uint64)
    found = tags(shares, np.array([[1, 10, 0], [7, 0, 9]], dtype=np.uint64), field)
    assert found.tolist() == [[71, (7 + 27 + 60) % 101], [(54 + 70) % 101, (28 + 54 + 80) % 101]]
    with pytest.raises(ValueError, match="5 columns for 4 values and 2 blinding"):
        tags(shares, np.zeros((2, 4), dtype=np.uint64), field)


def test_a_challenge_is_the_seeds_own_and_uniform() -> None:
    field = PrimeField(11)
    many = challenge(b"a", 2, 11_000, field)
    assert np.array_equal(many, challenge(b"a", 2, 11_000, field))
    assert not np.array_equal(many, challenge(b"b", 2, 11_000, field))
    counts = np.bincount(many.astype(np.int64).ravel(), minlength=11)
    assert len(counts) == 11
    assert (abs(counts - 2000) < 5 * 2000**0.5).all()


@pytest.mark.parametrize("field", [MERSENNE_31, MERSENNE_61])
def test_honest_parties_are_not_accused(field: PrimeField) -> None:
    game = played(b"honest", Shamir(6, 10, field))
    assert game.verdict() == Verdict(frozenset(), frozenset())
    assert game.total_without(frozenset()) == game.true_total()


@pytest.mark.parametrize("lost", range(5))
def test_up_to_n_minus_k_wrong_reports_are_named_less_those_lost(lost: int) -> None:
    rng = np.random.default_rng(lost)
    for trial in range(20):
        game = played(b"random %d %d" % (lost, trial))
        order = rng.permutation(10).tolist()
        game.holders = order[lost:]
        wrong = frozenset(game.holders[: 4 - lost])
        for holder in wrong:
            game.add(holder, rng.integers(1, 2**60, N))
        assert game.verdict() == Verdict(wrong, frozenset())
        assert game.total_without(wrong) == game.true_total()


@pytest.mark.parametrize("count", [3, 4])
def test_coordinated_holders_are_named(count: int) -> None:
    game = played(b"coordinated")
    corrupt, honest = list(range(count)), list(range(count, 10))
    for holder, added in zip(corrupt, coordinated(game.shamir, corrupt, honest, shift=99), strict=True):
        game.add(holder, added)
    assert game.verdict() == Verdict(frozenset(corrupt), frozenset())
    assert game.total_without(frozenset(corrupt)) == game.true_total()


def test_altered_blinding_is_a_wrong_report_too() -> None:
    game = played(b"blinding")
    game.reports[2, N] ^= np.uint64(1)
    assert game.verdict().wrong_holders == {2}


def test_more_wrong_reports_than_n_minus_k_leave_too_few() -> None:
    game = played(b"five")
    for holder in range(5):
        game.add(holder, holder + 1)
    with pytest.raises(Undecodable, match=r"10 reports came, .* and 5 contradict"):
        game.verdict()
    game.holders = [5, 6, 7, 8, 9]
    with pytest.raises(TooFewShares, match="5 shares came, 6 are needed"):
        game.verdict()


def test_an_altered_report_passes_a_check_over_a_small_field_as_often_as_it_says() -> None:
    missed, trials = 0, 1500
    shamir = Shamir(2, 4, PrimeField(5))
    for trial in range(trials):
        game = played(b"small %d" % trial, shamir, dealers=1)
        game.add(1, 3)
        missed += not game.verdict().wrong_holders
    assert abs(missed - trials / 25) < 5 * (trials / 25) ** 0.5


def test_a_dealer_whose_tags_lie_on_no_polynomial_is_named_and_left_out() -> None:
    game = played(b"liar")
    game.answers[2] = game.answers[2].copy()
    game.answers[2][7, 1] ^= np.uint64(1)
    assert game.verdict() == Verdict(frozenset(), frozenset({2}))
    for holder in (1, 8):
        game.add(holder, 5)
    assert game.verdict() == Verdict(frozenset({1, 8}), frozenset({2}))


def test_a_dealer_that_answers_for_another_update_leaves_no_verdict() -> None:
    game = played(b"other")
    # Of the right degree, so it does not show as a lie.
    other = game.shamir.share(np.array([7, 7], dtype=np.uint64), game.secrets)
    game.answers[0] = game.shamir.field.add(game.answers[0], other)
    with pytest.raises(Undecodable, match="not those of the shares that it dealt"):
        game.verdict()


def test_where_a_dealer_is_silent_the_code_names_as_many_as_it_corrects() -> None:
    game = played(b"silent")
    del game.answers[1]
    assert game.verdict() == Verdict(frozenset(), frozenset())
    game.add(3, 1)
    game.add(9, 2)
    assert game.verdict() == Verdict(frozenset({3, 9}), frozenset())
    game.add(4, 3)
    with pytest.raises(Undecodable, match="at most 2 wrong"):
        game.verdict()


def test_a_dealer_that_colludes_with_holders_has_honest_ones_named() -> None:
    """What the module says that it cannot do: a change that lifts this limit should change the text too."""
    game = played(b"collusion")
    corrupt, honest = [0, 1, 2], list(range(3, 10))
    pattern = np.zeros((10, N + CHECKS), dtype=np.uint64)
    rest = honest[5:]
    for holder, added in zip(
        corrupt + rest, coordinated(game.shamir, corrupt + rest, honest[:5], shift=99), strict=True
    ):
        pattern[holder, :N] = added
    for holder in corrupt:
        game.add(holder, pattern[holder, :N])
    game.answers[0] = game.shamir.field.add(game.answers[0], tags(pattern, game.challenge, game.shamir.field))
    verdict = game.verdict()
    assert verdict == Verdict(frozenset(rest), frozenset())
    assert game.total_without(verdict.wrong_holders) == [(x + 99) % game.shamir.field.prime for x in game.true_total()]


def test_answers_must_be_a_dealers_and_whole() -> None:
    game = played(b"shape")
    short = {0: game.answers[0][:9]}
    with pytest.raises(ValueError, match=r"shape \(9, 2\) from 0; \(10, 2\) is asked"):
        judge(game.shamir, game.challenge, game.reports, game.holders, [0, 1], short)
    with pytest.raises(ValueError, match="from 3"):
        judge(game.shamir, game.challenge, game.reports, game.holders, [0, 1], {3: game.answers[3]})


class Column:
    """In place of a random source: the one coefficient that is left to choose, for a value and its blinding."""

    def __init__(self, value: int, blinding: int) -> None:
        self._row = np.array([[value, blinding]], dtype=np.uint64)

    def below(self, bound: int, shape: tuple[int, ...]) -> np.ndarray:
        assert shape == self._row.shape
        return self._row


def test_tags_and_k_minus_1_shares_are_distributed_alike_whatever_the_update() -> None:
    """All choices of one dealer over a field of 5, K=2, N=3: the view of a server that colludes with holder 1."""
    field = PrimeField(5)
    shamir = Shamir(2, 3, field)
    views = []
    for update in range(5):
        count: Counter[tuple[int, ...]] = Counter()
        for blinding, a, b in product(range(5), repeat=3):
            shares = shamir.share(np.array([update, blinding], dtype=np.uint64), Column(a, b))
            answer = tags(shares, np.array([[3]], dtype=np.uint64), field)
            count[(*answer[:, 0].tolist(), *shares[1].tolist())] += 1
        views.append(count)
    assert len(views[0]) > 1
    assert all(view == views[0] for view in views)
