"""Additive secret sharing in the ring Z_2^64: shares that are uniform each and sum to the secret.

    s_1, ..., s_(m-1) uniform,  s_m = x - s_1 - ... - s_(m-1)  mod 2^64

Any m - 1 of the m shares are uniform and independent of ``x``; all m together are ``x``. The sum of the shares that
one party holds of several secrets is a share of the sum of these secrets (pempc-2021, section 3.4).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from fl_attack_bench.crypto.ring import Ring
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.errors import UserError

_BLOCK = 2**16  # ring elements of each share that are worked on at a time, so that all of them stay in the cache
_WORTH_A_THREAD = 2**17  # ring elements below which starting threads takes longer than they save
_ITEM = 8


def split(secret: Ring, parties: int, secrets: Secrets, out: Ring | None = None) -> Ring:
    """Shares of a vector, one row for each party.

    The first ``parties - 1`` rows are the next ``(parties - 1) * n`` words of ``secrets`` in order, whatever the number
    of threads (``torch.get_num_threads()``).

    Args:
        secret: int64, shape ``(n,)``.
        parties: m, at least 2.
        secrets: where the uniform rows come from; it goes on behind them.
        out: written and returned where given: int64, C-contiguous, shape ``(parties, n)``, not overlapping ``secret``.

    Returns:
        int64, shape ``(parties, n)``.

    Raises:
        UserError: fewer than two parties.
        ValueError: ``secret`` or ``out`` has another type or shape.
    """
    if parties < 2:
        raise UserError(f"cannot share a secret among {parties}: additive sharing needs at least 2 parties")
    if secret.dtype != np.int64 or secret.ndim != 1:
        raise ValueError(f"a secret is a vector of int64, not {secret.dtype} of shape {secret.shape}")
    shares = _checked(out, (parties, secret.size))
    start = secrets.reserve((parties - 1) * secret.size * _ITEM)

    def columns(first: int, last: int) -> None:
        rows = [secrets.reader(start + (row * secret.size + first) * _ITEM) for row in range(parties - 1)]
        for at in range(first, last, _BLOCK):
            place = slice(at, min(at + _BLOCK, last))
            left, rest = secret[place], shares[-1, place]
            for row, reader in zip(shares, rows, strict=False):
                share = row[place]
                reader.fill(share.view(np.uint8))
                left = np.subtract(left, share, out=rest)

    _over_columns(columns, secret.size)
    return shares


def combine(shares: Ring | Sequence[Ring], out: Ring | None = None) -> Ring:
    """The sum of vectors mod 2^64: the secret of all its shares, or a party's share of a sum.

    Args:
        shares: int64, shape ``(m, n)``, or m vectors of shape ``(n,)`` that lie anywhere.
        out: written and returned where given: int64, C-contiguous, shape ``(n,)``, not overlapping ``shares``.

    Returns:
        int64, shape ``(n,)``.

    Raises:
        ValueError: no shares, or vectors of another type or of different lengths.
    """
    rows = list(shares)
    if not rows or any(row.dtype != np.int64 or row.ndim != 1 or row.size != rows[0].size for row in rows):
        raise ValueError(f"shares are vectors of int64 of one length, not {[(r.dtype, r.shape) for r in rows]}")
    total = _checked(out, rows[0].shape)

    def columns(first: int, last: int) -> None:
        for at in range(first, last, _BLOCK):
            place = slice(at, min(at + _BLOCK, last))
            so_far, block = rows[0][place], total[place]
            if len(rows) == 1:
                block[:] = so_far
            for row in rows[1:]:
                so_far = np.add(so_far, row[place], out=block)

    _over_columns(columns, total.size)
    return total


def _checked(out: Ring | None, shape: tuple[int, ...]) -> Ring:
    if out is None:
        return np.empty(shape, dtype=np.int64)
    if out.dtype != np.int64 or out.shape != shape or not out.flags.c_contiguous:
        raise ValueError(f"out must be contiguous int64 of shape {shape}, not {out.dtype} of shape {out.shape}")
    return out


def _over_columns(work: Callable[[int, int], None], count: int) -> None:
    """Do ``work(first, last)`` for ranges that cover ``[0, count)``, one a thread.

    The cipher and numpy let other threads run while they work, and the ranges write to places of their own.
    """
    threads = min(torch.get_num_threads(), count // _WORTH_A_THREAD)
    if threads < 2:
        work(0, count)
        return
    edges = [count * number // threads for number in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))  # the list raises what a thread raised
