"""Normal numbers from a cryptographic keystream: masks of shares in floating point.

Two uniform numbers ``u, v`` in (0, 1] become two independent standard normal ones (Box and Muller 1958):

    sqrt(-2 ln u) cos(2 pi v),    sqrt(-2 ln u) sin(2 pi v)

A uniform number is ``(k + 1/2) / 2^53`` with 53 bits ``k`` of the keystream, so that the logarithm is finite and no
number lies farther out than ``sqrt(-2 ln 2^-54) = 8.65`` standard deviations.
"""

from collections.abc import Sequence
from math import isfinite, prod

import numpy as np
import torch
from torch import Tensor

from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.errors import UserError

_BLOCK = 2**14  # pairs that are worked on at a time: what lies between the steps stays in the cache


def gaussian(secrets: Secrets, shape: Sequence[int], std: float, dtype: torch.dtype) -> Tensor:
    """Independent normal numbers of mean 0.

    They are worked out in float64 and rounded to ``dtype`` at the end; ``n`` numbers take ``2 ceil(n / 2)`` words of
    the stream.

    Args:
        secrets: the stream, which goes on behind the words that were used.
        shape: of the result.
        std: standard deviation, at least 0 and finite.
        dtype: float32 or float64.

    Returns:
        Of ``shape`` and ``dtype``, on the CPU.

    Raises:
        UserError: ``std`` is negative or not finite.
        ValueError: another dtype.
    """
    if not (isfinite(std) and std >= 0):
        raise UserError(f"the standard deviation of a mask must be finite and at least 0, not {std}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"normal masks are float32 or float64, not {dtype}")
    count = prod(shape)
    pairs = (count + 1) // 2
    normal = torch.empty(2 * pairs, dtype=dtype)
    out = normal.numpy()
    for start in range(0, pairs, _BLOCK):
        size = min(_BLOCK, pairs - start)
        bits = secrets.words(2 * size).view(np.uint64) >> np.uint64(11)
        uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
        radius = std * np.sqrt(-2 * np.log(uniform[:size]))
        angle = 2 * np.pi * uniform[size:]
        out[2 * start : 2 * start + size] = radius * np.cos(angle)
        out[2 * start + size : 2 * (start + size)] = radius * np.sin(angle)
    return normal[:count].reshape(tuple(shape))
