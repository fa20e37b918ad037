"""The one place where parties exchange anything: it encodes, meters, models the network and remembers who saw what."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fl_attack_bench.codec import Payload, decode, encode
from fl_attack_bench.link import Link

SERVER = "server"


def client(number: int | str) -> str:
    """The party name of a client."""
    return f"client/{number}"


@dataclass(frozen=True)
class Message:
    """One delivered message; ``data`` are the very bytes that were sent."""

    round: int
    topic: str
    sender: str
    receiver: str
    data: bytes

    def payload(self) -> Payload:
        """The message decoded."""
        return decode(self.data)


@dataclass
class Traffic:
    """Bytes that one party sent and received."""

    sent: int = 0
    received: int = 0


@dataclass
class Phase:
    """Messages that are under way at the same time: the next phase depends on all of them."""

    round: int
    topic: str
    traffic: defaultdict[str, Traffic] = field(default_factory=lambda: defaultdict(Traffic))

    def seconds(self, link: Link) -> float:
        """Busiest party's bytes over the bandwidth, plus half a round trip for the way there."""
        busiest = max((max(t.sent, t.received) for t in self.traffic.values()), default=0)
        return busiest * 8 / link.bits_per_second + link.round_trip_seconds / 2


class Wire:
    """Delivers messages between parties.

    Args:
        watched: the adversary's parties. Every message that reaches one of them is kept for the view; others are
            metered and forgotten.
    """

    def __init__(self, watched: Collection[str] = ()) -> None:
        self._watched = frozenset(watched)
        self._seen: list[Message] = []
        self._open: Phase | None = None
        self.phases: list[Phase] = []

    @contextmanager
    def phase(self, round: int, topic: str) -> Iterator[None]:
        """A stretch in which all messages travel at once; messages can only be sent inside one."""
        if self._open is not None:
            raise RuntimeError(f"phase {topic!r} opened inside phase {self._open.topic!r}")
        self._open = Phase(round, topic)
        try:
            yield
            self.phases.append(self._open)
        finally:
            self._open = None

    def send(self, sender: str, receiver: str, payload: Payload) -> Payload:
        """Encode, meter, deliver; returns what the receiver decodes."""
        return self.broadcast(sender, [receiver], payload)

    def broadcast(self, sender: str, receivers: Sequence[str], payload: Payload) -> Payload:
        """The same message to each receiver: encoded once, paid for each time."""
        data = encode(payload)
        for receiver in receivers:
            self.carry(sender, receiver, data)
        return decode(data)

    def carry(self, sender: str, receiver: str, data: bytes) -> None:
        """Meter and remember a message that is encoded already."""
        if self._open is None:
            raise RuntimeError("a message outside of a phase: open one with `with wire.phase(round, topic)`")
        self._open.traffic[sender].sent += len(data)
        self._open.traffic[receiver].received += len(data)
        if receiver in self._watched:
            self._seen.append(Message(self._open.round, self._open.topic, sender, receiver, data))

    def view(self) -> tuple[Message, ...]:
        """Every message that reached a watched party, in the order of delivery."""
        return tuple(self._seen)

    def seconds(self, link: Link) -> float:
        """Modelled network seconds of all phases; computing is measured, not modelled, and comes on top."""
        return sum(phase.seconds(link) for phase in self.phases)
