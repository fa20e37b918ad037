"""A message's head: what goes in comes out, and what is no head is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench.processes.frame import Frame, FrameError, head_bytes, unpacked

NAMES = st.text(max_size=20).filter(lambda name: len(name.encode()) < 256)
FRAMES = st.builds(
    Frame, NAMES, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans(), st.binary(max_size=64)
)


@given(FRAMES)
def test_what_is_packed_is_unpacked(frame):
    assert unpacked(frame.packed()) == frame
    assert len(frame.packed()) == head_bytes(frame.sender) + len(frame.data)


def test_the_bytes_are_as_documented():
    packed = Frame("ab", 258, 3, True, b"xy").packed()
    assert packed == bytes([1, 1, 2, 1, 0, 0, 3, 0, 0, 0, 2]) + b"abxy"


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_a_message_or_are_refused(call):
    try:
        frame = unpacked(call)
    except FrameError:
        return
    assert frame.packed() == call


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (b"", "cut short: 0 bytes, and the head alone has 11"),
        (bytes([2]) + bytes(10), "version 2 is not 1"),
        (bytes([1, 2]) + bytes(9), "unknown flags 2"),
        (bytes([1, 0]) + bytes(8) + bytes([3]) + b"ab", "a name of 3 bytes wanted, 2 left"),
        (bytes([1, 0]) + bytes(8) + bytes([1, 255]), "not UTF-8"),
    ],
)
def test_what_is_refused_and_why(call, message):
    with pytest.raises(FrameError, match=message):
        unpacked(call)
