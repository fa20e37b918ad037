"""Encoding and decoding against Python's integers and fractions; what does not fit is refused by name."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fl_attack_bench.crypto.ring import FixedPoint, RangeError
from fl_attack_bench.errors import UserError
from fl_attack_bench.update import Layout

LAYOUT = Layout(("conv.weight", "conv.bias", "head.weight"), ((2, 3), (2,), (4,)))
bits = st.integers(1, 52)
floats = arrays.arrays(np.float64, st.integers(0, 30), elements=st.floats(-1000, 1000))


def wrapped(number: int) -> int:
    """Two's complement in 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


@given(floats, bits)
@settings(max_examples=200, deadline=None)
def test_encoding_rounds_half_to_even_as_exact_fractions_do(values: np.ndarray, fraction_bits: int) -> None:
    ring = FixedPoint(fraction_bits).encode(values, terms=1)
    assert ring.dtype == np.int64
    assert ring.tolist() == [round(Fraction(value) * 2**fraction_bits) for value in values.tolist()]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), bits)
@settings(max_examples=200, deadline=None)
def test_decoding_is_the_nearest_float_of_the_exact_fraction(ring: list[int], fraction_bits: int) -> None:
    point, numbers = FixedPoint(fraction_bits), np.array(ring, dtype=np.int64)
    exact = [Fraction(number, 2**fraction_bits) for number in ring]
    wide, narrow = point.decode64(numbers), point.decode(numbers)
    assert wide.dtype == torch.float64
    assert wide.tolist() == [float(value) for value in exact]
    assert narrow.dtype == torch.float32
    assert torch.equal(narrow, wide.float())


@given(st.integers(2, 50), st.integers(4, 40), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_a_sum_of_encoded_values_is_within_the_stated_error(terms: int, fraction_bits: int, seed: int) -> None:
    point = FixedPoint(fraction_bits)
    values = torch.randn(terms, 20, generator=torch.Generator().manual_seed(seed))
    total = sum(point.encode(row, terms) for row in values)
    for column, found in zip(values.T.tolist(), total.tolist(), strict=True):
        assert abs(Fraction(found, 2**fraction_bits) - sum(map(Fraction, column))) <= point.error(terms)


def test_the_stated_error_is_reached() -> None:
    point = FixedPoint(8)
    ring = point.encode(np.full(3, 2.0**-9), terms=3)
    assert abs(ring.sum() / 2**8 - 3 * 2.0**-9) == point.error(3) == 3 * 2.0**-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_float_dtype_and_shape_is_taken_as_it_is(dtype: torch.dtype) -> None:
    values = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    ring = FixedPoint(20).encode(values.transpose(0, 2), terms=4)
    assert ring.shape == (5, 4, 3)
    wanted = [round(Fraction(value) * 2**20) for value in values.transpose(0, 2).flatten().tolist()]
    assert ring.reshape(-1).tolist() == wanted
    assert FixedPoint(20).decode(ring).shape == (5, 4, 3)


def test_vectors_longer_than_a_block_are_encoded_whole() -> None:
    values = torch.randn(100_001, generator=torch.Generator().manual_seed(2))
    point = FixedPoint(40)
    ring = point.encode(values, terms=1000)
    assert np.array_equal(ring, torch.round(values.double() * 2**40).long().numpy())
    assert torch.equal(point.decode(ring), (torch.from_numpy(ring).double() / 2**40).float())


@given(st.one_of(st.integers(1, 100), st.integers(1, 2**63 - 1)), bits)
@settings(max_examples=200, deadline=None)
def test_the_bound_fits_and_its_sum_stays_in_the_ring(terms: int, fraction_bits: int) -> None:
    point = FixedPoint(fraction_bits)
    bound = point.bound(terms)
    ring = point.encode(np.array([bound, -bound]), terms)
    assert terms * int(ring[0]) < 2**63
    assert ring[0] == -ring[1]
    # The next float either leaves the ring when summed, or is less than one unit of the ring away from doing so.
    assert (Fraction(math.nextafter(bound, math.inf)) * 2**fraction_bits + 1) * terms >= 2**63


@given(st.integers(1, 2**40), bits, st.floats(0, 3))
@settings(max_examples=200, deadline=None)
def test_whatever_reaches_two_to_the_63_is_refused(terms: int, fraction_bits: int, factor: float) -> None:
    point = FixedPoint(fraction_bits)
    value = point.bound(terms) * factor
    too_large = Fraction(value) * 2**fraction_bits * terms >= 2**63
    for signed in (value, -value):
        if too_large or value > point.bound(terms):
            with pytest.raises(RangeError):
                point.encode(np.array([0.0, signed]), terms)
        else:
            assert abs(int(point.encode(np.array([0.0, signed]), terms)[1])) * terms < 2**63


@pytest.mark.parametrize("value", [1e12, -1e12, 3e38, -math.inf, math.inf, math.nan])
@pytest.mark.parametrize(
    ("index", "where"),
    [(0, "'conv.weight', entry 0"), (7, "'conv.bias', entry 1"), (8, "'head.weight', entry 0"), (11, "'head.weight'")],
)
def test_what_does_not_fit_is_an_error_that_names_layer_and_value(value: float, index: int, where: str) -> None:
    values = torch.zeros(12)
    values[index] = value
    with pytest.raises(RangeError, match=f"layer {where}") as caught:
        FixedPoint(24).encode(values, 10, LAYOUT)
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    if math.isfinite(value):
        assert f"{value:g} does not fit" in message
        assert f"at most {FixedPoint(24).bound(10):g}" in message
        assert "fewer fraction bits or clip" in message
    else:
        assert f"{value} cannot be encoded" in message


def test_an_error_far_into_a_vector_counts_from_its_beginning() -> None:
    values = np.zeros(70_000)
    values[66_000] = 1e30
    with pytest.raises(RangeError, match="entry 66000: 1e\\+30"):
        FixedPoint().encode(values, 2)
    with pytest.raises(RangeError, match="entry 0: 1e\\+300"):
        FixedPoint(52).encode(np.array([1e300]), 2)


def test_more_terms_leave_less_room() -> None:
    point, value = FixedPoint(24), torch.tensor([2.0**38])
    assert point.encode(value, 1).tolist() == [2**62]
    with pytest.raises(RangeError):
        point.encode(value, 2)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2))
@settings(max_examples=100, deadline=None)
def test_sums_wrap_around_without_a_word(pair: list[int]) -> None:
    left, right = (np.array([number], dtype=np.int64) for number in pair)
    assert (left + right).tolist() == [wrapped(sum(pair))]


@pytest.mark.parametrize("fraction_bits", [0, -1, 53, 64, 24.0, True, "24"])
def test_fraction_bits_out_of_range_are_refused_when_made(fraction_bits: object) -> None:
    with pytest.raises(UserError, match="whole number from 1 to 52"):
        FixedPoint(fraction_bits)


@pytest.mark.parametrize("terms", [0, -3, 2**63])
def test_terms_out_of_range_are_refused(terms: int) -> None:
    with pytest.raises(UserError, match=f"cannot sum {terms} values"):
        FixedPoint().encode(torch.zeros(2), terms)


def test_a_layout_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="12 entries cannot name 3 values"):
        FixedPoint().encode(torch.zeros(3), 1, LAYOUT)
