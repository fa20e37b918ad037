"""Fixed-point numbers in the ring Z_2^64, whose sums are exact as long as they fit, which is checked."""

from dataclasses import dataclass
from math import isfinite, ldexp, nextafter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_attack_bench.errors import UserError
from fl_attack_bench.update import Layout

Ring = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

LARGEST = 2**63 - 1
MOST_FRACTION_BITS = 52
_BLOCK = 2**15  # numbers converted at a time: what a conversion holds in between stays in the cache


class RangeError(UserError):
    """A value that the chosen ring or field cannot hold; the message names the layer, the value and the bound."""


@dataclass(frozen=True)
class FixedPoint:
    """Real numbers as integers of Z_2^64: ``x`` stands for ``round(x * 2^f)``, in two's complement.

    Args:
        fraction_bits: f, from 1 to 52. The resolution is ``2^-f``.

    Raises:
        UserError: ``fraction_bits`` is not a whole number from 1 to 52.
    """

    fraction_bits: int = 24

    def __post_init__(self) -> None:
        bits = self.fraction_bits
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= MOST_FRACTION_BITS:
            raise UserError(f"fraction_bits must be a whole number from 1 to {MOST_FRACTION_BITS}, not {bits!r}")

    def bound(self, terms: int) -> float:
        """The largest magnitude of a value, ``terms`` of which can be summed without leaving the ring.

        ``floor((2^63 - 1) / terms) / 2^f``, rounded down to float64.

        Raises:
            UserError: ``terms`` is not in [1, 2^63).
        """
        if not 1 <= terms <= LARGEST:
            raise UserError(f"cannot sum {terms} values in a ring of 64 bits: terms must lie in [1, 2^63)")
        most = LARGEST // terms
        nearest = float(most)
        return ldexp(nearest if int(nearest) <= most else nextafter(nearest, 0.0), -self.fraction_bits)

    def error(self, terms: int) -> float:
        """The largest absolute error of a sum of ``terms`` encoded values: ``terms * 2^-(f + 1)``.

        It is the error of the sum in the ring. Reading it as float32 rounds once more, by at most ``2^-24`` of the sum.
        """
        return ldexp(terms, -self.fraction_bits - 1)

    def encode(self, values: Tensor | Floats, terms: int, layout: Layout | None = None) -> Ring:
        """``round(v * 2^f)``, half to even, for every value; exact before the rounding, because it is done in float64.

        Args:
            values: floating point, any shape.
            terms: how many encoded vectors will be summed, at most.
            layout: names the layers of ``values`` in an error; its size is that of ``values``.

        Returns:
            int64, the shape of ``values``.

        Raises:
            RangeError: a value is not finite, or ``|v| * 2^f * terms`` reaches 2^63 (see :meth:`bound`).
        """
        array = _as_array(values)
        if layout is not None and layout.size != array.size:
            raise ValueError(f"a layout of {layout.size} entries cannot name {array.size} values")
        flat = array.reshape(-1)
        scale, limit = float(2**self.fraction_bits), ldexp(self.bound(terms), self.fraction_bits)
        ring = np.empty(flat.size, dtype=np.int64)
        scaled = np.empty(min(flat.size, _BLOCK), dtype=np.float64)
        for start in range(0, flat.size, _BLOCK):
            piece = flat[start : start + _BLOCK]
            inside = scaled[: piece.size]
            with np.errstate(over="ignore"):  # infinity fails the next test
                np.multiply(piece, scale, out=inside, dtype=np.float64)
            if not (inside.max() <= limit and inside.min() >= -limit):  # false for NaN
                raise self._out_of_range(flat, start, terms, layout)
            np.rint(inside, out=inside)
            np.copyto(ring[start : start + _BLOCK], inside, casting="unsafe")
        return ring.reshape(array.shape)

    def decode(self, ring: Ring) -> Tensor:
        """``k / 2^f`` for every element, float32 of the same shape; the division is done in float64."""
        return self._decode(ring, np.float32)

    def decode64(self, ring: Ring) -> Tensor:
        """``k / 2^f`` for every element, float64 of the same shape: exact up to ``|k| = 2^53``."""
        return self._decode(ring, np.float64)

    def _decode(self, ring: Ring, dtype: type[np.floating]) -> Tensor:
        flat = ring.reshape(-1)
        out = np.empty(flat.size, dtype=dtype)
        scale = 2.0**-self.fraction_bits
        for start in range(0, flat.size, _BLOCK):
            place = slice(start, start + _BLOCK)
            np.multiply(flat[place], scale, out=out[place], dtype=np.float64, casting="same_kind")
        return torch.from_numpy(out.reshape(ring.shape))

    def _out_of_range(self, flat: Floats, start: int, terms: int, layout: Layout | None) -> RangeError:
        bound = self.bound(terms)
        fits = np.abs(flat[start : start + _BLOCK].astype(np.float64)) <= bound
        index = start + int(np.argmin(fits))
        value, where = float(flat[index]), f"entry {index}"
        if layout is not None:
            name, place = next((n, s) for n, s in layout.slices.items() if s.start <= index < s.stop)
            where = f"layer {name!r}, entry {index - place.start}"
        if not isfinite(value):
            return RangeError(f"{where}: {value} cannot be encoded; the training diverged: lower its learning rate")
        return RangeError(
            f"{where}: {value:g} does not fit: a sum of {terms} values at {self.fraction_bits} fraction bits "
            f"holds at most {bound:g} each; use fewer fraction bits or clip the update"
        )


def _as_array(values: Tensor | Floats) -> Floats:
    """A view without a copy of what already lies in memory as float32 or float64."""
    if not isinstance(values, Tensor):
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    plain = values.detach().cpu()
    exact = plain if plain.dtype in (torch.float32, torch.float64) else plain.double()
    array: Floats = exact.numpy()
    return array
