"""Shares sum to the secret, and each alone says nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from fl_attack_bench.crypto import additive
from fl_attack_bench.crypto.additive import combine, split
from fl_attack_bench.crypto.ring import FixedPoint
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.errors import UserError

words = arrays.arrays(np.int64, st.integers(0, 20), elements=st.integers(-(2**63), 2**63 - 1))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@given(words, st.integers(2, 50), st.binary(min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_shares_sum_to_the_secret_in_python_integers(secret: np.ndarray, parties: int, seed: bytes) -> None:
    before = secret.copy()
    shares = split(secret, parties, Secrets.seeded(seed))
    assert shares.shape == (parties, len(secret))
    for column, wanted in zip(shares.T.tolist(), secret.tolist(), strict=True):
        assert (sum(column) - wanted) % 2**64 == 0
    assert combine(shares).tolist() == combine(list(shares)).tolist() == before.tolist() == secret.tolist()


@given(st.integers(2, 50), st.integers(0, 2**31), st.integers(4, 40))
@settings(max_examples=60, deadline=None)
def test_the_average_of_m_updates_is_the_plain_one_within_the_stated_precision(
    parties: int, seed: int, fraction_bits: int
) -> None:
    """Every party splits its update, sums the shares it got, and the sums are added up: the protocol's arithmetic."""
    point = FixedPoint(fraction_bits)
    updates = torch.randn(parties, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sent = [split(point.encode(update, parties), parties, Secrets.fresh()) for update in updates]
    held = [combine([shares[party] for shares in sent]) for party in range(parties)]
    average = point.decode64(combine(held)) / parties
    rounding = 1e-13  # of the plain average itself
    assert (average - updates.mean(dim=0)).abs().max() <= point.error(parties) / parties + rounding


def test_the_first_rows_are_the_stream_in_order_and_it_goes_on_behind_them() -> None:
    secrets, same = Secrets.seeded(b"order"), Secrets.seeded(b"order")
    same.words(3), secrets.words(3)
    shares = split(np.arange(1001), 5, secrets)
    assert np.array_equal(shares[:-1].reshape(-1), same.words(4 * 1001))
    assert np.array_equal(shares[-1], np.arange(1001) - shares[:-1].sum(axis=0))
    assert secrets.bytes(8) == same.bytes(8)


@pytest.mark.parametrize("count", [2**17 + 1, 4 * 2**17 + 3])
def test_threads_change_nothing(count: int, threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges: list[tuple[int, int]] = []
    pools = additive.ThreadPoolExecutor

    class Watched(pools):
        def map(self, work, starts, ends):
            ranges.extend(zip(starts, ends, strict=True))
            return super().map(work, starts, ends)

    monkeypatch.setattr(additive, "ThreadPoolExecutor", Watched)
    secret = Secrets.seeded(b"x").words(count)
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        shares = split(secret, 3, Secrets.seeded(b"threads"))
        found.append(shares)
        assert np.array_equal(combine(shares), secret)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    # four times the least size: a pool of two, then of three, each for split and for combine
    assert len(ranges) == (10 if count > 2**19 else 0)


def test_what_a_thread_raises_is_raised(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)

    def broken(self: Secrets, position: int) -> None:
        raise MemoryError(position)

    monkeypatch.setattr(Secrets, "reader", broken)
    with pytest.raises(MemoryError):
        split(np.zeros(2**18, dtype=np.int64), 2, Secrets.fresh())


def test_results_are_written_where_told() -> None:
    secret = np.arange(70_000) << 40
    out, total = np.empty((4, 70_000), dtype=np.int64), np.empty(70_000, dtype=np.int64)
    assert split(secret, 4, Secrets.fresh(), out) is out
    assert combine(out, total) is total
    assert np.array_equal(total, secret)


def test_combining_one_vector_copies_it() -> None:
    share = np.arange(5)
    total = combine([share])
    assert np.array_equal(total, share)
    assert not np.shares_memory(total, share)


def histogram(share: np.ndarray) -> np.ndarray:
    return np.bincount(np.ascontiguousarray(share).view(np.uint8), minlength=256)


def two_updates(count: int) -> tuple[np.ndarray, np.ndarray]:
    """One of zeros, as a dead layer sends it, and one of large equal numbers."""
    point = FixedPoint(24)
    return point.encode(np.zeros(count), 10), point.encode(np.full(count, 1234.5), 10)


@pytest.mark.parametrize("party", range(4))
def test_a_share_alone_cannot_be_told_from_uniform_bytes_nor_from_another_updates(party: int) -> None:
    counts = []
    for number, update in enumerate(two_updates(50_000)):
        share = split(update, 4, Secrets.seeded(b"uniform %d" % number))[party]
        counts.append(histogram(share))
        assert stats.chisquare(counts[-1]).pvalue > 1e-3
    assert stats.chi2_contingency(np.stack(counts)).pvalue > 1e-3


@pytest.mark.parametrize("missing", range(4))
def test_all_shares_but_one_cannot_be_told_from_uniform_bytes_nor_from_another_updates(missing: int) -> None:
    """What three of four parties that collude can sum up: it is the secret less the missing share, hence uniform."""
    counts = []
    for number, update in enumerate(two_updates(50_000)):
        shares = split(update, 4, Secrets.seeded(b"coalition %d" % number))
        counts.append(histogram(combine([share for row, share in enumerate(shares) if row != missing])))
        assert stats.chisquare(counts[-1]).pvalue > 1e-3
    assert stats.chi2_contingency(np.stack(counts)).pvalue > 1e-3


def test_the_distribution_tests_would_see_the_updates_themselves_and_a_mask_that_is_too_short() -> None:
    zeros, large = two_updates(50_000)
    assert stats.chisquare(histogram(zeros)).pvalue < 1e-9
    assert stats.chi2_contingency(np.stack([histogram(zeros) + 1, histogram(large) + 1])).pvalue < 1e-9
    short = large + Secrets.seeded(b"short").below(2**60, 50_000).astype(np.int64)
    assert stats.chisquare(histogram(short)).pvalue < 1e-9


@pytest.mark.parametrize("parties", [1, 0, -2])
def test_fewer_than_two_parties_are_refused(parties: int) -> None:
    with pytest.raises(UserError, match=f"among {parties}: additive sharing needs at least 2"):
        split(np.zeros(3, dtype=np.int64), parties, Secrets.fresh())


@pytest.mark.parametrize("secret", [np.zeros(3), np.zeros(3, dtype=np.int32), np.zeros((2, 3), dtype=np.int64)])
def test_a_secret_of_another_type_or_shape_is_refused(secret: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a secret is a vector of int64"):
        split(secret, 2, Secrets.fresh())


@pytest.mark.parametrize("shares", [[], [np.zeros(3, np.int64), np.zeros(4, np.int64)], np.zeros((2, 3))])
def test_shares_of_different_lengths_or_types_are_refused(shares: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="vectors of int64 of one length"):
        combine(shares)


@pytest.mark.parametrize(
    "out", [np.zeros((3, 5), np.int64), np.zeros((2, 5)), np.zeros((5, 2), np.int64).T, np.zeros((2, 10), np.int64)]
)
def test_an_unsuitable_place_for_the_result_is_refused(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="out must be contiguous int64 of shape"):
        split(np.zeros(5, dtype=np.int64), 2, Secrets.fresh(), out)
