"""Exact products of matrices over the ring Z_2^64, wherever they lie.

Torch multiplies int64 matrices with wrap-around on the CPU, at a speed that its version decides, and not at all on
CUDA. The other way is float64: an element is the sum of three signed limbs of 22, 21 and 21 bits,

    x = x0 + 2^22 x1 + 2^43 x2,    -2^21 <= x0 < 2^21,    -2^20 <= x1, x2 < 2^20

    a b = a0 b0 + 2^22 (a0 b1 + a1 b0) + 2^43 (a0 b2 + 2 a1 b1 + a2 b0)    mod 2^64

What is left out is a multiple of 2^64. Every sum in brackets is made of float64 products of matrices. It is exact: with
at most ``2^53 / (3 * 2^41) = 1365`` terms, none of its partial sums leaves the integers that float64 holds.
"""

from functools import cache
from time import perf_counter

import torch
from torch import Tensor

_MOST_TERMS = 1365  # of a sum of products of limbs that float64 holds exactly
_ROWS = 2**18  # elements of the left matrix that are split at a time: their limbs then take 6 MiB
_SMALL = 2**15  # multiplications below which splitting takes longer than any integer product


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a b mod 2^64``, in two's complement.

    The faster of torch's integer product and the limbs is taken; both give the same elements.

    Args:
        a: int64, shape ``(m, k)``.
        b: int64, shape ``(k, n)``, on the same device.

    Returns:
        int64, shape ``(m, n)``.

    Raises:
        ValueError: another dtype, or shapes that cannot be multiplied.
    """
    if a.dtype != torch.int64 or b.dtype != torch.int64:
        raise ValueError(f"a product in Z_2^64 is of int64 matrices, not of {a.dtype} and {b.dtype}")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"cannot multiply matrices of shapes {tuple(a.shape)} and {tuple(b.shape)}")
    if a.device.type == "cpu" and (a.shape[0] * a.shape[1] * b.shape[1] < _SMALL or _integers_are_faster()):
        return a @ b
    return by_limbs(a, b)


def by_limbs(a: Tensor, b: Tensor) -> Tensor:
    """The same product in float64; arguments and result as in :func:`matmul`, which checks them."""
    out = torch.zeros(a.shape[0], b.shape[1], dtype=torch.int64, device=a.device)
    for start in range(0, a.shape[1], _MOST_TERMS):
        terms = slice(start, start + _MOST_TERMS)
        right = _limbs(b[terms])
        rows = max(1, _ROWS // right[0].shape[0])
        for first in range(0, a.shape[0], rows):
            place = slice(first, first + rows)
            out[place] += _product(_limbs(a[place, terms]), right)
    return out


def _limbs(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``x0, x1, x2`` as float64. A shift left and back keeps the low bits and their sign."""
    low = x << 42 >> 42
    rest = x - low >> 22
    middle = rest << 43 >> 43
    high = rest - middle >> 21 << 43 >> 43
    return low.double(), middle.double(), high.double()


def _product(a: tuple[Tensor, Tensor, Tensor], b: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    total = (a[0] @ b[0]).long()
    total += torch.addmm(a[0] @ b[1], a[1], b[0]).long() << 22
    outer = torch.addmm(a[0] @ b[2], a[2], b[0])
    total += torch.addmm(outer, a[1], b[1], alpha=2).long() << 43
    return total


@cache
def _integers_are_faster() -> bool:
    """Whether this torch on this machine multiplies int64 matrices faster than limbs do: timed once a process."""
    a, b = torch.arange(64 * 512).reshape(64, 512), torch.arange(512 * 64).reshape(512, 64)
    seconds = []
    for product in (torch.matmul, by_limbs):
        product(a, b)  # what is set up at the first call is not measured
        start = perf_counter()
        product(a, b)
        seconds.append(perf_counter() - start)
    return seconds[0] < seconds[1]
