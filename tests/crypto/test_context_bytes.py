"""Containers are taken apart as protobuf prescribes, and nothing but keys may differ between two contexts."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench.crypto.context_bytes import ciphertext_of, skeleton, vector_of

# Written by hand after the encoding guide of protobuf: field 2 with key "K", flags 7, scale 8.0; field 4 with 300.
CONTEXT = b"\x0a\x01P" + b"\x12\x0e" + b"\x0a\x01K\x10\x07\x19" + struct.pack("<d", 8.0) + b"\x20\xac\x02"


def test_a_context_without_its_key():
    public = ((1, None), (2, 7), (3, struct.pack("<d", 8.0)))
    assert skeleton(CONTEXT) == ((1, b"P"), (2, public), (4, 300))


def test_only_the_key_may_differ():
    assert skeleton(CONTEXT.replace(b"K", b"L")) == skeleton(CONTEXT)
    others = [CONTEXT.replace(b"P", b"Q"), CONTEXT.replace(b"\x07", b"\x06"), CONTEXT + b"\x0a\x01P", CONTEXT[:-3]]
    assert skeleton(CONTEXT) not in [skeleton(other) for other in others]


@given(st.data())
def test_a_message_cut_short_is_refused_or_another_message(data: st.DataObject):
    short = CONTEXT[: data.draw(st.integers(0, len(CONTEXT) - 1))]
    try:
        assert skeleton(short) != skeleton(CONTEXT)
    except ValueError as error:
        assert any(word in str(error) for word in ("cut short", "no number"))  # noqa: PT017 - either answer is right


@pytest.mark.parametrize("message", [b"\x80" * 20, b"\x0b", b"\x0d1234", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"])
def test_what_is_no_message_is_a_named_error(message: bytes):
    with pytest.raises(ValueError, match=r"no number|unknown kind|cut short"):
        skeleton(message)


@given(st.binary(max_size=500), st.integers(1, 2**20), st.none() | st.floats(1, 1e12))
def test_a_ciphertext_comes_back_out_of_its_container(ciphertext: bytes, slots: int, scale: float | None):
    assert ciphertext_of(vector_of(ciphertext, slots, scale)) == ciphertext


def test_a_container_is_the_one_that_protobuf_writes():
    assert vector_of(b"x" * 200, 2048, None) == b"\x0a\x02\x80\x10\x12\xc8\x01" + b"x" * 200
    assert vector_of(b"x", 5, 1.0) == b"\x0a\x01\x05\x12\x01x\x19" + struct.pack("<d", 1.0)


def test_a_container_of_two_ciphertexts_is_refused():
    with pytest.raises(ValueError, match="unpack"):
        ciphertext_of(b"\x12\x01a\x12\x01b")
