"""What may be handed to SEAL: the shape of a serialised context and of a ciphertext, checked before they are loaded.

TenSEAL's containers are protobuf messages (tensealcontext.proto, tensors.proto of TenSEAL 0.3). Two of their fields
are dangerous in a stranger's hand: altered encryption parameters can end the process inside SEAL, and the number of
slots is believed when a vector is decrypted, which then reads past its memory. So the container of a ciphertext is
built here and never received, and a context must equal a genuine one of the same parameters in all but its keys.
"""

import struct
from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _LENGTH = 0, 1, 2
_PUBLIC, _PRIVATE, _KEY = 2, 3, 1  # fields of a context, and the field of each that holds its key
_SIZES, _CIPHERTEXTS, _SCALE = 1, 2, 3  # fields of a vector
Skeleton = tuple[tuple[int, object], ...]


def skeleton(context: bytes) -> Skeleton:
    """Everything in a serialised context but the keys: its fields, in order.

    Raises:
        ValueError: not a protobuf message.
    """
    return tuple(
        (number, _without_key(value) if number in (_PUBLIC, _PRIVATE) and isinstance(value, bytes) else value)
        for number, value in _fields(context)
    )


def vector_of(ciphertext: bytes, slots: int, scale: float | None) -> bytes:
    """TenSEAL's container of one ciphertext of SEAL that holds ``slots`` numbers; ``scale`` under CKKS only."""
    sizes = _varint(slots)
    pieces = [_head(_SIZES, sizes), sizes, _head(_CIPHERTEXTS, ciphertext), ciphertext]
    if scale is not None:
        pieces.append(_varint(_SCALE << 3 | _EIGHT_BYTES) + struct.pack("<d", scale))
    return b"".join(pieces)


def ciphertext_of(vector: bytes) -> bytes:
    """SEAL's bytes inside a container of one ciphertext.

    Raises:
        ValueError: there is not exactly one.
    """
    (inside,) = [value for number, value in _fields(vector) if number == _CIPHERTEXTS and isinstance(value, bytes)]
    return inside


def _without_key(message: bytes) -> Skeleton:
    return tuple((number, None if number == _KEY else value) for number, value in _fields(message))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == _LENGTH:
            length, at = _read_varint(message, at)
        elif kind == _EIGHT_BYTES:
            length = 8
        else:
            raise ValueError(f"field {number} is of the unknown kind {kind}")
        if length > len(message) - at:
            raise ValueError(f"field {number} is cut short: {length} bytes wanted, {len(message) - at} left")
        yield number, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + 9]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError(f"no number at byte {at}")


def _head(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(body))


def _varint(number: int) -> bytes:
    pieces = bytearray()
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])
