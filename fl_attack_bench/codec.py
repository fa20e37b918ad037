"""Payload to bytes and back: what is metered is the length of what is really encoded.

A frame is ``b"FLAB" | version | number of parts`` and then, for each part, ``name | form | dtype | shape | body``. All
integers are little-endian. A dense body is the raw buffer. A sparse body is the smallest of three forms, named by the
form byte: the dense buffer, a bitmap of the kept places followed by the values, or the gaps between kept places as
variable-length integers (LEB128: seven bits a byte) followed by the values.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAGIC = b"FLAB"
VERSION = 1
_DENSE, _SPARSE_DENSE, _SPARSE_BITMAP, _SPARSE_GAPS = range(4)
_DTYPES: tuple[torch.dtype, ...] = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
)
_NUMPY = tuple(np.dtype(name) for name in ("<f4", "<f8", "<f2", "<i8", "<i4", "u1"))
Bytes = npt.NDArray[np.uint8]


class CodecError(ValueError):
    """Bytes that are not a well-formed frame, or a payload that no frame can hold."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A tensor of any shape, every entry sent."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Sparse:
    """A vector of which only some entries are sent.

    Args:
        indices: int64, strictly increasing, each in ``[0, length)``.
        values: one for each index.
        length: number of entries of the whole vector.
    """

    indices: Tensor
    values: Tensor
    length: int


Part = Dense | Sparse


@dataclass(frozen=True, eq=False)
class Payload:
    """What one message carries: named parts, in order."""

    parts: Mapping[str, Part]

    @classmethod
    def dense(cls, values: Tensor, name: str = "update") -> "Payload":
        """A payload of one dense part."""
        return cls({name: Dense(values)})


def encode(payload: Payload) -> bytes:
    """The bytes of a payload.

    Raises:
        CodecError: a dtype, name or shape that a frame cannot hold, or sparse indices that are not strictly increasing.
    """
    if len(payload.parts) > 255:
        raise CodecError(f"a frame holds at most 255 parts, not {len(payload.parts)}")
    pieces: list[bytes | memoryview] = [MAGIC, struct.pack("<BB", VERSION, len(payload.parts))]
    for name, part in payload.parts.items():
        pieces += _encode_part(name, part)
    return b"".join(pieces)


def frame_bytes(parts: Mapping[str, tuple[torch.dtype, Sequence[int]]]) -> int:
    """The length of the frame of a payload whose parts are all dense, by name with dtype and shape; none is made.

    Raises:
        CodecError: a frame holds no such dtype.
    """
    size = len(MAGIC) + 2
    for name, (dtype, shape) in parts.items():
        size += 1 + len(name.encode()) + 3 + 8 * len(shape) + prod(shape) * _NUMPY[_code(name, dtype)].itemsize
    return size


def decode(frame: bytes) -> Payload:
    """The payload that a frame holds, on the CPU.

    Raises:
        CodecError: the bytes are cut short, carry something behind the last part, or contradict themselves.
    """
    reader = _Reader(frame)
    if reader.take(4) != MAGIC:
        raise CodecError("not a payload: the frame does not begin with FLAB")
    version, count = reader.unpack("<BB")
    if version != VERSION:
        raise CodecError(f"frame version {version} is not {VERSION}")
    parts: dict[str, Part] = {}
    for _ in range(count):
        name, part = _decode_part(reader)
        if name in parts:
            raise CodecError(f"part {name!r} stands twice")
        parts[name] = part
    if reader.left:
        raise CodecError(f"{reader.left} bytes behind the last part")
    return Payload(parts)


def _encode_part(name: str, part: Part) -> list[bytes | memoryview]:
    label = name.encode()
    tensor = part.values
    code = _code(name, tensor.dtype)
    if len(label) > 255 or tensor.ndim > 255:
        raise CodecError(f"part {name!r}: names and shapes hold at most 255 bytes and axes")
    array = np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=_NUMPY[code])
    body: Sequence[bytes | memoryview]
    if isinstance(part, Dense):
        # Its own memory, which joining copies: a large update is copied once.
        form, shape, body = _DENSE, tuple(tensor.shape), [array.reshape(-1).view(np.uint8).data]
    else:
        form, body = _encode_sparse(name, part, array)
        shape = (part.length,)
    head = struct.pack(f"<B{len(label)}sBBB{len(shape)}Q", len(label), label, form, code, len(shape), *shape)
    return [head, *body]


def _code(name: str, dtype: torch.dtype) -> int:
    if dtype not in _DTYPES:
        raise CodecError(f"part {name!r}: no encoding for {dtype}; legal: {', '.join(map(str, _DTYPES))}")
    return _DTYPES.index(dtype)


