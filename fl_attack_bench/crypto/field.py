"""Prime fields over numpy's uint64, and decimals as their elements.

Three kinds of primes are held. ``2**61 - 1`` and ``2**31 - 1`` are Mersenne primes: ``2**b = 1 mod 2**b - 1``, so a
number is reduced by adding its high bits to its low ones. Any other odd prime below ``2**31`` is reduced by division:
it is there for tests over small fields. Arrays hold elements in ``[0, prime)`` unless a docstring says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.errors import UserError
from fl_attack_bench.update import Layout

Elements = npt.NDArray[np.uint64]
U64 = np.uint64

BLOCK = 2048
"""Columns worked on at once: ten rows of them stay in a core's cache."""
_COEFFICIENT_BITS, _ROW_BITS = 11, 31  # BLOCK products of these sum to less than 2**53: exact in float64
_LARGE = 2**61 - 1


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test with the bases 2, 3, 5 and 7: no composite below 3.2e9 passes all four."""
    if number % 2 == 0:
        return False
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    for base in (2, 3, 5, 7):
        powers = [pow(base, odd << k, number) for k in range(twos)]
        if number != base and powers[0] != 1 and number - 1 not in powers:
            return False
    return True


@dataclass(frozen=True)
class PrimeField:
    """The integers modulo a prime.

    Args:
        prime: ``2**61 - 1`` or an odd prime below ``2**31``.

    Raises:
        UserError: any other number.
    """

    prime: int

    def __post_init__(self) -> None:
        if self.prime != _LARGE and not (2 < self.prime < 2**31 and _is_prime(self.prime)):
            raise UserError(f"a field's prime is 2**61 - 1 or an odd prime below 2**31, not {self.prime}")

    @cached_property
    def _p(self) -> np.uint64:
        return U64(self.prime)

    def reduce(self, values: Elements) -> Elements:
        """Any uint64 modulo the prime."""
        if self.prime not in (_LARGE, 2**31 - 1):
            return values % self._p
        bits = U64(self.prime.bit_length())
        folded = (values & self._p) + (values >> bits)
        if self.prime != _LARGE:  # 64 bits fold to 34, and 34 to less than the prime and eight more
            folded = (folded & self._p) + (folded >> bits)
        return np.minimum(folded, folded - self._p)  # the smaller of the two: below the prime, the difference wraps

    def reduced(self, values: Elements) -> Elements:
        """Values that came over a network, where nobody promises that they are below the prime: a copy only if not."""
        return values if not values.size or values.max() < self._p else self.reduce(values)

    def add(self, a: Elements, b: Elements) -> Elements:
        """``a + b mod p``, with numpy's broadcasting."""
        total = a + b
        least: Elements = np.minimum(total, total - self._p)
        return least

    def subtract(self, a: Elements, b: Elements) -> Elements:
        """``a - b mod p``, with numpy's broadcasting."""
        difference = a - b
        least: Elements = np.minimum(difference, difference + self._p)
        return least

    def multiply(self, a: Elements, b: Elements | np.uint64) -> Elements:
        """``a * b mod p``, with numpy's broadcasting."""
        return self.reduce(self._product(a, b))

    def _product(self, a: Elements, b: Elements | np.uint64) -> Elements:
        """A number below ``2**63`` that is ``a * b`` modulo the prime.

        For ``2**61 - 1``: with ``a = a1 * 2**32 + a0`` it is ``a1*b1 * 2**64 + (a1*b0 + a0*b1) * 2**32 + a0*b0``,
        where ``2**64 = 8`` and ``2**61 = 1``. Each of the three summands folds to less than ``2**61`` and a little.
        """
        if self.prime != _LARGE:
            return a * b
        a1, a0 = a >> U64(32), a & U64(2**32 - 1)
        b1, b0 = b >> U64(32), b & U64(2**32 - 1)
        middle = a1 * b0
        middle += a0 * b1
        total: Elements = a1 * b1
        total <<= U64(3)
        total += middle >> U64(29)
        middle &= U64(2**29 - 1)
        middle <<= U64(32)
        total += middle
        low = a0 * b0
        total += low >> U64(61)
        low &= self._p
        total += low
        return total

    def inverse(self, a: int) -> int:
        """The number whose product with ``a`` is 1; ValueError for a multiple of the prime."""
        return pow(a, -1, self.prime)

    def sum(self, rows: Elements) -> Elements:
        """``sum_k rows[k] mod p``: shape ``(K, n)`` gives ``(n,)``."""
        total = np.zeros(rows.shape[1:], dtype=U64)
        for row in rows:
            total = self.add(total, row)
        return total

    def dot(self, weights: Sequence[int], rows: Elements) -> Elements:
        """``sum_k weights[k] * rows[k] mod p``: few rows, many columns.

        Args:
            weights: K integers, of any size.
            rows: shape ``(K, n)``.

        Returns:
            shape ``(n,)``.
        """
        if len(weights) != len(rows):
            raise ValueError(f"{len(weights)} weights for {len(rows)} rows")
        scalars = [U64(weight % self.prime) for weight in weights]
        out = np.zeros(rows.shape[1], dtype=U64)
        block = 4 * BLOCK  # one row at a time: more columns fit
        for start in range(0, rows.shape[1], block):
            columns = slice(start, start + block)
            for scalar, row in zip(scalars, rows, strict=True):
                out[columns] = self.reduce(out[columns] + self._product(row[columns], scalar))
        return out

    def combination(self, coefficients: Elements, rows: Elements) -> Elements:
        """``sum_t coefficients[c, t] * rows[r, t] mod p``: few rows, combined along their many columns.

        Both are cut into limbs of 11 and 31 bits, whose products are summed by a float64 matrix product: over 2,048
        columns the sum is below ``2**53`` and therefore exact.

        Args:
            coefficients: shape ``(C, n)``.
            rows: shape ``(R, n)``.

        Returns:
            shape ``(R, C)``.
        """
        bits = self.prime.bit_length()
        small, large = range(0, bits, _COEFFICIENT_BITS), range(0, bits, _ROW_BITS)
        total = np.zeros((len(large) * len(rows), len(small) * len(coefficients)), dtype=U64)
        for start in range(0, rows.shape[1], BLOCK):
            columns = slice(start, start + BLOCK)
            products = _limbs(rows[:, columns], large, _ROW_BITS)
            products = products @ _limbs(coefficients[:, columns], small, _COEFFICIENT_BITS).T
            total = self.add(total, self.reduce(products.astype(U64)))
        limbs = total.reshape(len(large), len(rows), len(small), len(coefficients))
        out = np.zeros((len(rows), len(coefficients)), dtype=U64)
        for i, row_shift in enumerate(large):
            for j, shift in enumerate(small):
                out = self.add(out, self.multiply(limbs[i, :, j], U64(pow(2, row_shift + shift, self.prime))))
        return out


