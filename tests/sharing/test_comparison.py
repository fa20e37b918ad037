"""Comparison on shares against Python's integers, and what it sends against the formula."""

import asyncio
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.sharing.comparison import (
    MASK_PLANES,
    PLANES,
    PRODUCT_PLANES,
    WORDS,
    deal,
    first_half,
    plane_bytes,
    positive,
    second_half,
    to_planes,
    unpacked,
)

LEAST, LARGEST = -(2**63), 2**63 - 1
EDGES = [LEAST, LEAST + 1, -(2**62), -1, 0, 1, 2**62, LARGEST]
elements = st.integers(LEAST, LARGEST) | st.sampled_from(EDGES)


class Pair:
    """Two parties whose messages cross in memory; every message is kept."""

    def __init__(self, values: Tensor, seed: bytes = b"one") -> None:
        count = values.numel()
        self.sent: list[list[dict[str, Tensor]]] = [[], []]
        self._queues = [asyncio.Queue[dict[str, Tensor]]() for _ in range(2)]
        streams = [lambda purpose=purpose: Secrets.seeded(seed, purpose) for purpose in (b"first", b"second")]
        self.dealt = deal(streams[0](), streams[1](), count)
        halves = first_half(streams[0](), count), second_half(streams[1](), count, **self.dealt)
        share = torch.from_numpy(Secrets.seeded(seed, b"share").words(count)).reshape(values.shape)
        self._programs = [
            positive(self._swap(index), index, half, own)
            for index, (half, own) in enumerate(zip(halves, (share, values - share), strict=True))
        ]

    def _swap(self, index: int):
        async def swap(mine):
            self.sent[index].append(dict(mine))
            await self._queues[1 - index].put(dict(mine))
            return await self._queues[index].get()

        return swap

    def play(self) -> list[tuple[Tensor, Tensor]]:
        async def both():
            return await asyncio.gather(*self._programs)

        return asyncio.run(both())


def positives(values: Tensor, seed: bytes = b"one") -> tuple[Tensor, Tensor]:
    (ramp, step), (other_ramp, other_step) = Pair(values, seed).play()
    return ramp + other_ramp, step + other_step


@given(st.lists(elements, max_size=40), st.binary(min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_positive_parts_are_those_of_python_integers(numbers, seed):
    ramp, step = positives(torch.tensor(numbers, dtype=torch.int64), seed)
    # -2^63 has no negative in the ring and counts as positive
    assert step.tolist() == [int(number > 0 or number == LEAST) for number in numbers]
    assert ramp.tolist() == [number if number > 0 or number == LEAST else 0 for number in numbers]


def test_every_carry_is_found():
    # The shares' sum is -1, 0 or 1 in every split: what decides is a carry through all 63 places.
    numbers = torch.tensor([-1, 0, 1], dtype=torch.int64).repeat(1000)
    ramp, step = positives(numbers)
    assert torch.equal(ramp, numbers.clamp(min=0))
    assert torch.equal(step, (numbers > 0).long())


def test_shapes_are_kept():
    values = torch.from_numpy(np.random.default_rng(1).integers(LEAST, LARGEST, (3, 5, 7)))
    ramp, step = positives(values)
    assert torch.equal(ramp, values.clamp(min=0))
    assert torch.equal(step, (values > 0).long())


@pytest.mark.parametrize("count", [1, 8, 1003])
def test_what_is_sent_is_what_the_formula_says(count):
    pair = Pair(torch.arange(count))
    pair.play()
    octets = -(-count // 8)
    # One message to generate; then of k pairs of ranges three bits each, but no "low passes on" of the lowest pair.
    planes = [63] + [3 * pairs - 1 for pairs in (31, 16, 8, 4, 2, 1)]
    for sent in pair.sent:
        assert [{name: tensor.nbytes for name, tensor in message.items()} for message in sent] == [
            *({PLANES: rows * octets} for rows in planes),
            {"bits": octets, "masked": 8 * count},
        ]
    assert sum(planes) == MASK_PLANES == 243
    assert pair.dealt[PLANES].nbytes == PRODUCT_PLANES * octets == (63 + 2 * 62 - 6) * octets
    assert pair.dealt[WORDS].nbytes == 16 * count


def test_what_is_opened_says_nothing_of_the_numbers():
    """All messages of either party are uniform, whatever is compared."""
    for value in (0, 5, LARGEST):
        pair = Pair(torch.full((4000,), value))
        pair.play()
        for sent in pair.sent:
            for message in sent:
                for tensor in message.values():
                    counts = np.bincount(tensor.numpy().view(np.uint8).ravel(), minlength=256)
                    assert stats.chisquare(counts).pvalue > 1e-6


def test_no_random_number_serves_twice():
    """A plane of random bits hides one plane: neither halves nor two comparisons have one in common."""
    secrets = Secrets.seeded(b"stream")
    halves = [first_half(secrets, 512) for _ in range(2)]
    planes = [plane for half in halves for plane in (*half.masks.planes, half.masks.bit, *half.planes)]
    assert max(Counter(plane.numpy().tobytes() for plane in planes).values()) == 1
    words = torch.cat([torch.cat([half.masks.mask, *half.words]) for half in halves])
    assert len(words.unique()) == len(words)


def test_a_half_that_does_not_fit_gives_wrong_signs():
    """The helper's corrections matter: without them half of the signs would be wrong."""
    values = torch.arange(-500, 500)
    pair = Pair(values)
    pair.dealt[PLANES][-1] ^= 255
    (ramp, _), (other, _) = pair.play()
    assert not torch.equal(ramp + other, values.clamp(min=0))


@given(st.lists(elements, max_size=40))
@settings(max_examples=60, deadline=None)
def test_planes_hold_the_bits(numbers):
    words = torch.tensor(numbers, dtype=torch.int64)
    planes = to_planes(words)
    assert planes.shape == (64, plane_bytes(len(numbers)))
    for place in (0, 1, 7, 8, 31, 62, 63):
        assert unpacked(planes[place], len(numbers)).tolist() == [number >> place & 1 for number in numbers]
