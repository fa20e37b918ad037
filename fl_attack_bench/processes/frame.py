"""What one call carries: who sends it, in which stage and as which message of its own, then the codec's bytes.

All integers are little-endian: ``version u8 | flags u8 | stage u32 | number u32 | length of the sender's name u8 |
sender | codec's bytes``. Bit 0 of the flags says that the message depends on no data.
"""

import struct
from dataclasses import dataclass

_VERSION = 1
_HEAD = struct.Struct("<BBIIB")
_OFFLINE = 1


class FrameError(ValueError):
    """Bytes that are no message of a party."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Args:
        sender: who sent it.
        stage: the place of its stage in the schedule that all parties know, from 0.
        number: how many messages this sender had sent to this receiver before.
        offline: whether it depends on no data.
        data: the codec's bytes.
    """

    sender: str
    stage: int
    number: int
    offline: bool
    data: bytes

    def packed(self) -> bytes:
        """The bytes of a call."""
        name = self.sender.encode()
        head = _HEAD.pack(_VERSION, _OFFLINE if self.offline else 0, self.stage, self.number, len(name))
        return b"".join((head, name, self.data))


def head_bytes(sender: str) -> int:
    """How many bytes stand before the codec's."""
    return _HEAD.size + len(sender.encode())


def unpacked(call: bytes) -> Frame:
    """The message that a call carries. The codec's bytes are not looked at yet.

    Raises:
        FrameError: the bytes are cut short or contradict themselves.
    """
    if len(call) < _HEAD.size:
        raise FrameError(f"cut short: {len(call)} bytes, and the head alone has {_HEAD.size}")
    version, flags, stage, number, length = _HEAD.unpack_from(call)
    if version != _VERSION:
        raise FrameError(f"version {version} is not {_VERSION}")
    if flags > _OFFLINE:
        raise FrameError(f"unknown flags {flags}")
    name = call[_HEAD.size : _HEAD.size + length]
    if len(name) < length:
        raise FrameError(f"cut short: a name of {length} bytes wanted, {len(name)} left")
    try:
        sender = name.decode()
    except UnicodeDecodeError:
        raise FrameError("the sender's name is not UTF-8") from None
    return Frame(sender, stage, number, bool(flags), call[_HEAD.size + length :])
