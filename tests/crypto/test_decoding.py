"""Decoding against brute force, a thousand tampered sharings, and the tampering that no decoder sees."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.decoding import Undecodable, coordinated, decode, interpolate, wrong_holders
from fl_attack_bench.crypto.field import MERSENNE_31, MERSENNE_61, PrimeField
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir, TooFewShares
from fl_attack_bench.errors import UserError

PAPER = Shamir(6, 10)


def evaluate(coefficients: tuple[int, ...], x: int, prime: int) -> int:
    return sum(a * x**k for k, a in enumerate(coefficients)) % prime


def nearest(points: range, word: tuple[int, ...], degree_below: int, prime: int) -> tuple[int, ...] | None:
    """The polynomial within the bound, by trying all of them."""
    for coefficients in product(range(prime), repeat=degree_below):
        wrong = sum(evaluate(coefficients, x, prime) != y for x, y in zip(points, word, strict=True))
        if 2 * wrong <= len(points) - degree_below:
            return coefficients
    return None


@pytest.mark.parametrize(("prime", "received", "degree_below"), [(3, 2, 1), (5, 4, 1), (5, 4, 2), (5, 4, 3), (5, 4, 4)])
def test_every_word_of_a_small_field_is_decoded_as_by_brute_force(prime: int, received: int, degree_below: int) -> None:
    points = range(1, received + 1)
    for word in product(range(prime), repeat=received):
        wanted, found = nearest(points, word, degree_below, prime), decode(points, word, degree_below, prime)
        assert (found and found.coefficients) == wanted
        if found:
            wrong = [i for i, x in enumerate(points) if evaluate(found.coefficients, x, prime) != word[i]]
            assert list(found.errors) == wrong


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_words_of_seven_elements_are_decoded_as_by_brute_force(data: st.DataObject) -> None:
    degree_below = data.draw(st.integers(1, 3))
    word = tuple(data.draw(st.lists(st.integers(0, 6), min_size=6, max_size=6)))
    found = decode(range(1, 7), word, degree_below, 7)
    assert (found and found.coefficients) == nearest(range(1, 7), word, degree_below, 7)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_errors_within_the_bound_are_undone(data: st.DataObject) -> None:
    prime = data.draw(st.sampled_from([31, 2**31 - 1, 2**61 - 1]))
    points = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=20, unique=True))
    degree_below = data.draw(st.integers(1, len(points)))
    numbers = st.integers(0, prime - 1)
    sent = tuple(data.draw(st.lists(numbers, min_size=degree_below, max_size=degree_below)))
    word = [evaluate(sent, x, prime) for x in points]
    places = st.sets(st.integers(0, len(points) - 1), max_size=(len(points) - degree_below) // 2)
    altered = sorted(data.draw(places))
    for place in altered:
        word[place] = (word[place] + data.draw(st.integers(1, prime - 1))) % prime
    found = decode(points, word, degree_below, prime)
    assert found is not None
    assert (found.coefficients, list(found.errors)) == (sent, altered)


def test_a_polynomial_through_all_values_is_found() -> None:
    assert interpolate([1, 2, 3], [6, 11, 18], 101) == [3, 2, 1]
    assert interpolate([1, 2, 3], [5, 5, 5], 101) == [5]
    assert interpolate([4, 9], [0, 0], 101) == []


@pytest.mark.parametrize(
    ("points", "values", "k"), [([1, 2], [1], 1), ([1, 2], [1, 1], 3), ([1, 8], [1, 1], 1), ([1], [1], 0)]
)
def test_words_that_are_none_are_refused(points: list[int], values: list[int], k: int) -> None:
    with pytest.raises(ValueError, match="for a degree below"):
        decode(points, values, k, 7)


def dealt(shamir: Shamir, secrets: Secrets, n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    secret = secrets.below(shamir.field.prime, (n,))
    return secret, shamir.share(secret, secrets)


def tamper(shamir: Shamir, shares: np.ndarray, holders: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of the holders changes between one and all of its entries, by anything but 0."""
    altered = shares.copy()
    for holder in holders:
        entries = rng.permutation(shares.shape[1])[: rng.integers(1, shares.shape[1] + 1)]
        by = rng.integers(1, shamir.field.prime, len(entries), dtype=np.uint64)
        altered[holder, entries] = shamir.field.add(altered[holder, entries], by)
    return altered