def _encode_sparse(name: str, part: Sparse, values: npt.NDArray[np.generic]) -> tuple[int, list[bytes]]:
    indices = part.indices.cpu().numpy().astype(np.int64, copy=False)
    if indices.shape != values.shape or indices.ndim != 1:
        raise CodecError(f"part {name!r}: {indices.size} indices for {values.size} values")
    if indices.size and (indices[0] < 0 or indices[-1] >= part.length or (np.diff(indices) <= 0).any()):
        raise CodecError(f"part {name!r}: indices must strictly increase within [0, {part.length})")
    gaps = np.diff(indices, prepend=-1) - 1
    kept = values.tobytes()
    sizes = {
        _SPARSE_DENSE: part.length * values.itemsize,
        _SPARSE_BITMAP: (part.length + 7) // 8 + len(kept),
        _SPARSE_GAPS: 8 + int(_varint_lengths(gaps).sum()) + len(kept),
    }
    form = min(sizes, key=sizes.__getitem__)
    if form == _SPARSE_GAPS:
        return form, [struct.pack("<Q", indices.size), _varints(gaps).tobytes(), kept]
    if form == _SPARSE_DENSE:
        # A kept zero cannot be told from a dropped entry here: the receiver reads every entry as sent, which is true.
        whole = np.zeros(part.length, dtype=values.dtype)
        whole[indices] = values
        return form, [whole.tobytes()]
    places = np.zeros(part.length, dtype=np.bool_)
    places[indices] = True
    return form, [np.packbits(places, bitorder="little").tobytes(), kept]


def _decode_part(reader: "_Reader") -> tuple[str, Part]:
    (label_length,) = reader.unpack("<B")
    try:
        name = reader.take(label_length).decode()
    except UnicodeDecodeError as error:
        raise CodecError("a part's name is not UTF-8") from error
    form, code, axes = reader.unpack("<BBB")
    shape = reader.unpack(f"<{axes}Q")
    if form > _SPARSE_GAPS or code >= len(_DTYPES):
        raise CodecError(f"part {name!r}: unknown form {form} or dtype {code}")
    if prod(max(axis, 1) for axis in shape) >= 2**63:
        raise CodecError(f"part {name!r}: no tensor has the shape {shape}")
    if form == _DENSE:
        return name, Dense(reader.tensor(code, prod(shape)).reshape(shape))
    if axes != 1:
        raise CodecError(f"part {name!r}: a sparse part has one axis, not {axes}")
    length = shape[0]
    if form == _SPARSE_DENSE:
        whole = reader.tensor(code, length)  # before the indices: a frame may claim any length
        return name, Sparse(torch.arange(length), whole, length)
    if form == _SPARSE_BITMAP:
        packed = np.frombuffer(reader.take((length + 7) // 8), dtype=np.uint8)
        indices = np.flatnonzero(np.unpackbits(packed, count=length, bitorder="little"))
    else:
        (kept,) = reader.unpack("<Q")
        indices = np.cumsum(reader.varints(kept) + 1) - 1
        if kept and (indices[-1] >= length or indices[0] < 0):
            raise CodecError(f"part {name!r}: an index lies outside [0, {length})")
    return name, Sparse(torch.from_numpy(indices.astype(np.int64)), reader.tensor(code, len(indices)), length)


class _Reader:
    """Walks through a frame and refuses to read past its end."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._frame) - self._at

    def skip(self, count: int) -> None:
        if count > self.left:
            raise CodecError(f"cut short: {count} bytes wanted at {self._at}, {self.left} left")
        self._at += count

    def take(self, count: int) -> bytes:
        at = self._at
        self.skip(count)
        return self._frame[at : self._at]

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def tensor(self, code: int, count: int) -> Tensor:
        at, dtype = self._at, _NUMPY[code]
        self.skip(count * dtype.itemsize)
        return torch.from_numpy(np.frombuffer(self._frame, dtype=dtype, count=count, offset=at).copy())

    def varints(self, count: int) -> npt.NDArray[np.int64]:
        raw = np.frombuffer(self._frame, dtype=np.uint8, offset=self._at)
        ends = np.flatnonzero(raw[: min(len(raw), count * 9)] < 128)[:count]
        if len(ends) < count:
            raise CodecError(f"cut short: {count} gaps announced, {len(ends)} found")
        if not count:
            return np.zeros(0, dtype=np.int64)
        starts = np.concatenate(([0], ends[:-1] + 1))
        used = raw[: ends[-1] + 1].astype(np.int64)
        position = np.arange(len(used)) - np.repeat(starts, ends - starts + 1)
        self._at += len(used)
        gaps: npt.NDArray[np.int64] = np.add.reduceat((used & 127) << (7 * position), starts)
        return gaps


def _varint_lengths(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    bounds = np.array([1 << (7 * k) for k in range(1, 9)], dtype=np.int64)
    return np.searchsorted(bounds, numbers, side="right").astype(np.int64) + 1


def _varints(numbers: npt.NDArray[np.int64]) -> Bytes:
    lengths = _varint_lengths(numbers)
    ends = np.cumsum(lengths)
    position = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
    out = ((np.repeat(numbers, lengths) >> (7 * position)) & 127).astype(np.uint8)
    more = np.ones(len(out), dtype=bool)
    more[ends - 1] = False
    out[more] |= 128
    return out
