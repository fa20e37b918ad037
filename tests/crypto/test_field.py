"""Fields against Python's integers, and decimals against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.field import BLOCK, MERSENNE_31, MERSENNE_61, Decimals, PrimeField
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.errors import UserError
from fl_attack_bench.update import Layout

PRIMES = [3, 5, 7, 31, 8191, 2**16 + 1, 2**31 - 19, 2**31 - 1, 2**61 - 1]
fields = st.sampled_from(PRIMES).map(PrimeField)


def elements(field: PrimeField) -> st.SearchStrategy[int]:
    """Every element, the extreme ones and those around the limbs' borders more often."""
    borders = {0, 1, field.prime - 1, *((1 << k) + d for k in (11, 29, 31, 32, 33, 60) for d in (-1, 0, 1))}
    return st.integers(0, field.prime - 1) | st.sampled_from(sorted(x % field.prime for x in borders))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[PrimeField, list[int], list[int]]:
    field = draw(fields)
    both = draw(st.lists(st.tuples(elements(field), elements(field)), min_size=1, max_size=30))
    return field, [a for a, _ in both], [b for _, b in both]


def u64(numbers: object) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


@given(pairs())
@settings(max_examples=200, deadline=None)
def test_the_operations_are_those_of_integers_modulo_the_prime(case: tuple[PrimeField, list[int], list[int]]) -> None:
    field, a, b = case
    p, both = field.prime, list(zip(a, b, strict=True))
    assert field.add(u64(a), u64(b)).tolist() == [(x + y) % p for x, y in both]
    assert field.subtract(u64(a), u64(b)).tolist() == [(x - y) % p for x, y in both]
    assert field.multiply(u64(a), u64(b)).tolist() == [x * y % p for x, y in both]
    assert field.multiply(u64(a), np.uint64(b[0])).tolist() == [x * b[0] % p for x in a]
    assert field.sum(u64([a, b, a])).tolist() == [(2 * x + y) % p for x, y in both]
    assert all(x * field.inverse(x) % p == 1 for x in a if x)


