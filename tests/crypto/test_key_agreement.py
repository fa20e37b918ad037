"""Both ends of an agreement hold the same key, nobody else does, and what is sealed under it cannot be altered."""

import hashlib
import hmac
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.key_agreement import OVERHEAD, AgreementKey, BadPublicKey, Forged, agree, open_sealed, seal
from fl_attack_bench.errors import UserError

# Points of order 1, 2, 4 and 8 on the curve and its twist (RFC 7748, section 6; Langley's list).
LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
]
KEY = bytes(range(32))
private_keys = st.binary(min_size=32, max_size=32).map(AgreementKey)


@given(private_keys, private_keys, st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_both_ends_agree(one: AgreementKey, other: AgreementKey, info: bytes):
    key = agree(one, other.public, info)
    assert key == agree(other, one.public, info)
    assert len(key) == 32


def test_the_key_is_hkdf_of_the_secret_that_rfc_7748_prints():
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob = AgreementKey(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    secret = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    pair = min(alice, bob.public) + max(alice, bob.public)
    info = b"fl-attack-bench agreed key 1\0" + pair + struct.pack("<Q", 4) + b"mask"
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)  # RFC 5869, sections 2.2 and 2.3
    expected = hmac.digest(extracted, info + b"\x01", hashlib.sha256)
    assert agree(bob, alice, b"mask") == expected


def test_keys_differ_by_pair_and_by_purpose():
    one, two, three = (AgreementKey.fresh() for _ in range(3))
    keys = [agree(a, b.public, info) for a, b in [(one, two), (one, three), (two, three)] for info in (b"a", b"b", b"")]
    assert len(set(keys)) == 9


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_a_private_key_comes_back_from_its_bytes(raw: bytes):
    key = AgreementKey(raw)
    assert key.private == raw
    assert AgreementKey(key.private).public == key.public


def test_fresh_keys_are_never_the_same():
    assert len({AgreementKey.fresh().private for _ in range(50)}) == 50


@pytest.mark.parametrize("public", LOW_ORDER)
def test_public_keys_of_low_order_are_refused(public: str):
    with pytest.raises(BadPublicKey, match="low order"):
        agree(AgreementKey.fresh(), bytes.fromhex(public), b"")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int):
    raw = bytes(range(100))[:length]
    with pytest.raises(BadPublicKey, match=f"32 bytes, not {length}"):
        agree(AgreementKey.fresh(), raw, b"")
    with pytest.raises(UserError, match=f"32 bytes, not {length}"):
        AgreementKey(raw)
    with pytest.raises(UserError, match=f"32 bytes, not {length}"):
        seal(raw, b"", b"")
    with pytest.raises(UserError, match=f"32 bytes, not {length}"):
        open_sealed(raw, bytes(40), b"")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.binary(max_size=20))
@settings(max_examples=100, deadline=None)
def test_what_is_sealed_is_opened_with_the_same_key_and_end(key: bytes, plaintext: bytes, associated: bytes):
    sealed = seal(key, plaintext, associated)
    assert open_sealed(key, sealed, associated) == plaintext
    assert len(sealed) == len(plaintext) + OVERHEAD


def test_every_altered_bit_is_refused():
    sealed = seal(KEY, bytes(range(40)), b"client 1 to 2")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            open_sealed(KEY, bytes(altered), b"client 1 to 2")


def test_another_key_another_end_and_every_cut_are_refused():
    sealed = seal(KEY, b"share", b"client 1 to 2")
    for cut in range(len(sealed)):
        with pytest.raises(Forged):
            open_sealed(KEY, sealed[:cut], b"client 1 to 2")
    with pytest.raises(Forged):
        open_sealed(KEY, sealed, b"client 1 to 3")
    with pytest.raises(Forged):
        open_sealed(bytes(31) + b"\x01", sealed, b"client 1 to 2")


def test_no_nonce_is_used_twice():
    assert len({seal(KEY, b"same", b"") for _ in range(200)}) == 200
