"""A signature speaks for one message of one sender in one round of one task, and for nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.authentication import Context, SigningKey, verify
from fl_attack_bench.errors import UserError

TRIALS = 1000
CONTEXT = Context(task="3f0c", round=7, sender="client 2", direction="upload")
contexts = st.builds(Context, st.text(max_size=6), st.integers(0, 2**64 - 1), st.text(max_size=6), st.text(max_size=6))


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.seeded(bytes(range(32)))


@pytest.fixture(scope="module")
def message() -> bytes:
    return bytes(range(256)) * 2


def test_rfc_8032_the_public_key_of_its_first_test_vector():
    private = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert SigningKey(private).public == public


def test_the_genuine_message_is_accepted(key: SigningKey, message: bytes):
    signature = key.sign(message, CONTEXT)
    assert len(signature) == 64
    assert all(
        verify(key.public, message, signature, CONTEXT) for _ in range(2)
    )  # a second copy is the caller's to refuse


def test_every_altered_message_is_rejected(key: SigningKey, message: bytes):
    signature = key.sign(message, CONTEXT)
    places = [n * (8 * len(message)) // TRIALS for n in range(TRIALS)]
    altered = [flipped(message, place) for place in places]
    assert len(set(altered)) == TRIALS
    assert not any(verify(key.public, each, signature, CONTEXT) for each in altered)


def test_every_altered_signature_is_rejected(key: SigningKey, message: bytes):
    signature = key.sign(message, CONTEXT)
    assert not any(verify(key.public, message, flipped(signature, bit), CONTEXT) for bit in range(512))


@pytest.mark.parametrize("field", ["round", "sender", "task", "direction"])
def test_every_message_presented_elsewhere_is_rejected(key: SigningKey, message: bytes, field: str):
    signature = key.sign(message, CONTEXT)
    for n in range(TRIALS):
        elsewhere = replace(CONTEXT, **{field: 8 + n if field == "round" else f"another {n}"})
        assert not verify(key.public, message, signature, elsewhere)


def test_another_clients_key_does_not_verify(key: SigningKey, message: bytes):
    signature = key.sign(message, CONTEXT)
    others = [SigningKey.fresh().public for _ in range(50)]
    assert len({*others}) == 50
    assert not any(verify(public, message, signature, CONTEXT) for public in others)


@pytest.mark.parametrize("public", [b"", b"\xff" * 32, bytes(31), bytes(33)])
def test_malformed_keys_are_no_crash(key: SigningKey, public: bytes):
    assert not verify(public, b"", key.sign(b"", CONTEXT), CONTEXT)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_malformed_signatures_are_no_crash(key: SigningKey, signature: bytes):
    assert not verify(key.public, b"", signature, CONTEXT)


@given(contexts, contexts)
@settings(max_examples=200, deadline=None)
def test_two_contexts_never_share_an_encoding(one: Context, other: Context):
    assert (one.encode() == other.encode()) == (one == other)


def test_where_one_text_ends_and_the_next_begins_is_signed():
    assert Context("ab", 1, "c", "d").encode() != Context("a", 1, "bc", "d").encode()
    # nor can the beginning of a message pass for the end of its context
    key = SigningKey.seeded(bytes(32))
    signature = key.sign(b"xyz", Context("t", 1, "s", "up"))
    assert not verify(key.public, b"yz", signature, Context("t", 1, "s", "upx"))


@pytest.mark.parametrize("number", [-1, 2**64, 1.0, True])
def test_rounds_are_whole_numbers_of_64_bits(number):
    with pytest.raises(UserError, match=r"round must be a whole number in \[0, 2\^64\)"):
        Context("t", number, "s", "d")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int):
    with pytest.raises(UserError, match=f"32 bytes, not {length}"):
        SigningKey.seeded(bytes(length))


def test_the_private_key_is_not_printed(key: SigningKey):
    assert bytes(range(32)).hex() not in repr(key)


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
