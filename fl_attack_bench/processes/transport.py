"""Calls between the parties' processes: gRPC with raw bytes over 127.0.0.1.

A call is let in by its token, before any of it is read. Every ordered pair of parties has a token of its own, which
only these two know: nobody can speak for another party.
"""

import hmac
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from fl_attack_bench.processes.frame import Frame, FrameError, unpacked
from fl_attack_bench.processes.mailroom import Mailroom, Refused, Silent

METHOD = "/fl_attack_bench.Party/Give"
TOKEN = "flab-token"  # noqa: S105 - the metadata's key
MAX_MESSAGE = 2**30
_HOST = "127.0.0.1"
# The window is set once, not probed for: probes are bytes that belong to no message.
_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 2**24),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.so_reuseport", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
Call = Callable[..., bytes]


def server(handler: grpc.GenericRpcHandler, threads: int) -> tuple[grpc.Server, int]:
    """A running server on a free port of 127.0.0.1, and the port."""
    started = grpc.server(ThreadPoolExecutor(threads), options=_OPTIONS)
    started.add_generic_rpc_handlers((handler,))
    port = started.add_insecure_port(f"{_HOST}:0")
    started.start()
    return started, port


def channel(port: int) -> grpc.Channel:
    """A way to a party's server; connects at the first call."""
    return grpc.insecure_channel(f"{_HOST}:{port}", options=_OPTIONS)


class Reception(grpc.GenericRpcHandler):
    """Lets in what a known party gives.

    Args:
        mailroom: where messages go.
        tokens: each sender's, from its name.
    """

    def __init__(self, mailroom: Mailroom, tokens: Mapping[str, str]) -> None:
        self._mailroom, self._tokens = mailroom, dict(tokens)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Who answers a call; a stranger's is turned away before its body is read."""
        metadata = dict(handler_call_details.invocation_metadata or ())
        given = metadata.get(TOKEN, "")
        given = given if isinstance(given, str) else ""
        known = [name for name, token in self._tokens.items() if hmac.compare_digest(token.encode(), given.encode())]
        if handler_call_details.method != METHOD or not known:
            return grpc.stream_unary_rpc_method_handler(_turn_away)
        sender = known[0]
        return grpc.unary_unary_rpc_method_handler(lambda call, context: self._give(sender, call, context))

    def _give(self, sender: str, call: bytes, context: grpc.ServicerContext) -> bytes:
        gone = threading.Event()
        context.add_callback(gone.set)
        try:
            frame = unpacked(call)
            if frame.sender != sender:
                raise FrameError(f"{sender} speaks for {frame.sender!r}")
            self._mailroom.let_in(frame, present=gone)
        except (FrameError, Refused) as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return b""


def _turn_away(calls: Any, context: grpc.ServicerContext) -> bytes:
    del calls
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no party of this run")
    return b""


class Outgoing:
    """What one party sends to another one: in order, one call at a time, by a thread of its own.

    Args:
        sender: the party.
        receiver: the other one.
        port: of the other one's server.
        token: of this pair.
        seconds: how long the receiver may take to let a message in.
        failed: told what went wrong, once.
    """

    def __init__(
        self, sender: str, receiver: str, port: int, token: str, seconds: float, failed: Callable[[Exception], None]
    ) -> None:
        self.sender, self.receiver = sender, receiver
        self._seconds, self._failed = seconds, failed
        self._channel = channel(port)
        self._call: Call = self._channel.unary_unary(METHOD)
        self._metadata = ((TOKEN, token),)
        self._waiting: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._settled = threading.Condition()
        self._open = 0
        self._lost = False
        self.messages = 0
        threading.Thread(target=self._work, daemon=True, name=f"to {receiver}").start()

    @property
    def on_the_way(self) -> bool:
        """Whether a message has not been let in yet."""
        return self._open > 0

    def give(self, stage: int, data: bytes, *, offline: bool) -> None:
        """Send a message behind those before it; does not wait. Behind one that failed nothing is sent any more.

        Raises:
            ValueError: it is larger than a call may be.
        """
        frame = Frame(self.sender, stage, self.messages, offline, data)
        if len(data) + 512 > MAX_MESSAGE:
            raise ValueError(
                f"{self.sender} sends {self.receiver} {len(data)} bytes at once; {MAX_MESSAGE} is the most"
            )
        self.messages += 1
        with self._settled:
            if self._lost:  # nobody would carry it, and whoever waits for it to be let in would wait for ever
                return
            self._open += 1
        self._waiting.put(frame)

    def flush(self) -> None:
        """Wait until all messages were let in or one failed."""
        with self._settled:
            self._settled.wait_for(lambda: self._open <= 0)

    def close(self) -> None:
        """Give the connection up."""
        self._waiting.put(None)
        self._channel.close()

    def _work(self) -> None:
        while (frame := self._waiting.get()) is not None:
            try:
                self._call(frame.packed(), timeout=self._seconds, metadata=self._metadata)
            except Exception as error:  # whatever it is, the party must hear of it
                self._failed(self._explained(error))
                with self._settled:
                    self._lost, self._open = True, 0
                    self._settled.notify_all()
                return
            with self._settled:
                self._open -= 1
                self._settled.notify_all()

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, grpc.RpcError) or not isinstance(error, grpc.Call):
            return error
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE:
            return Silent(f"{self.sender} sends to {self.receiver}, which cannot be reached", self.receiver)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            text = f"{self.sender} waits for {self.receiver}, which has not taken a message in {self._seconds:g} s"
            return Silent(text, self.receiver)
        return RuntimeError(f"{self.receiver} does not take what {self.sender} sends: {details}")


def monotonic() -> float:
    """Seconds on a clock that all processes of a machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