@given(fields, st.lists(st.integers(0, 2**64 - 1) | st.just(2**64 - 1), max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_64_bits_are_reduced(field: PrimeField, numbers: list[int]) -> None:
    assert field.reduce(u64(numbers)).tolist() == [x % field.prime for x in numbers]
    assert field.reduced(u64(numbers)).tolist() == [x % field.prime for x in numbers]


@pytest.mark.parametrize("prime", PRIMES)
@pytest.mark.parametrize("n", [0, 1, 5, BLOCK, 5 * BLOCK + 3])
def test_dot_and_combination_are_matrix_products(prime: int, n: int) -> None:
    field, rng = PrimeField(prime), np.random.default_rng(n)
    rows = rng.integers(0, prime, (4, n), dtype=np.uint64)
    coefficients = rng.integers(0, prime, (3, n), dtype=np.uint64)
    weights = [-1, 0, prime - 1, 12345678901234567890]
    exact = rows.astype(object)
    assert field.dot(weights, rows).tolist() == list(sum(weights[k] * exact[k] for k in range(4)) % prime)
    wanted = [[sum(map(int, row * c)) % prime for c in coefficients.astype(object)] for row in exact]
    assert field.combination(coefficients, rows).tolist() == wanted


@pytest.mark.parametrize("prime", [2**31 - 1, 2**61 - 1])
def test_the_largest_combination_is_exact(prime: int) -> None:
    """Limbs that are full or short of it by 1 or 2, at random: the float64 sums come nearest to 2**53."""
    field, rng, n = PrimeField(prime), np.random.default_rng(0), BLOCK

    def nearly_full(limb: int) -> list[int]:
        shifts = range(0, prime.bit_length() - 1, limb)
        return [prime - 1 - sum(int(rng.integers(2)) << shift for shift in shifts) for _ in range(n)]

    row, coefficients = nearly_full(31), nearly_full(11)
    found = field.combination(u64([coefficients]), u64([row])).item()
    assert found == sum(x * y for x, y in zip(row, coefficients, strict=True)) % prime


def test_dot_wants_a_weight_for_each_row() -> None:
    with pytest.raises(ValueError, match="2 weights for 3 rows"):
        MERSENNE_31.dot([1, 2], np.zeros((3, 4), dtype=np.uint64))


@pytest.mark.parametrize(
    "prime", [-7, 0, 1, 2, 4, 9, 25, 49, 2**31 - 3, 2**31 + 11, 2**61 + 15, 2**59 - 55, 3215031751]
)
def test_what_is_no_prime_or_too_large_is_refused(prime: int) -> None:
    with pytest.raises(UserError, match=f"not {prime}"):
        PrimeField(prime)


def test_every_prime_below_3000_is_one_and_no_other_number() -> None:
    def legal(number: int) -> bool:
        try:
            return bool(PrimeField(number))
        except UserError:
            return False

    wanted = [n for n in range(3, 3000) if all(n % d for d in range(2, int(n**0.5) + 1))]
    assert [n for n in range(3000) if legal(n)] == wanted


@st.composite
def sums(draw: st.DrawFn) -> tuple[Decimals, torch.Tensor]:
    field = draw(st.sampled_from([PrimeField(2**31 - 19), MERSENNE_31, MERSENNE_61]))
    coded = Decimals(field, draw(st.integers(0, 6)))
    terms = draw(st.integers(1, 20))
    largest = min(coded.bound(terms), 2.0**20)
    entries = st.floats(-largest, largest, width=64) | st.sampled_from([largest, -largest, 0.0])
    rows = draw(st.lists(st.lists(entries, min_size=3, max_size=3), min_size=terms, max_size=terms))
    return coded, torch.tensor(rows, dtype=torch.float64)


@given(sums())
@settings(max_examples=200, deadline=None)
def test_a_sum_of_encodings_is_the_sum_of_the_numbers_within_the_stated_error(
    case: tuple[Decimals, torch.Tensor],
) -> None:
    coded, rows = case
    total = coded.field.sum(np.stack([coded.encode(row, len(rows)) for row in rows]))
    signed = [int(x) if int(x) <= coded.field.prime // 2 else int(x) - coded.field.prime for x in total]
    for found, column, decoded in zip(signed, rows.T.tolist(), coded.decode(total), strict=True):
        true = sum(map(Fraction, column))
        exact = Fraction(found, 10**coded.decimals)
        doubles = sum(abs(Fraction(x)) for x in column) * Fraction(1, 2**53)
        assert abs(exact - true) <= Fraction(len(rows), 2 * 10**coded.decimals) + doubles
        assert float(decoded) == pytest.approx(float(exact), rel=2**-23)
    assert coded.error(len(rows)) == pytest.approx(len(rows) * 0.5 * 10**-coded.decimals)
    assert coded.decode(total).dtype == torch.float32


@given(st.sampled_from([101, 8191, 2**31 - 1, 2**61 - 1]), st.integers(0, 9), st.integers(1, 1000))
@settings(max_examples=300, deadline=None)
def test_what_fits_by_the_bound_is_encoded_and_what_does_not_is_refused(prime: int, decimals: int, terms: int) -> None:
    field = PrimeField(prime)
    if 2 * 10**decimals > prime - 1:
        with pytest.raises(UserError, match="field too small"):
            Decimals(field, decimals)
        return
    coded = Decimals(field, decimals)
    assert coded.bound(1) >= 1
    bound = coded.bound(terms)
    assert bound == pytest.approx((prime - 1) // 2 // terms / 10**decimals, rel=1e-15)
    both = coded.encode(torch.tensor([bound, -bound], dtype=torch.float64), terms)
    assert int(both[0]) * terms <= (prime - 1) // 2
    assert (int(both[0]) + int(both[1])) % prime == 0
    beyond = bound + 10**-decimals + bound * 2**-51
    for value in (beyond, -beyond, float("inf"), float("-inf"), float("nan"), 1e300):
        with pytest.raises(RangeError, match="does not fit"):
            coded.encode(torch.tensor([0.0, value], dtype=torch.float64), terms)


def test_a_range_error_names_layer_value_and_bound() -> None:
    layout = Layout(("conv.weight", "fc.bias"), ((2, 2), (3,)))
    values = torch.tensor([0.0, 0, 0, 0, 1, 2500, -1])
    with pytest.raises(RangeError, match=r"layer 'fc\.bias', entry 1: 2500 does not fit.* at most 107\.374 each"):
        Decimals(MERSENNE_31, 6).encode(values, 10, layout)
    with pytest.raises(RangeError, match="entry 5: 2500 does not fit"):
        Decimals(MERSENNE_31, 6).encode(values, 10)
    with pytest.raises(ValueError, match="7 entries"):
        Decimals(MERSENNE_31, 6).encode(values[1:], 10, layout)


def test_encodings_are_the_rounded_decimals_and_negative_ones_stand_above_half_the_prime() -> None:
    coded = Decimals(PrimeField(8191), 2)
    found = coded.encode(torch.tensor([[0.0, 1.23], [-1.23, -0.004]]), 1)
    assert found.tolist() == [[0, 123], [8191 - 123, 0]]
    assert found.dtype == np.uint64
    assert torch.equal(coded.decode(found), torch.tensor([[0.0, 1.23], [-1.23, 0.0]]))


@pytest.mark.parametrize("decimals", [-1, 1.5, True])
def test_decimals_that_are_no_count_are_refused(decimals: object) -> None:
    with pytest.raises(UserError, match="whole number"):
        Decimals(MERSENNE_61, decimals)


def test_a_sum_of_no_terms_is_refused() -> None:
    with pytest.raises(UserError, match="cannot sum 0"):
        Decimals(MERSENNE_61, 3).bound(0)
