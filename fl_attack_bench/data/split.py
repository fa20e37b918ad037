"""Which places of a sample every passive party holds."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks.vertical import Range, Split

SHOWN = 4


class _Held(NamedTuple):
    """All ranges of all parties, sorted by their first place: places ``first`` to ``last`` belong to ``owner``."""

    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]


def places(split: Split, image_shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The places of the flattened sample that each party holds.

    Everything is checked on ranges before any index is written out, so a range of a thousand million places that do
    not exist costs nothing.

    Args:
        split: who holds what.
        image_shape: ``(C, H, W)`` of an image; the flattened sample has ``C * H * W`` places, channel by channel and
            row by row.

    Returns:
        For each party, in the order of the split, shape ``(p,)``, int64, rising. With ``by: rows`` a row stands for
        its places on all channels and columns. Together they are all places, each once.

    Raises:
        UserError: a place does not exist, is held twice or is held by nobody; names the parties and the places.
    """
    rows = split.by == "rows"
    word, total = ("row", image_shape[1]) if rows else ("feature", prod(image_shape))
    parties = list(split.parties)
    _check_exist(split, word, total)
    held = _held(split)
    _check_once(held, parties, word)
    _check_all(held, parties, word, total)
    return {
        party: _rows(_spelt_out(ranges), image_shape) if rows else _spelt_out(ranges)
        for party, ranges in split.parties.items()
    }


def _held(split: Split) -> _Held:
    pairs = [pair for ranges in split.parties.values() for pair in ranges]
    owner = np.repeat(np.arange(len(split.parties)), [len(ranges) for ranges in split.parties.values()])
    bounds = np.array(pairs, dtype=np.int64)
    order = np.lexsort((bounds[:, 1], bounds[:, 0]))
    return _Held(bounds[order, 0], bounds[order, 1], owner[order].astype(np.int64))


def _check_exist(split: Split, word: str, total: int) -> None:
    # On Python's own integers: a suite may name any.
    for party, ranges in split.parties.items():
        for first, last in ranges:
            if last >= total:
                wrong = (max(first, total), last)
                verb = "does" if wrong[0] == wrong[1] else "do"
                raise UserError(
                    f"split by {word}s: party {party!r} is given {_named(word, [wrong])}, which {verb} not exist; "
                    f"the last {word} is {total - 1}, counted from 0"
                )


def _check_once(held: _Held, parties: Sequence[str], word: str) -> None:
    # Sorted by the first place, the first range that touches any earlier one touches the one just before it.
    touching = np.flatnonzero(held.first[1:] <= held.last[:-1])
    if not len(touching):
        return
    left, right = int(touching[0]), int(touching[0]) + 1
    twice = _named(word, [(int(held.first[right]), int(min(held.last[left], held.last[right])))])
    first, second = sorted((int(held.owner[left]), int(held.owner[right])))
    if first == second:
        raise UserError(f"split by {word}s: party {parties[first]!r} is given {twice} twice; name each {word} once")
    raise UserError(
        f"split by {word}s: parties {parties[first]!r} and {parties[second]!r} are both given {twice}; "
        f"give each {word} to one of them"
    )


def _check_all(held: _Held, parties: Sequence[str], word: str, total: int) -> None:
    before = np.concatenate((held.first, [total]))
    after = np.concatenate(([-1], held.last))
    open_ = np.flatnonzero(before > after + 1)
    if not len(open_):
        return
    missing = int((before[open_] - after[open_] - 1).sum())
    gaps = [(int(after[at]) + 1, int(before[at]) - 1) for at in open_[:SHOWN]]
    more = ", ..." if len(open_) > SHOWN else ""
    raise UserError(
        f"split by {word}s: nobody is given {_named(word, gaps)}{more} ({missing:,} of {total:,}); "
        f"give every {word} to one of {', '.join(parties)}"
    )


def _named(word: str, ranges: Sequence[Range]) -> str:
    """``row 7``, or ``rows 3-5, 9``."""
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return f"{word if single else word + 's'} {', '.join(texts)}"


def _spelt_out(ranges: Sequence[Range]) -> Tensor:
    return torch.cat([torch.arange(first, last + 1) for first, last in sorted(ranges)])


def _rows(rows: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = image_shape
    starts = torch.arange(channels)[:, None] * height + rows
    return (starts[..., None] * width + torch.arange(width)).flatten()
