"""Products over Z_2^64 against Python's integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.crypto import ring_product
from fl_attack_bench.crypto.ring_product import by_limbs, matmul

LEAST, LARGEST = -(2**63), 2**63 - 1
PRODUCTS = [matmul, by_limbs]
elements = st.integers(LEAST, LARGEST) | st.sampled_from([LEAST, LARGEST, -1, 0, 1, 2**21, -(2**21), 2**42, 2**43 - 1])


def by_python(a: Tensor, b: Tensor) -> Tensor:
    """The direct formula, element by element."""
    rows = [[sum(x * y for x, y in zip(row, column, strict=True)) for column in b.T.tolist()] for row in a.tolist()]
    wrapped = [[(value - LEAST) % 2**64 + LEAST for value in row] for row in rows]
    return torch.tensor(wrapped, dtype=torch.int64).reshape(a.shape[0], b.shape[1])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    m, k, n = (draw(st.integers(0, 6)) for _ in range(3))
    return tuple(
        torch.tensor(draw(st.lists(elements, min_size=r * c, max_size=r * c)), dtype=torch.int64).reshape(r, c)
        for r, c in ((m, k), (k, n))
    )


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).integers(LEAST, LARGEST, shape, endpoint=True))


@pytest.mark.parametrize("product", PRODUCTS)
@given(pair=pairs())
@settings(max_examples=100, deadline=None)
def test_products_are_those_of_python_integers(product, pair):
    assert torch.equal(product(*pair), by_python(*pair))


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("shape", [(2, 1365, 2), (2, 1366, 3), (3, 5000, 2)])
@pytest.mark.parametrize("value", [LEAST, LARGEST, -(2**21) - 2**42 - 2**63, -(2**21) + 2**42, (2**21) + 2**42])
def test_long_sums_of_the_largest_limbs_stay_exact(product, shape, value):
    value = (value - LEAST) % 2**64 + LEAST
    m, k, n = shape
    a, b = torch.full((m, k), value), torch.full((k, n), value)
    b[0] = LARGEST  # a last bit that a rounded sum would lose
    a[:, 1] = 1
    assert torch.equal(product(a, b), by_python(a, b))


@pytest.mark.parametrize(("m", "k", "n"), [(32, 784, 100), (700, 1500, 7), (40_000, 16, 4), (16, 9000, 4)])
def test_large_products_over_several_blocks(m, k, n):
    a, b = drawn(m, k), drawn(k, n)
    product = by_limbs(a, b)
    assert torch.equal(product, a @ b)
    assert torch.equal(product[:1], by_python(a[:1], b))


def test_whichever_way_is_faster_the_product_is_the_same(monkeypatch):
    a, b = drawn(64, 300), drawn(300, 10)
    ways = {}
    for faster in (True, False):
        monkeypatch.setattr(ring_product, "_integers_are_faster", lambda faster=faster: faster)
        taken = []
        monkeypatch.setattr(ring_product, "by_limbs", lambda *pair, taken=taken: taken.append(1) or by_limbs(*pair))
        ways[faster] = matmul(a, b.T.contiguous().T)
        assert bool(taken) is not faster
    assert torch.equal(ways[True], ways[False])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.int64), r"torch\.float32 and torch\.int64"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64), r"\(2, 3\) and \(2, 3\)"),
        (torch.zeros(3, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.int64), r"\(3,\) and \(3, 2\)"),
    ],
)
def test_what_cannot_be_multiplied_is_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        matmul(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_products_on_cuda():
    a, b = drawn(33, 3000), drawn(3000, 5)
    assert torch.equal(matmul(a.cuda(), b.cuda()).cpu(), a @ b)