@pytest.mark.parametrize(("field", "trials"), [(MERSENNE_31, 200), (MERSENNE_61, 1000)])
def test_two_altered_of_ten_are_named_and_three_are_reported_every_time(field: PrimeField, trials: int) -> None:
    shamir, secrets, rng = Shamir(6, 10, field), Secrets.seeded(b"trials"), np.random.default_rng(1)
    for _ in range(trials):
        secret, shares = dealt(shamir, secrets)
        who = rng.permutation(10)[:3]
        two = tamper(shamir, shares, who[:2], rng)
        assert wrong_holders(shamir, two, range(10), secrets) == set(who[:2].tolist())
        right = [holder for holder in range(10) if holder not in who[:2]]
        assert np.array_equal(shamir.reconstruct(two[right], right), secret)
        with pytest.raises(Undecodable):
            wrong_holders(shamir, tamper(shamir, shares, who, rng), range(10), secrets)


@pytest.mark.parametrize("lost", range(5))
@pytest.mark.parametrize("altered", range(4))
def test_twice_the_altered_and_the_lost_may_reach_n_minus_k(lost: int, altered: int) -> None:
    secrets, rng = Secrets.seeded(b"lost"), np.random.default_rng(lost)
    _, shares = dealt(PAPER, secrets)
    holders = rng.permutation(10)[lost:].tolist()
    wrong = holders[:altered]
    shares = tamper(PAPER, shares, wrong, rng)[holders]
    if 2 * altered + lost <= 4:
        assert wrong_holders(PAPER, shares, holders, secrets) == set(wrong)
    elif lost < 4:
        with pytest.raises(
            Undecodable, match=f"{10 - lost} shares came, 6 are needed .* at most {(4 - lost) // 2} wrong"
        ):
            wrong_holders(PAPER, shares, holders, secrets)
    else:  # exactly K: nothing is left over that could contradict
        assert wrong_holders(PAPER, shares, holders, secrets) == set()


def test_checks_that_name_more_together_than_the_code_corrects_are_undecodable() -> None:
    """Over a small field a check misses one of three holders often enough to decode, to two holders who are wrong."""
    shamir, secrets, rng = Shamir(2, 6, PrimeField(7)), Secrets.seeded(b"union"), np.random.default_rng(3)
    outcomes = []
    for _ in range(300):
        _, shares = dealt(shamir, secrets)
        wrong = rng.permutation(6)[:3]
        try:
            found = wrong_holders(shamir, tamper(shamir, shares, wrong, rng), range(6), secrets, checks=8)
            outcomes.append(len(found))
        except Undecodable:
            outcomes.append(-1)
    assert max(outcomes) <= 2
    assert outcomes.count(-1) > 290


def test_one_check_over_a_small_field_misses_as_often_as_it_says() -> None:
    shamir, secrets = Shamir(2, 4, PrimeField(11)), Secrets.seeded(b"misses")
    _, shares = dealt(shamir, secrets)
    shares[2] = shamir.field.add(shares[2], np.uint64(4))
    found = [wrong_holders(shamir, shares, range(4), secrets, checks=1) for _ in range(4000)]
    missed = sum(not holders for holders in found)
    assert all(holders in ({2}, set()) for holders in found)
    assert abs(missed - 4000 / 11) < 5 * (4000 / 11) ** 0.5


