"""Notes between the one who starts the parties and a party's process, over its private standard input and output.

A note is ``length of the head u32 | length of the body u64 | head as JSON | body``, little-endian. The body is a frame
of the codec, or empty. Nothing is pickled.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from torch import Tensor

from fl_attack_bench.codec import Dense, Payload, decode, encode

_LENGTHS = struct.Struct("<IQ")


@dataclass(frozen=True)
class Note:
    """One note.

    Args:
        head: plain data.
        tensors: by name.
    """

    head: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def write(stream: IO[bytes], note: Note) -> None:
    """Write a note at once."""
    head = json.dumps(note.head).encode()
    parts = {name: Dense(values) for name, values in note.tensors.items()}
    body = encode(Payload(parts)) if parts else b""
    stream.write(b"".join((_LENGTHS.pack(len(head), len(body)), head, body)))
    stream.flush()


def read(stream: IO[bytes]) -> Note | None:
    """The next note; None where the other side has gone.

    Raises:
        ValueError: what comes is no note.
    """
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    head, body = stream.read(head_length), stream.read(body_length)
    if len(head) < head_length or len(body) < body_length:
        return None
    parts = decode(body).parts if body else {}
    return Note(json.loads(head), {name: part.values for name, part in parts.items()})
