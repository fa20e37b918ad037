"""What is metered is what is encoded, for every kind of payload."""

import contextlib
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.codec import CodecError, Dense, Part, Payload, Sparse, decode, encode, frame_bytes
from fl_attack_bench.link import Link
from fl_attack_bench.wire import SERVER, Wire, client

DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8]
HEADER = 6


@st.composite
def dense(draw: st.DrawFn) -> Dense:
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    seed = draw(st.integers(0, 2**31))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(50)
    return Dense(values.abs().to(draw(st.sampled_from(DTYPES))))


@st.composite
def sparse(draw: st.DrawFn) -> Sparse:
    length = draw(st.integers(0, 40_000))
    kept = draw(st.integers(0, min(length, 400)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    indices = np.sort(rng.choice(length, size=kept, replace=False)) if length else np.zeros(0)
    values = torch.from_numpy(rng.uniform(1, 9, kept)).to(draw(st.sampled_from(DTYPES)))
    return Sparse(torch.from_numpy(indices.astype(np.int64)), values, length)


payloads = st.dictionaries(st.text(max_size=12), dense() | sparse(), max_size=4).map(Payload)


def expand(part: Part) -> torch.Tensor:
    if isinstance(part, Dense):
        return part.values
    return torch.zeros(part.length, dtype=part.values.dtype).index_copy(0, part.indices, part.values)


@given(payloads)
@settings(max_examples=150, deadline=None)
def test_decoding_gives_back_what_was_encoded(payload: Payload) -> None:
    found = decode(encode(payload))
    assert list(found.parts) == list(payload.parts)
    for name, part in payload.parts.items():
        assert type(found.parts[name]) is type(part)
        assert torch.equal(expand(found.parts[name]), expand(part))


@given(st.dictionaries(st.text(max_size=12), dense(), max_size=4))
@settings(max_examples=150, deadline=None)
def test_the_size_of_a_frame_is_known_without_making_it(parts: dict[str, Dense]) -> None:
    shapes = {name: (part.values.dtype, tuple(part.values.shape)) for name, part in parts.items()}
    assert frame_bytes(shapes) == len(encode(Payload(parts)))


def test_the_size_of_a_frame_that_no_memory_holds() -> None:
    assert frame_bytes({"u": (torch.int64, (10**6, 10**9))}) == HEADER + 1 + 1 + 3 + 2 * 8 + 8 * 10**15
    with pytest.raises(CodecError, match=r"part 'u': no encoding for torch\.bool; legal: torch\.float32"):
        frame_bytes({"u": (torch.bool, (1,))})


@given(payloads, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_metered_bytes_are_the_length_of_the_real_encoding(payload: Payload, receivers: int) -> None:
    wire = Wire(watched=[client(0)])
    with wire.phase(0, "any"):
        wire.broadcast(SERVER, [client(n) for n in range(receivers)], payload)
    (phase,) = wire.phases
    assert phase.traffic[SERVER].sent == receivers * len(encode(payload))
    assert phase.traffic[client(0)].received == len(encode(payload)) == len(wire.view()[0].data)


@given(sparse())
@settings(max_examples=100, deadline=None)
def test_a_sparse_part_takes_the_smallest_of_three_forms(part: Sparse) -> None:
    item = part.values.element_size()
    gaps = torch.diff(part.indices, prepend=torch.tensor([-1])) - 1
    varints = sum(max(1, -(-int(gap).bit_length() // 7)) for gap in gaps)
    kept = len(part.values) * item
    smallest = min(part.length * item, (part.length + 7) // 8 + kept, 8 + varints + kept)
    name_length, shape = 1 + 1 + 3, 8
    assert len(encode(Payload({"u": part}))) == HEADER + name_length + shape + smallest


@given(payloads, st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_frames_are_refused_by_name_or_decoded_but_never_crash(payload: Payload, data: st.DataObject) -> None:
    frame = bytearray(encode(payload))
    if data.draw(st.booleans()):
        frame = frame[: data.draw(st.integers(0, len(frame) - 1))]
        with pytest.raises(CodecError):
            decode(bytes(frame))
        return
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(CodecError):
        assert isinstance(decode(bytes(frame)), Payload)


@pytest.mark.parametrize("form", [0, 1, 2])
def test_a_shape_that_no_memory_holds_is_refused_before_it_is_allocated(form: int) -> None:
    head = struct.pack("<B1sBBB1Q", 1, b"u", form, 0, 1, 2**60)
    with pytest.raises(CodecError, match="cut short"):
        decode(b"FLAB\x01\x01" + head)


@pytest.mark.parametrize(
    ("indices", "why"), [([3, 1], "strictly increase"), ([0, 9], "strictly increase"), ([1], "1 indices for 2 values")]
)
def test_unsound_indices_cannot_be_encoded(indices: list[int], why: str) -> None:
    with pytest.raises(CodecError, match=why):
        encode(Payload({"u": Sparse(torch.tensor(indices), torch.ones(2), 5)}))


def test_network_seconds_are_the_busiest_party_plus_half_a_round_trip() -> None:
    wire = Wire()
    payload = Payload.dense(torch.zeros(1000))
    size = len(encode(payload))
    with wire.phase(0, "up"):
        for number in range(4):
            wire.send(client(number), SERVER, payload)
    link = Link(name="test", bits_per_second=8_000, round_trip_seconds=0.5)
    assert wire.seconds(link) == pytest.approx(4 * size / 1000 + 0.25)


def test_only_watched_parties_remember_and_only_inside_a_phase() -> None:
    wire = Wire(watched=[SERVER])
    with pytest.raises(RuntimeError, match="outside of a phase"):
        wire.send(client(0), SERVER, Payload.dense(torch.ones(1)))
    with wire.phase(3, "up"):
        wire.send(client(0), SERVER, Payload.dense(torch.ones(1)))
        wire.send(SERVER, client(0), Payload.dense(torch.zeros(1)))
    (message,) = wire.view()
    assert (message.round, message.topic, message.sender, message.receiver) == (3, "up", client(0), SERVER)
    part = message.payload().parts["update"]
    assert isinstance(part, Dense)
    assert part.values.item() == 1
