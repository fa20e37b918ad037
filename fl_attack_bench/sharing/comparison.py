"""Which shared numbers are positive, and their positive parts, found by two parties without revealing anything.

A number z of Z_2^64 is shared as ``z_0 + z_1``. Party i alone knows the bits of ``-z_i``; the sign of ``-z`` is their
topmost bits' sum and what the lower 63 bits carry into it. The carry comes from a tree of six levels, as in a parallel
prefix adder (Kogge and Stone 1973), of which only the part is built that the sign needs. Of two neighbouring ranges of
bits, generating a carry is g and passing one on is p:

    g = g_high xor (p_high and g_low),    p = p_high and p_low

Bits are shared by exclusive or, and "and" is a product of bits by a triple (Beaver 1991). All 63 places of all numbers
are worked on side by side: a plane holds one bit of each of n numbers, eight in a byte.

The sign bit t becomes a number in the ring by a random bit r that is shared both ways. With c = t xor r opened, and the
masked number e = z - u opened in the same message,

    t = c + (1 - 2c) r,    z t = c z + (1 - 2c) (e r + u r)

which is Beaver's product with a bit for a second factor. It takes eight messages each way: one to generate, six levels,
one for the product. The way is that of SecureNN (Wagh et al. 2019) and Rosetta: comparison on shares with a helper that
deals out random numbers. The protocol inside is not theirs.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_attack_bench.crypto.secrets import Secrets

BITS = 64
_LOWER = BITS - 1  # places whose carry decides
_PAIRS = (31, 16, 8, 4, 2, 1)  # of neighbouring ranges that are joined on each level: 63 to 32 to 16 ... to 1
_MASKS = [3 * pairs - 1 for pairs in _PAIRS]  # planes that a level opens; the lowest range passes nothing on
_PRODUCTS = [2 * pairs - 1 for pairs in _PAIRS]
MASK_PLANES = _LOWER + sum(_MASKS)
PRODUCT_PLANES = _LOWER + sum(_PRODUCTS)
PLANES, WORDS = "planes", "words"
OPENED_BITS, OPENED = "bits", "masked"

Tensors = Mapping[str, Tensor]
# Sends the own tensors to the other party and gets its tensors, of the same names and shapes.
Swap = Callable[[Tensors], Awaitable[Tensors]]


@dataclass(frozen=True, eq=False)
class Masks:
    """What one party's half draws from a seed alone.

    Args:
        planes: share of the bits that hide the tree's, uint8, ``(MASK_PLANES, n / 8)``. The first 63, which hide one
            party's input, are that party's only.
        bit: share of r by exclusive or, uint8, ``(n / 8,)``.
        mask: share of u, int64, ``(n,)``.
    """

    planes: Tensor
    bit: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Half:
    """One party's half of what a comparison of n numbers uses up. Never to be used twice.

    Args:
        masks: see there.
        planes: share by exclusive or of the masks' products, uint8, ``(PRODUCT_PLANES, n / 8)``.
        words: shares of r and of ``u r`` in the ring, int64, ``(2, n)``.
    """

    masks: Masks
    planes: Tensor
    words: Tensor


def plane_bytes(count: int) -> int:
    """Of one bit of each of so many numbers."""
    return (count + 7) // 8


def draw_masks(secrets: Secrets, count: int) -> Masks:
    """The first part of either half."""
    planes = _draw_planes(secrets, MASK_PLANES + 1, count)
    return Masks(planes[:-1], planes[-1], torch.from_numpy(secrets.words(count)))


def first_half(secrets: Secrets, count: int) -> Half:
    """The first party's half, from the seed that it shares with the helper."""
    masks = draw_masks(secrets, count)
    planes = _draw_planes(secrets, PRODUCT_PLANES, count)
    return Half(masks, planes, torch.from_numpy(secrets.words(2 * count)).reshape(2, count))


def second_half(secrets: Secrets, count: int, planes: Tensor, words: Tensor) -> Half:
    """The second party's half, from a seed and what :func:`deal` makes for it."""
    return Half(draw_masks(secrets, count), planes, words)


def deal(first: Secrets, second: Secrets, count: int) -> dict[str, Tensor]:
    """The helper's part: what the second party's half must be for the two halves to fit.

    Args:
        first: stream of the first party's half.
        second: stream of the second party's half.
        count: n.

    Returns:
        ``planes`` and ``words`` of the second half.
    """
    half, other = first_half(first, count), draw_masks(second, count)
    mine, theirs = half.masks.planes, other.planes
    products = [mine[:_LOWER] & theirs[:_LOWER]]
    for masks in (mine[_LOWER:] ^ theirs[_LOWER:]).split(_MASKS):
        products.append(_joined(*_parts(masks)))
    bit = unpacked(half.masks.bit ^ other.bit, count)
    words = torch.stack([bit, bit * (half.masks.mask + other.mask)])
    return {PLANES: torch.cat(products) ^ half.planes, WORDS: words - half.words}


