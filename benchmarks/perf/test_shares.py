"""Random numbers that hide others: additive shares, pairwise masks and the helper's products, for a client of ten.

``test_additive_sharing`` has VGG-16's additive shares beside a plain copy, ``test_shamir`` Shamir's shares and their
reconstruction, ``test_homomorphic`` ciphertexts. Here: LeNet-5's 61,706 parameters among ten, additively and under
pairwise masks (nine agreed with the others and one's own), Shamir's shares of the keys with their seals, and what the
helper makes ahead of a step of the paper's CNN on 32 images: a multiplication triple of its dense layer, a (676, 100)
matrix, and the random numbers of as many comparisons as it has outputs.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from measured import repeated
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench.crypto.additive import combine, split
from fl_attack_bench.crypto.key_agreement import AgreementKey, agree, open_sealed, seal
from fl_attack_bench.crypto.ring import FixedPoint
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir
from fl_attack_bench.sharing import comparison
from fl_attack_bench.sharing.arithmetic import ArithmeticName, arithmetic
from fl_attack_bench.sharing.products import MatMul

PARAMETERS, PARTIES, THRESHOLD = 61_706, 10, 7
BATCH, INPUTS, OUTPUTS = 32, 676, 100


def secrets(name: str) -> Secrets:
    return Secrets.seeded(name.encode())


@pytest.mark.parametrize("part", ["share", "sum"])
def test_additive(benchmark: BenchmarkFixture, part: str) -> None:
    secret = FixedPoint().encode(torch.randn(PARAMETERS, generator=torch.Generator().manual_seed(1)), PARTIES)
    drawn = secrets("additive")
    shares = split(secret, PARTIES, drawn)
    assert np.array_equal(combine(shares), secret)
    repeated(benchmark, lambda: split(secret, PARTIES, drawn) if part == "share" else combine(shares))


def test_pairwise_masks(benchmark: BenchmarkFixture) -> None:
    """One client's: a stream of words from each of ten seeds, added up."""
    seeds = [bytes([place] * 32) for place in range(PARTIES)]

    def masked() -> np.ndarray:
        total = np.zeros(PARAMETERS, dtype=np.int64)
        for place, seed in enumerate(seeds):
            mask = Secrets.seeded(seed, b"mask").words(PARAMETERS)
            (np.add if place % 2 else np.subtract)(total, mask, out=total)
        return total

    repeated(benchmark, masked)


@pytest.mark.parametrize("part", ["agree", "share, seal", "open"])
def test_keys(benchmark: BenchmarkFixture, part: str) -> None:
    """What one client does with nine others' keys, and with shares of two keys of its own: 16 words of 32 bits."""
    own, others = AgreementKey(bytes(range(32))), [AgreementKey(bytes([n] * 32)).public for n in range(1, PARTIES)]
    keys = [agree(own, other, b"seal") for other in others]
    shamir, drawn = Shamir(THRESHOLD, PARTIES), secrets("keys")
    words = drawn.below(2**32 - 1, 16) % np.uint64(shamir.field.prime)

    def sealed() -> list[bytes]:
        shares = shamir.share(words, drawn)
        return [seal(key, share.tobytes(), b"bound") for key, share in zip(keys, shares, strict=False)]

    boxes = sealed()
    works: dict[str, Callable[[], object]] = {
        "agree": lambda: [agree(own, other, b"seal") for other in others],
        "share, seal": sealed,
        "open": lambda: [open_sealed(key, box, b"bound") for key, box in zip(keys, boxes, strict=True)],
    }
    repeated(benchmark, works[part])


@pytest.mark.parametrize("numbers", ["ring", "float32", "float64"])
def test_triple(benchmark: BenchmarkFixture, numbers: ArithmeticName) -> None:
    """Both parties' shares of two masks and of their product, as the helper makes them."""
    held, product, drawn = arithmetic(numbers, 16, 100.0), MatMul(), secrets("triple")
    left, right = (BATCH, INPUTS), (INPUTS, OUTPUTS)

    def dealt() -> list[torch.Tensor]:
        masks = [[held.mask(drawn, shape) for _ in range(2)] for shape in (left, right)]
        whole = product(held, *(first + second for first, second in masks))
        scale = held.product_scale(product.terms(left, right))
        first = held.mask(drawn, product.shape(left, right), scale)
        return [*masks[0], *masks[1], first, whole - first]

    repeated(benchmark, dealt)


@pytest.mark.parametrize("part", ["helper", "first party"])
def test_comparisons(benchmark: BenchmarkFixture, part: str) -> None:
    """For the signs of a batch's hidden values."""
    first, second, count = secrets("first"), secrets("second"), BATCH * (OUTPUTS + INPUTS)
    works: dict[str, Callable[[], object]] = {
        "helper": lambda: comparison.deal(first, second, count),
        "first party": lambda: comparison.first_half(first, count),
    }
    repeated(benchmark, works[part])