@pytest.mark.parametrize("corrupt", [[7, 8, 9], [0, 4, 6]])
def test_three_coordinated_of_ten_make_the_decoder_accept_a_wrong_secret(corrupt: list[int]) -> None:
    secrets = Secrets.seeded(b"coordinated")
    secret, shares = dealt(PAPER, secrets)
    honest = [holder for holder in range(10) if holder not in corrupt]
    for holder, added in zip(corrupt, coordinated(PAPER, corrupt, honest, shift=-12345), strict=True):
        shares[holder] = PAPER.field.add(shares[holder], np.uint64(added))
    blamed = wrong_holders(PAPER, shares, range(10), secrets)
    assert blamed == set(honest[5:])
    trusted = [holder for holder in range(10) if holder not in blamed]
    wanted = [(int(x) - 12345) % PAPER.field.prime for x in secret]
    assert PAPER.reconstruct(shares[trusted], trusted).tolist() == wanted


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_as_many_coordinated_as_it_says_suffice_and_one_fewer_does_not(data: st.DataObject) -> None:
    parties = data.draw(st.integers(3, 14))
    threshold = data.draw(st.integers(2, parties))
    shamir, secrets = Shamir(threshold, parties), Secrets.seeded(b"enough")
    correctable = (parties - threshold) // 2
    suffice = parties - correctable - threshold + 1
    order = data.draw(st.permutations(range(parties)))

    def altered_by(count: int) -> tuple[np.ndarray, np.ndarray]:
        secret, shares = dealt(shamir, secrets, 2)
        added = coordinated(shamir, order[:count], order[count:], shift=1)
        for holder, value in zip(order[:count], added, strict=True):
            shares[holder] = shamir.field.add(shares[holder], np.uint64(value))
        return secret, shares

    secret, shares = altered_by(suffice)
    trusted = sorted(set(range(parties)) - wrong_holders(shamir, shares, range(parties), secrets))
    assert np.array_equal(shamir.reconstruct(shares[trusted], trusted), shamir.field.add(secret, np.uint64(1)))
    _, shares = altered_by(suffice - 1)
    if suffice - 1 == correctable:
        assert wrong_holders(shamir, shares, range(parties), secrets) == set(order[:correctable])
    else:
        with pytest.raises(Undecodable):
            wrong_holders(shamir, shares, range(parties), secrets)


def test_coordinated_values_lie_on_a_polynomial_with_its_zeros_at_honest_holders() -> None:
    shamir = Shamir(3, 6, PrimeField(101))
    found = coordinated(shamir, [0, 3, 5], [1, 4, 2], shift=7)
    # (2-x)(5-x)/10 * 7 modulo 101, at the points 1, 4 and 6
    tenth = pow(10, -1, 101)
    assert found == [(2 - x) * (5 - x) * 7 * tenth % 101 for x in (1, 4, 6)]


@pytest.mark.parametrize("honest", [[3], [0, 3], [3, 3], []])
def test_coordinating_needs_k_minus_1_honest_holders(honest: list[int]) -> None:
    with pytest.raises(ValueError, match="2 honest holders apart from"):
        coordinated(Shamir(3, 6), [0, 1], honest, shift=1)


def test_too_few_shares_and_no_checks_are_refused() -> None:
    shares = np.zeros((5, 3), dtype=np.uint64)
    with pytest.raises(TooFewShares, match="5 shares came, 6 are needed"):
        wrong_holders(PAPER, shares, range(5), Secrets.fresh())
    with pytest.raises(UserError, match="0 checks"):
        wrong_holders(PAPER, shares, range(5), Secrets.fresh(), checks=0)


def test_a_share_that_comes_unreduced_is_judged_by_its_remainder() -> None:
    secrets = Secrets.seeded(b"remainder")
    _, shares = dealt(PAPER, secrets)
    shares[3] += np.uint64(PAPER.field.prime)
    shares[5] = np.uint64(2**64 - 1)
    assert wrong_holders(PAPER, shares, range(10), secrets) == {5}


def test_all_choices_of_two_are_named() -> None:
    secrets, rng = Secrets.seeded(b"pairs"), np.random.default_rng(5)
    _, shares = dealt(PAPER, secrets)
    for pair in combinations(range(10), 2):
        assert wrong_holders(PAPER, tamper(PAPER, shares, np.array(pair), rng), range(10), secrets) == set(pair)