async def positive(swap: Swap, index: int, half: Half, share: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of ``z t`` and of ``t``, where t is 1 for ``z > 0`` and else 0.

    ``z = -2^63``, which has no negative, counts as positive.

    Args:
        swap: sends to the other party and receives from it.
        index: 0 or 1, which party this is.
        half: of the helper's random numbers, fresh, for as many numbers.
        share: of z, int64, any shape.

    Returns:
        Two tensors, int64, of the shape of ``share``, at the fraction bits of z and at none.
    """
    flat = share.reshape(-1)
    count = len(flat)
    bits = to_planes(-flat)
    sign = bits[-1] ^ await _carry(swap, index, half, bits[:_LOWER])
    mine = {OPENED_BITS: sign ^ half.masks.bit, OPENED: flat - half.masks.mask}
    theirs = await swap(mine)
    turned = unpacked(mine[OPENED_BITS] ^ theirs[OPENED_BITS], count)
    masked = mine[OPENED] + theirs[OPENED]
    bit, product = half.words
    direction = 1 - 2 * turned
    positive_part = turned * flat + direction * (masked * bit + product)
    positive = direction * bit + (turned if index == 0 else 0)
    return positive_part.reshape(share.shape), positive.reshape(share.shape)


async def _carry(swap: Swap, index: int, half: Half, bits: Tensor) -> Tensor:
    """This party's share of what the lower places carry into the sign, ``(n / 8,)``.

    Args:
        swap: sends and receives.
        index: which party this is.
        half: of the helper's random numbers.
        bits: of this party's summand, ``(63, n / 8)``.
    """
    own_mask, *masks = half.masks.planes.split([_LOWER, *_MASKS])
    own_product, *products = half.planes.split([_LOWER, *_PRODUCTS])
    mine = bits ^ own_mask
    theirs = await _planes(swap, mine)
    # a and b = a and (b xor v) xor (a xor u) and v xor (u and v): the first party knows a and u, the second b and v.
    generated = (theirs & (bits if index == 0 else own_mask)) ^ own_product
    passed = bits[1:]  # what the lowest place would pass on, nothing carries into it
    for mask, product in zip(masks, products, strict=True):
        pairs = (len(mask) + 1) // 3
        high, low = passed[0 : 2 * pairs : 2], passed[1 : 2 * pairs - 1 : 2]
        hidden = torch.cat([high, low, generated[0 : 2 * pairs : 2]]) ^ mask
        opened = hidden ^ await _planes(swap, hidden)
        both = _beaver(index, opened, mask, product)
        passed = torch.cat([both[: pairs - 1], passed[2 * pairs - 1 :]])
        generated = torch.cat([generated[1 : 2 * pairs : 2] ^ both[pairs - 1 :], generated[2 * pairs :]])
    carry: Tensor = generated[0]
    return carry


def _parts(planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A level's ``p_high`` of k pairs, ``p_low`` of all but the lowest pair, ``g_low`` of k pairs."""
    pairs = (len(planes) + 1) // 3
    return planes[:pairs], planes[pairs : 2 * pairs - 1], planes[2 * pairs - 1 :]


def _joined(high: Tensor, low: Tensor, generated: Tensor) -> Tensor:
    """``p_high and p_low`` of all but the lowest pair, then ``p_high and g_low``."""
    return torch.cat([high[1:] & low, high & generated])


def _beaver(index: int, opened: Tensor, mask: Tensor, product: Tensor) -> Tensor:
    """A share of a level's products: ``d and e xor d and v xor u and e xor (u and v)``, d and e being public."""
    (d, *e), (u, *v) = _parts(opened), _parts(mask)
    rest = [factor ^ hidden if index == 0 else hidden for factor, hidden in zip(e, v, strict=True)]
    return _joined(d, *rest) ^ _joined(u, *e) ^ product


async def _planes(swap: Swap, mine: Tensor) -> Tensor:
    return (await swap({PLANES: mine}))[PLANES]


def to_planes(words: Tensor) -> Tensor:
    """The bits of numbers by their place: int64 ``(n,)`` to uint8 ``(64, n / 8)``, the lowest place first.

    Bit j of byte i of a plane is of number ``8 i + j``; what is left of the last byte is 0.
    """
    count = len(words)
    octets = words.numpy().astype("<i8", copy=False).view(np.uint8).reshape(count, 8)
    planes = np.empty((BITS, plane_bytes(count)), dtype=np.uint8)
    for place in range(8):
        column = np.ascontiguousarray(octets[:, place])
        for bit in range(8):
            planes[8 * place + bit] = np.packbits(column & np.uint8(1 << bit), bitorder="little")
    return torch.from_numpy(planes)


def unpacked(plane: Tensor, count: int) -> Tensor:
    """The bits of one plane, ``(n / 8,)``, as numbers 0 and 1: int64, ``(n,)``."""
    bits = np.unpackbits(plane.numpy(), count=count, bitorder="little")
    return torch.from_numpy(bits).to(torch.int64)


def _draw_planes(secrets: Secrets, planes: int, count: int) -> Tensor:
    out = np.empty((planes, plane_bytes(count)), dtype=np.uint8)
    secrets.fill(out)
    return torch.from_numpy(out)
