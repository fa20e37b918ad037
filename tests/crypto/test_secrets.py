"""The stream is AES in counter mode to the byte, and numbers below a bound are uniform."""

import hashlib
import hmac

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fl_attack_bench.crypto import secrets as module
from fl_attack_bench.crypto.secrets import Keystream, Secrets
from fl_attack_bench.errors import UserError

KEY = bytes(range(32))


def plain_keystream(key: bytes, count: int) -> bytes:
    """AES-CTR of zeros in one go."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(count))


def by_blocks(key: bytes, first: int, count: int) -> bytes:
    """The definition: the block cipher itself on the counter."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return b"".join(cipher.update(counter.to_bytes(16, "big")) for counter in range(first, first + count))


# NIST SP 800-38A, F.5.1 (AES-128) and F.5.5 (AES-256): key, plaintext and ciphertext; the counter begins at F0F1...FF.
NIST = [
    ("2b7e151628aed2a6abf7158809cf4f3c", "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"),
    (
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
    ),
]
NIST_PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
NIST_COUNTER = 0xF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF


@pytest.mark.parametrize(("key", "cipher"), NIST, ids=["AES-128", "AES-256"])
def test_the_keystream_is_that_of_the_standard(key: str, cipher: str) -> None:
    out = np.empty(32, dtype=np.uint8)
    Keystream(bytes.fromhex(key), NIST_COUNTER * 16).fill(out)
    assert (out ^ np.frombuffer(NIST_PLAIN, dtype=np.uint8)).tobytes().hex() == cipher


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096, 2**18 - 1, 2**18, 2**18 + 1, 3 * 2**18 + 5])
def test_a_filled_buffer_is_the_keystream_in_one_go(size: int) -> None:
    out = np.full(size, 7, dtype=np.uint8)
    Secrets(KEY).fill(out)
    assert out.tobytes() == plain_keystream(KEY, size)
    assert out[:32].tobytes() == by_blocks(KEY, 0, 2)[:size]


@given(st.lists(st.integers(0, 100), max_size=8), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_pieces_follow_each_other_and_any_position_can_be_read(sizes: list[int], position: int) -> None:
    whole = plain_keystream(KEY, 1600)
    secrets = Secrets(KEY)
    at = 0
    for number, size in enumerate(sizes):
        if number % 3 == 2:
            assert secrets.reserve(size) == at
        else:
            assert secrets.bytes(size) == whole[at : at + size]
        at += size
    out = np.empty((3, 5), dtype=np.uint8)
    secrets.reader(position).fill(out)
    assert out.tobytes() == whole[position : position + 15]
    assert secrets.words(2).tobytes() == whole[at : at + 16]


def test_words_are_uniform_over_the_whole_ring() -> None:
    words = Secrets.seeded(b"words").words(100_000)
    assert words.dtype == np.int64
    assert (words < 0).mean() == pytest.approx(0.5, abs=0.01)
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).sum(axis=0)
    assert stats.chisquare(np.stack([bits, len(words) - bits]), axis=0).pvalue.min() > 1e-4


def test_a_seed_gives_one_stream_and_each_purpose_another() -> None:
    first = Secrets.seeded(b"seed").bytes(32)
    assert Secrets.seeded(b"seed").bytes(32) == first
    others = [Secrets.seeded(b"seed", b"round 1"), Secrets.seeded(b"seee"), Secrets.seeded(b"s" * 1000)]
    assert len({first, *(other.bytes(32) for other in others)}) == 4


def test_the_key_of_a_seed_is_hkdf_of_rfc_5869() -> None:
    extracted = hmac.digest(bytes(32), b"seed", hashlib.sha256)
    key = hmac.digest(extracted, b"fl-attack-bench keystream round 1\x01", hashlib.sha256)
    assert Secrets.seeded(b"seed", b"round 1").bytes(64) == plain_keystream(key, 64)


def test_a_generator_gives_reproducible_secrets_and_moves_on() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = Secrets.from_generator(generator), Secrets.from_generator(generator)
    again = Secrets.from_generator(torch.Generator().manual_seed(3))
    drawn = first.bytes(32)
    assert drawn == again.bytes(32)
    assert drawn != second.bytes(32)