MERSENNE_31 = PrimeField(2**31 - 1)
MERSENNE_61 = PrimeField(_LARGE)
FIELDS = {"2^31-1": MERSENNE_31, "2^61-1": MERSENNE_61}


@dataclass(frozen=True)
class Decimals:
    """Signed numbers with a fixed number of decimals as elements of a field: ``round(v * 10**decimals) mod p``.

    A negative number ``-x`` is ``p - x``. A sum of ``terms`` encoded numbers decodes rightly as long as it stays within
    ``(p - 1) / 2`` of zero, which :meth:`encode` makes sure of.

    Args:
        field: where the numbers go.
        decimals: digits kept behind the point, at least 0.

    Raises:
        UserError: negative decimals, or so many that a single 1 does not fit.
    """

    field: PrimeField
    decimals: int

    def __post_init__(self) -> None:
        if isinstance(self.decimals, bool) or not isinstance(self.decimals, int) or self.decimals < 0:
            raise UserError(f"decimals must be a whole number, at least 0, not {self.decimals!r}")
        largest = (self.field.prime - 1) // 2
        if largest < self._scale:
            raise UserError(
                f"a field too small: with {self.decimals} decimals the prime {self.field.prime} holds values up to "
                f"{largest / self._scale:.3g}, and must hold 1; take fewer decimals or a larger prime"
            )

    @property
    def _scale(self) -> int:
        return int(10**self.decimals)

    def _limit(self, terms: int) -> float:
        """The largest integer that fits, as a double: rounded down where doubles are further apart than 1."""
        if terms < 1:
            raise UserError(f"cannot sum {terms} values: terms must be at least 1")
        largest = (self.field.prime - 1) // 2 // terms
        nearest = float(largest)
        return nearest if int(nearest) <= largest else float(np.nextafter(nearest, 0))

    def bound(self, terms: int) -> float:
        """The largest magnitude that fits where ``terms`` encoded numbers are summed: ``p / (2 * terms * 10**d)``.

        Raises:
            UserError: ``terms`` is below 1.
        """
        limit = self._limit(terms)
        bound = limit / self._scale
        while np.rint(bound * self._scale) > limit:  # dividing and multiplying round: the bound itself must fit
            bound = float(np.nextafter(bound, 0))
        return bound

    def error(self, terms: int) -> float:
        """How far a sum of ``terms`` encoded numbers is from the sum of the numbers: ``terms * 10**-decimals / 2``.

        This is the error of rounding to decimals. Doubles hold 53 bits and the decoded float32 24: past these, their
        own relative error comes on top.
        """
        return terms * 0.5 / self._scale

    def encode(self, values: Tensor, terms: int, layout: Layout | None = None) -> Elements:
        """The elements that stand for ``values``.

        Args:
            values: float32 or float64, any shape; shape ``(layout.size,)`` where there is a layout.
            terms: how many such encodings will be summed before decoding.
            layout: names the layer in an error.

        Returns:
            elements of the same shape.

        Raises:
            RangeError: a value that is not finite, or whose sum might leave the field. It names layer, value and bound.
        """
        if layout is not None and values.shape != (layout.size,):
            raise ValueError(f"a layout of {layout.size} entries cannot name values of shape {tuple(values.shape)}")
        numbers = values.detach().cpu().double().numpy()
        with np.errstate(over="ignore"):  # infinity does not fit
            rounded = np.rint(numbers * self._scale)
        fits = np.abs(rounded) <= self._limit(terms)  # false for NaN
        if not fits.all():
            place = int(np.flatnonzero(~fits)[0])
            raise RangeError(
                f"{_name(place, layout)}: {numbers.flat[place]:g} does not fit: a sum of {terms} values with "
                f"{self.decimals} decimals modulo {self.field.prime} holds at most {self.bound(terms):g} each"
            )
        signed = rounded.astype(np.int64)
        signed[signed < 0] += self.field.prime
        elements: Elements = signed.view(U64)
        return elements

    def decode(self, elements: Elements) -> Tensor:
        """The numbers, float32, that elements (or sums of them) stand for."""
        signed = elements.astype(np.int64)
        signed[signed > self.field.prime // 2] -= self.field.prime
        return torch.from_numpy((signed / self._scale).astype(np.float32))


def _name(place: int, layout: Layout | None) -> str:
    if layout is None:
        return f"entry {place}"
    name, part = next((n, p) for n, p in layout.slices.items() if p.start <= place < p.stop)
    return f"layer {name!r}, entry {place - part.start}"


def _limbs(values: Elements, shifts: range, bits: int) -> npt.NDArray[np.float64]:
    """Limb after limb, ``(L * R, n)``, of rows ``(R, n)``."""
    mask = U64(2**bits - 1)
    out = np.empty((len(shifts), *values.shape), dtype=np.float64)
    for limb, shift in zip(out, shifts, strict=True):
        limb[...] = (values >> U64(shift)) & mask
    return out.reshape(-1, values.shape[1])
