"""Real numbers as they are shared between two parties: ``<x>_0 + <x>_1 = x``.

In the ring Z_2^64 a number is fixed point, a share is uniform, and nothing can be learned from one share. In floating
point, as rtas-2021 has it (section 4.1), a share is Gaussian: one share says something about the number, and the larger
the mask, the more digits are lost.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import ldexp, prod, sqrt
from typing import Literal

import torch
from torch import Tensor

from fl_attack_bench.crypto.gaussian_masks import gaussian
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.crypto.ring_product import matmul as ring_matmul
from fl_attack_bench.crypto.secrets import Secrets

ArithmeticName = Literal["ring", "float32", "float64"]
RING_BITS = 64
LARGEST = 2**20  # in magnitude, of a number that is shared or reconstructed in the ring


class Arithmetic(ABC):
    """How numbers are held, masked and multiplied.

    Attributes:
        fraction_bits: f, of a number at rest; 0 in floating point.
        dtype: of a share.
    """

    fraction_bits: int
    dtype: torch.dtype

    @abstractmethod
    def encode(self, values: Tensor, bits: int, what: str) -> Tensor:
        """Numbers as they are shared.

        Args:
            values: floating point, any shape.
            bits: fraction bits.
            what: names the values in an error.

        Raises:
            RangeError: a value is not finite, or does not fit.
        """

    @abstractmethod
    def decode(self, held: Tensor, bits: int, what: str) -> Tensor:
        """Reconstructed numbers as float64.

        Raises:
            RangeError: a number is so large that it must have left the range before.
        """

    @abstractmethod
    def mask(self, secrets: Secrets, shape: torch.Size | tuple[int, ...], scale: float = 1.0) -> Tensor:
        """The next numbers that hide others.

        Args:
            secrets: where they come from; it goes on behind them.
            shape: of the result.
            scale: how much larger than usual a floating-point mask has to be.
        """

    @abstractmethod
    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right`` of two matrices."""

    @abstractmethod
    def product_scale(self, terms: int) -> float:
        """How much larger than a mask a sum of so many products of two masks is."""


@dataclass(frozen=True)
class Ring(Arithmetic):
    """Fixed point in Z_2^64, two's complement: ``round(x 2^f)``.

    Args:
        fraction_bits: f.
    """

    fraction_bits: int = 16
    dtype: torch.dtype = field(default=torch.int64, init=False)

    def encode(self, values: Tensor, bits: int, what: str) -> Tensor:
        """``round(x 2^bits)``, ``|x| < 2^20``."""
        exact = values.double()
        if exact.numel() and not bool((exact.abs() < LARGEST).all()):
            worst = float(exact.nan_to_num(torch.inf).abs().max())
            raise RangeError(
                f"{what}: {worst:g} is too large for a ring of 64 bits, in which numbers and their products lie below "
                f"{LARGEST:,}: scale the data, or use a smaller learning rate"
            )
        return (exact * ldexp(1.0, bits)).round().to(torch.int64)

    def decode(self, held: Tensor, bits: int, what: str) -> Tensor:
        """``k / 2^bits``.

        A product that left the ring comes back anywhere in it. Of such values one in ``2^(43 - bits)`` lies below 2^20
        and passes for a number; all others are refused.
        """
        decoded = held.double() * ldexp(1.0, -bits)
        if decoded.numel() and not bool((decoded.abs() < LARGEST).all()):
            worst = float(decoded.abs().max())
            raise RangeError(
                f"{what}: {worst:g} came out, so a product left the ring of 64 bits, in which numbers and their "
                f"products lie below {LARGEST:,}: scale the data, or use a smaller learning rate"
            )
        return decoded

    def mask(self, secrets: Secrets, shape: torch.Size | tuple[int, ...], scale: float = 1.0) -> Tensor:
        """Uniform elements of the ring."""
        del scale
        return torch.from_numpy(secrets.words(prod(shape))).reshape(shape)

    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """Exact, mod 2^64."""
        return ring_matmul(left, right)

    def product_scale(self, terms: int) -> float:
        """Uniform is uniform."""
        del terms
        return 1.0


@dataclass(frozen=True)
class Float(Arithmetic):
    """Floating point with Gaussian masks (rtas-2021, section 4.1).

    Args:
        dtype: float32 or float64.
        mask_std: standard deviation of a mask; it has to be larger than the data's.
    """

    dtype: torch.dtype = torch.float64
    mask_std: float = 100.0
    fraction_bits: int = field(default=0, init=False)

    def encode(self, values: Tensor, bits: int, what: str) -> Tensor:
        """The numbers themselves."""
        del bits
        return _finite(values, what).to(self.dtype)

    def decode(self, held: Tensor, bits: int, what: str) -> Tensor:
        """The numbers themselves."""
        del bits
        return _finite(held, what).double()

    def mask(self, secrets: Secrets, shape: torch.Size | tuple[int, ...], scale: float = 1.0) -> Tensor:
        """Independent normal numbers with mean 0."""
        return gaussian(secrets, tuple(shape), self.mask_std * scale, self.dtype)

    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """In the masks' precision."""
        return left @ right

    def product_scale(self, terms: int) -> float:
        """Of ``sum_k u_k v_k``, where u and v are sums of two masks each: ``2 std sqrt(terms)``."""
        return 2 * self.mask_std * sqrt(terms)


def _finite(values: Tensor, what: str) -> Tensor:
    if not bool(values.isfinite().all()):
        raise RangeError(f"{what}: a value is infinite or NaN: use a smaller learning rate")
    return values


def arithmetic(name: ArithmeticName, fraction_bits: int, mask_std: float) -> Arithmetic:
    """The one of this name."""
    if name == "ring":
        return Ring(fraction_bits)
    return Float(torch.float32 if name == "float32" else torch.float64, mask_std)