def test_fresh_secrets_come_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Secrets.fresh().bytes(32) != Secrets.fresh().bytes(32)
    monkeypatch.setattr(module.os, "urandom", lambda count: KEY[:count])
    assert Secrets.fresh().bytes(32) == plain_keystream(KEY, 32)


@pytest.mark.parametrize("bound", [1, 2, 3, 5, 64, 65, 2**31 - 1, 2**60 + 1, 2**61 - 1, 2**61])
def test_below_keeps_the_low_bits_of_the_words_that_pass_the_threshold(bound: int) -> None:
    """Against Python integers: a word counts if its low bits, fewest that hold the bound, are below the bound."""
    bits = (bound - 1).bit_length()
    assert 2**bits < 2 * bound or bound == 1
    count = 300
    drawn = Secrets(KEY).below(bound, count)
    assert drawn.dtype == np.uint64
    stream = iter(np.frombuffer(plain_keystream(KEY, 8 * 20 * count), dtype="<u8").tolist())
    wanted: list[int | None] = [next(stream) % 2**bits for _ in range(count)]
    while missing := [place for place, word in enumerate(wanted) if word >= bound]:
        for place in missing:
            wanted[place] = next(stream) % 2**bits
    assert drawn.tolist() == wanted
    assert Secrets(KEY).below(bound, count).max() < bound


def test_the_threshold_itself_is_refused_and_the_number_below_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # 13 keeps the bits 101 = 5: refused like 5, 6 and 7 in the places they stood in; 11 keeps 011 = 3.
    script = iter([[4, 5, 6, 7, 13], [5, 11, 7, 1], [7, 0], [2]])

    def scripted(self: Secrets, out: np.ndarray) -> None:
        out.view(np.int64)[:] = next(script)

    monkeypatch.setattr(Secrets, "fill", scripted)
    assert Secrets(KEY).below(5, 5).tolist() == [4, 2, 3, 0, 1]
    assert next(script, None) is None


@pytest.mark.parametrize("bound", [3, 5, 6, 7, 11, 200])
def test_below_is_unbiased_on_a_small_bound(bound: int) -> None:
    drawn = Secrets.seeded(b"unbiased").below(bound, 200_000)
    assert stats.chisquare(np.bincount(drawn.astype(np.int64), minlength=bound)).pvalue > 1e-3


def test_a_modulo_would_be_found_biased() -> None:
    """The test above can tell: eight values folded onto five, as a remainder of three bits does."""
    folded = Secrets.seeded(b"unbiased").below(8, 200_000).astype(np.int64) % 5
    assert stats.chisquare(np.bincount(folded, minlength=5)).pvalue < 1e-9


def test_below_fills_large_and_shaped_arrays() -> None:
    drawn = Secrets(KEY).below(2**61 - 1, (3, 50_001))
    assert drawn.shape == (3, 50_001)
    assert drawn.mean() == pytest.approx(2**60, rel=0.01)
    assert len(np.unique(drawn)) == drawn.size
    assert Secrets(KEY).below(7, (4, 0)).shape == (4, 0)


@pytest.mark.parametrize("bound", [0, -1, 2**61 + 1, 2**64])
def test_a_bound_out_of_range_is_refused(bound: int) -> None:
    with pytest.raises(UserError, match=f"cannot draw below {bound}"):
        Secrets(KEY).below(bound, 1)


def test_unsound_keys_and_seeds_are_refused() -> None:
    with pytest.raises(UserError, match="32 bytes, not 16"):
        Secrets(KEY[:16])
    with pytest.raises(UserError, match="at least one byte"):
        Secrets.seeded(b"")


@pytest.mark.parametrize("out", [np.zeros(4, dtype=np.int64), np.zeros(8, dtype=np.uint8)[::2]])
def test_a_buffer_that_is_not_contiguous_bytes_is_refused(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="contiguous uint8"):
        Secrets(KEY).fill(out)
