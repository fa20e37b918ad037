"""What the transport adds to a message: measured with calls that carry nothing of a protocol.

A call of ``n`` bytes takes ``message_up + n + 9 (ceil((n + 5) / 16384) - 1)`` bytes on the way there and
``message_down + n window_down`` on the way back: HTTP/2 cuts a body into DATA frames of at most 16,384 bytes with heads
of 9 (RFC 9113, section 4), gRPC puts 5 bytes before it, and the receiver says from time to time how much more it takes
(WINDOW_UPDATE, section 6.9). A connection takes ``connection_up`` and ``connection_down`` once.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fl_attack_bench.processes import sockets, transport
from fl_attack_bench.processes.frame import Frame, head_bytes
from fl_attack_bench.processes.mailroom import Mailroom
from fl_attack_bench.processes.sockets import Counted

_PROBES = 32
_LARGE, _LARGE_PROBES = 2**23, 4
_WARM = 4  # calls after which the heads are as short as they get (HPACK, RFC 7541)
_DATA_FRAME, _DATA_HEAD, _PREFIX = 16_384, 9, 5
_SETTLE = 0.05
_SELF = "probe"


@dataclass(frozen=True)
class Framing:
    """Bytes beside the messages themselves; up is from the sender to the receiver.

    Args:
        connection_up: once for each pair.
        connection_down: likewise.
        message_up: of a call, without our own head.
        message_down: of its answer.
        window_down: on the way back, for each byte there.
    """

    connection_up: float
    connection_down: float
    message_up: float
    message_down: float
    window_down: float

    def up(self, sender: str, sizes: Sequence[int]) -> float:
        """Bytes that one party's messages to another one take beside the codec's own, on the way there.

        Args:
            sender: whose messages; its name stands in each.
            sizes: the codec's bytes of each message.
        """
        head, whole = head_bytes(sender), 0.0
        for number, size in enumerate(sizes):
            whole += self.connection_up if number == 0 else 0.0
            frames = -(-(size + head + _PREFIX) // _DATA_FRAME)
            whole += self.message_up + head + _DATA_HEAD * (frames - 1)
        return whole

    def down(self, sizes: Sequence[int]) -> float:
        """Bytes that come back for messages of one party to another one, of these sizes."""
        if not sizes:
            return 0.0
        return self.connection_down + len(sizes) * self.message_down + sum(sizes) * self.window_down


def measured(seconds: float = 10.0) -> Framing:
    """Give messages without content to oneself, and ask the kernel what went over the connection."""
    token = secrets.token_hex(16)
    mailroom = Mailroom("itself", [_SELF], ["probes"], seconds)
    served, port = transport.server(transport.Reception(mailroom, {_SELF: token}), 1)
    line = transport.channel(port)
    call: transport.Call = line.unary_unary(transport.METHOD)
    try:
        counts = []
        number = 0
        for calls, size in ((1, 0), (_WARM, 0), (_PROBES, 0), (_LARGE_PROBES, _LARGE)):
            for _ in range(calls):
                frame = Frame(_SELF, 0, number, False, bytes(size))
                number += 1
                call(frame.packed(), timeout=seconds, metadata=((transport.TOKEN, token),))
            counts.append(_settled(port))
        opened, warm, after, large = counts
    finally:
        line.close()
        served.stop(0)
    probes = after - warm
    up, down = probes.sent / _PROBES, probes.received / _PROBES
    return Framing(
        connection_up=opened.sent - up,
        connection_down=opened.received - down,
        message_up=up - head_bytes(_SELF),
        message_down=down,
        window_down=((large - after).received / _LARGE_PROBES - down) / _LARGE,
    )


def _settled(port: int) -> Counted:
    """The client's side of the connection, once nothing moves any more."""
    before = None
    while (now := sockets.total(each for each in sockets.connections() if each.remote == port)) != before:
        before = now
        time.sleep(_SETTLE)
    return now
