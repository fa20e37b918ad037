"""Calls over loopback: who is let in, what happens to large messages both ways, and what the kernel counts."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import grpc
import pytest

from fl_attack_bench.processes import framing, sockets, transport
from fl_attack_bench.processes.frame import Frame
from fl_attack_bench.processes.mailroom import AHEAD, Mailroom, Silent
from fl_attack_bench.processes.transport import Outgoing, Reception

STAGES = [f"stage {number}" for number in range(8)]
SECONDS = 5.0


@contextlib.contextmanager
def reception(owner="b", tokens=None, seconds=SECONDS):
    mail = Mailroom(owner, ["a"], STAGES, seconds)
    served, port = transport.server(Reception(mail, tokens or {"a": "secret"}), 2)
    mail.enter(0)
    try:
        yield mail, port
    finally:
        served.stop(0)


@contextlib.contextmanager
def outgoing(port, token="secret", sender="a", receiver="b", seconds=SECONDS):
    failures = []
    way = Outgoing(sender, receiver, port, token, seconds, failures.append)
    try:
        yield way, failures
    finally:
        way.close()


def called(port, call, token, method=transport.METHOD):
    with transport.channel(port) as line:
        return line.unary_unary(method)(call, timeout=SECONDS, metadata=((transport.TOKEN, token),))


def test_messages_arrive_whole_and_in_order():
    with reception() as (mail, port), outgoing(port) as (way, failures):
        for data in (b"", b"one", bytes(300_000)):
            way.give(0, data, offline=data == b"one")
        way.flush()
        taken = [mail.take("a") for _ in range(3)]
    assert [frame.data for frame in taken] == [b"", b"one", bytes(300_000)]
    assert [frame.offline for frame in taken] == [False, True, False]
    assert not failures


@pytest.mark.parametrize(
    ("token", "method", "code"),
    [
        ("guess", transport.METHOD, grpc.StatusCode.UNAUTHENTICATED),
        ("", transport.METHOD, grpc.StatusCode.UNAUTHENTICATED),
        ("secret", "/fl_attack_bench.Party/Take", grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_a_stranger_is_turned_away(token, method, code):
    with reception() as (mail, port):
        with pytest.raises(grpc.RpcError) as caught:
            called(port, Frame("a", 0, 0, False, b"x").packed(), token, method)
        assert caught.value.code() is code
        assert mail.taken == 0
        called(port, Frame("a", 0, 0, False, b"true").packed(), "secret")
        assert mail.take("a").data == b"true"


@pytest.mark.parametrize(
    ("call", "details"),
    [
        (b"nonsense", "cut short"),
        (Frame("c", 0, 0, False, b"").packed(), "a speaks for 'c'"),
        (Frame("a", 99, 0, False, b"").packed(), "no use for a message of stage 99"),
        (Frame("a", 0, 7, False, b"").packed(), "message 7 of a, and 0 is the next"),
    ],
)
def test_a_known_party_cannot_give_anything_it_likes(call, details):
    with reception() as (_, port), pytest.raises(grpc.RpcError) as caught:
        called(port, call, "secret")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details in caught.value.details()


def test_the_server_listens_on_loopback_only():
    with reception() as (_, port):
        tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    (address,) = [row[1] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
    # 127.0.0.1, as such or mapped into IPv6
    assert address.split(":")[0] in ("0100007F", "0000000000000000FFFF00000100007F")


def test_two_parties_that_both_send_a_lot_before_they_read_do_not_block_each_other():
    block, count = bytes(8_000_000), 4
    with reception("b") as (mail_b, port_b):
        mail_a = Mailroom("a", ["b"], STAGES, SECONDS)
        mail_a.enter(0)
        served, port_a = transport.server(Reception(mail_a, {"b": "other"}), 2)
        taken = []

        def play(mail, way, peer):
            for _ in range(count):
                way.give(0, block, offline=False)
            taken.append([len(mail.take(peer).data) for _ in range(count)])
            way.flush()

        with outgoing(port_b) as (to_b, lost), outgoing(port_a, "other", "b", "a") as (to_a, lost_too):
            threads = [threading.Thread(target=play, args=args) for args in ((mail_a, to_b, "b"), (mail_b, to_a, "a"))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(2 * SECONDS)
        served.stop(0)
    assert taken == [[len(block)] * count] * 2
    assert not lost
    assert not lost_too


def test_a_party_that_only_sends_cannot_run_ahead_without_end():
    with reception() as (mail, port), outgoing(port) as (way, failures):
        reached = []

        def run_ahead():
            for stage in range(len(STAGES)):
                way.give(stage, b"triple", offline=True)
                way.flush()
                reached.append(stage)

        thread = threading.Thread(target=run_ahead)
        thread.start()
        time.sleep(0.5)
        assert reached == list(range(AHEAD + 1))
        for stage in range(len(STAGES)):
            if stage:
                mail.enter(stage)
            assert mail.take("a").stage == stage
        thread.join(SECONDS)
        assert reached == list(range(len(STAGES)))
        assert not failures


def test_who_takes_nothing_is_named():
    with reception() as (_, port), outgoing(port, seconds=0.5) as (way, failures):
        way.give(AHEAD + 1, b"early", offline=False)
        way.flush()
    (failure,) = failures
    assert isinstance(failure, Silent)
    assert str(failure) == "a waits for b, which has not taken a message in 0.5 s"


def test_who_cannot_be_reached_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with outgoing(port) as (way, failures):
        way.give(0, b"x", offline=False)
        way.flush()
    assert [str(failure) for failure in failures] == ["a sends to b, which cannot be reached"]


def test_behind_a_message_that_failed_nobody_waits():
    with reception() as (_, port), outgoing(port, token="guess") as (way, failures):
        way.give(0, b"x", offline=False)
        way.flush()
        way.give(0, b"y", offline=False)
        waiting = threading.Thread(target=way.flush, daemon=True)
        waiting.start()
        waiting.join(SECONDS)
        assert not waiting.is_alive()
        assert not way.on_the_way
    assert len(failures) == 1


def test_a_message_that_no_call_can_carry_is_refused(monkeypatch):
    monkeypatch.setattr(transport, "MAX_MESSAGE", 1_000)
    with reception() as (_, port), outgoing(port) as (way, _), pytest.raises(ValueError, match="a sends b 900 bytes"):
        way.give(0, bytes(900), offline=False)


class Relay:
    """Passes bytes on between a client and a port, and counts them: a second opinion on what the kernel counted."""

    def __init__(self, port):
        self.up = self.down = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def _accept(self, port):
        client, _ = self._listening.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for source, sink, way in ((client, server, "up"), (server, client, "down")):
            threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source, sink, way):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)

    def close(self):
        self._listening.close()


def test_the_kernel_counts_what_a_relay_counts_and_framing_foretells_it():
    sizes, token = [0, 1, 17_000, 3_000_000, 40], "0123456789abcdef" * 2
    found = framing.measured()
    with reception(tokens={"a": token}) as (mail, port):
        relay = Relay(port)
        with outgoing(relay.port, token) as (way, _):
            for size in sizes:
                way.give(0, bytes(size), offline=False)
            way.flush()
            time.sleep(0.2)
            kernel = sockets.total(each for each in sockets.connections() if each.remote == relay.port)
            relayed = (relay.up, relay.down)
        assert [len(mail.take("a").data) for _ in sizes] == sizes
        relay.close()
    assert (kernel.sent, kernel.received) == relayed
    assert kernel.sent == pytest.approx(sum(sizes) + found.up("a", sizes), abs=60)
    assert kernel.received == pytest.approx(found.down(sizes), abs=60)
