"""Sharing and reconstruction; that K-1 shares say nothing is shown by going through all polynomials."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.field import BLOCK, MERSENNE_31, MERSENNE_61, PrimeField
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir, TooFewShares
from fl_attack_bench.errors import UserError


class EveryChoice:
    """In place of a random source: each column gets another choice, and every choice comes once."""

    def __init__(self, prime: int, count: int) -> None:
        self.columns = prime**count
        self._grid = np.array(list(product(range(prime), repeat=count)), dtype=np.uint64).T

    def below(self, bound: int, shape: tuple[int, ...]) -> np.ndarray:
        assert shape == self._grid.shape
        assert (self._grid < bound).all()
        return self._grid


@pytest.mark.parametrize(("prime", "threshold", "parties"), [(5, 2, 4), (7, 2, 6), (5, 3, 4), (7, 3, 6)])
def test_fewer_than_k_shares_are_distributed_alike_whatever_the_secret(
    prime: int, threshold: int, parties: int
) -> None:
    shamir = Shamir(threshold, parties, PrimeField(prime))
    choices = EveryChoice(prime, threshold - 1)
    every = [shamir.share(np.full(choices.columns, s, dtype=np.uint64), choices) for s in range(prime)]
    for held in combinations(range(parties), threshold - 1):
        counts = [Counter(map(tuple, shares[list(held)].T.tolist())) for shares in every]
        assert all(count == counts[0] for count in counts)
        assert set(counts[0].values()) == {1}
        assert len(counts[0]) == prime ** (threshold - 1)
    for held in combinations(range(parties), threshold):  # and K do say something: each view belongs to one secret
        views = [set(map(tuple, shares[list(held)].T.tolist())) for shares in every]
        assert len(set.union(*views)) == sum(map(len, views))


@pytest.mark.parametrize(("prime", "threshold", "parties"), [(5, 3, 4), (7, 3, 6), (7, 4, 6)])
def test_all_polynomials_with_the_secret_at_0_are_drawn_once(prime: int, threshold: int, parties: int) -> None:
    shamir = Shamir(threshold, parties, PrimeField(prime))
    choices = EveryChoice(prime, threshold - 1)
    found = shamir.share(np.full(choices.columns, 3, dtype=np.uint64), choices)
    wanted = [
        tuple(sum(a * x**k for k, a in enumerate((3, *rest))) % prime for x in range(1, parties + 1))
        for rest in product(range(prime), repeat=threshold - 1)
    ]
    assert sorted(map(tuple, found.T.tolist())) == sorted(wanted)


@pytest.mark.parametrize("field", [PrimeField(11), PrimeField(2**31 - 19), MERSENNE_31, MERSENNE_61])
@pytest.mark.parametrize(("threshold", "parties"), [(2, 2), (2, 5), (5, 5), (6, 10)])
def test_every_k_shares_give_the_secret(field: PrimeField, threshold: int, parties: int) -> None:
    shamir, secrets = Shamir(threshold, parties, field), Secrets.seeded(b"every subset")
    secret = secrets.below(field.prime, (9,))
    secret[:2] = 0, field.prime - 1
    shares = shamir.share(secret, secrets)
    assert shares.shape == (parties, 9)
    for holders in combinations(reversed(range(parties)), threshold):
        assert np.array_equal(shamir.reconstruct(shares[list(holders)], holders), secret)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_sum_of_sharings_reconstructs_to_the_sum(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([PrimeField(101), MERSENNE_31, MERSENNE_61]))
    parties = data.draw(st.integers(2, 50))
    shamir = Shamir(data.draw(st.integers(2, parties)), parties, field)
    secrets = Secrets.seeded(data.draw(st.binary(min_size=1, max_size=8)))
    vectors = secrets.below(field.prime, (data.draw(st.integers(1, 10)), 4))
    total = shamir.field.sum(np.stack([shamir.share(vector, secrets) for vector in vectors]))
    holders = data.draw(st.permutations(range(parties)))
    wanted = [sum(map(int, column)) % field.prime for column in vectors.T]
    assert shamir.reconstruct(total[holders], holders).tolist() == wanted


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_vectors_of_any_length_are_shared_whole(n: int) -> None:
    shamir, secrets = Shamir(3, 5), Secrets.seeded(b"lengths")
    secret = secrets.below(shamir.field.prime, (n,))
    shares = shamir.share(secret, secrets)
    assert np.array_equal(shamir.reconstruct(shares[2:], [2, 3, 4]), secret)
    assert len(np.unique(shares)) == shares.size  # no two blocks share their random numbers


def test_a_share_that_comes_unreduced_counts_as_its_remainder() -> None:
    shamir, secrets = Shamir(2, 3, MERSENNE_61), Secrets.seeded(b"remainder")
    secret = secrets.below(shamir.field.prime, (5,))
    shares = shamir.share(secret, secrets)
    shares[1] += np.uint64(7 * shamir.field.prime)
    assert np.array_equal(shamir.reconstruct(shares[:2], [0, 1]), secret)


def test_an_altered_share_changes_what_is_reconstructed_and_nothing_tells() -> None:
    shamir, secrets = Shamir(3, 5), Secrets.seeded(b"plain")
    secret = secrets.below(shamir.field.prime, (5,))
    shares = shamir.share(secret, secrets)
    shares[1, 2] ^= np.uint64(1)
    assert (shamir.reconstruct(shares, range(5)) != secret).tolist() == [False, False, True, False, False]


def test_too_few_shares_say_how_many_came() -> None:
    shamir = Shamir(6, 10)
    with pytest.raises(TooFewShares, match="5 shares came, 6 are needed"):
        shamir.reconstruct(np.zeros((5, 2), dtype=np.uint64), range(5))


@pytest.mark.parametrize("holders", [[0, 1, 1], [0, 1, 5], [0, 1, -1], [0, 1], [0, 1, 2, 3]])
def test_holders_must_be_distinct_and_one_for_each_share(holders: list[int]) -> None:
    with pytest.raises(ValueError, match="3 shares of the holders"):
        Shamir(2, 5).reconstruct(np.zeros((3, 2), dtype=np.uint64), holders)


@pytest.mark.parametrize(
    ("threshold", "parties", "prime", "why"),
    [
        (1, 5, 11, r"threshold of 1 shares; it must lie in \[2, 5\]"),
        (6, 5, 11, r"threshold of 6 shares; it must lie in \[2, 5\]"),
        (2, 1, 11, "among 1 parties"),
        (2, 0, 11, "among 0 parties"),
        (2, 11, 11, "above 11, not 11"),
    ],
)
def test_what_cannot_be_shared_is_refused(threshold: int, parties: int, prime: int, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Shamir(threshold, parties, PrimeField(prime))
