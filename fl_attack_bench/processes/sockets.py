"""What the kernel counted on this process's TCP connections: bytes of the streams, without TCP's and IP's own heads.

The figures are of ``struct tcp_info`` (Linux, ``include/uapi/linux/tcp.h``; ``tcpi_bytes_sent`` since 4.19). They know
nothing of gRPC and nothing of our metering.
"""

import os
import socket
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fl_attack_bench.errors import UserError

_INFO_BYTES = 256
_RECEIVED = 128  # tcpi_bytes_received
_SENT = 200  # tcpi_bytes_sent, then tcpi_bytes_retrans
_ESTABLISHED = 1
_NEEDED = _SENT + 16


@dataclass(frozen=True)
class Connection:
    """One established connection, seen from this process.

    Args:
        local: its port here.
        remote: the port at the other end.
        sent: bytes handed to the network, each counted once however often it was sent again.
        received: bytes that arrived in order.
    """

    local: int
    remote: int
    sent: int
    received: int


@dataclass(frozen=True)
class Counted:
    """Bytes over several connections."""

    sent: int
    received: int

    def __sub__(self, before: "Counted") -> "Counted":
        return Counted(self.sent - before.sent, self.received - before.received)


def connections() -> tuple[Connection, ...]:
    """All established TCP connections of this process.

    Raises:
        UserError: this system's kernel does not count them.
    """
    folder = Path("/proc/self/fd")
    if not folder.is_dir() or not hasattr(socket, "TCP_INFO"):
        raise UserError("bytes on sockets are counted by Linux only (TCP_INFO)")
    found = (_connection(int(entry)) for entry in os.listdir(folder))  # noqa: PTH208 - the names are all that counts
    return tuple(connection for connection in found if connection is not None)


def total(counted: Iterable[Connection]) -> Counted:
    """The sum over connections."""
    every = tuple(counted)
    return Counted(sum(each.sent for each in every), sum(each.received for each in every))


def _connection(descriptor: int) -> Connection | None:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as found:
            if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
                return None
            info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            if info[0] != _ESTABLISHED:
                return None
            local, remote = found.getsockname()[1], found.getpeername()[1]
    except OSError:  # closed meanwhile, or not connected
        return None
    if len(info) < _NEEDED:
        raise UserError("this kernel does not count the bytes that a socket sends: Linux 4.19 or later does")
    (received,) = struct.unpack_from("=Q", info, _RECEIVED)
    sent, again = struct.unpack_from("=QQ", info, _SENT)
    return Connection(local, remote, sent - again, received)
