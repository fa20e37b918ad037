"""Plays the parties of an outsourced protocol in one process, over the metered wire.

All coroutines of a stage run until each waits for a message that has not come. Then what they sent is delivered, all of
it at once: one such turn is one dependent trip. What a party computes in a turn is timed; in life the parties compute
side by side, so the slowest decides.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fl_attack_bench.api.outsourced import Endpoint, Entering, Holding, PartySilent
from fl_attack_bench.codec import Payload, decode, encode
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.seeds import Streams
from fl_attack_bench.wire import Wire

OFFLINE = " offline"  # behind the topic of what depends on no data


def secrets_of(party: str, streams: Streams | None) -> Secrets:
    """A party's own unpredictable numbers: the operating system's, or of a cell that asks to be reproducible."""
    return Secrets.fresh() if streams is None else Secrets.from_generator(streams.generator("party", party))


@dataclass(frozen=True)
class Wanted:
    """What a party waits for."""

    receiver: str
    sender: str

    def __await__(self) -> Generator["Wanted", None, None]:
        """Hand itself to whoever drives the coroutine."""
        yield self


@dataclass(frozen=True)
class _Sent:
    sender: str
    receiver: str
    data: bytes
    offline: bool


@dataclass
class Spent:
    """Measured seconds of computing in one stage.

    Args:
        online: in each turn the slowest party's, summed over turns.
        ahead: of the parties that could do everything before any data is there.
        parties: by name, online.
    """

    online: float = 0.0
    ahead: float = 0.0
    parties: dict[str, float] = field(default_factory=dict)


class LocalEndpoint(Endpoint):
    """A party's end of the wire inside a :class:`Gathering`."""

    def __init__(self, name: str, secrets: Secrets, gathering: "Gathering") -> None:
        super().__init__(name, secrets)
        self._gathering = gathering

    def send(self, receiver: str, payload: Payload, *, offline: bool = False) -> None:
        """Encode the message; it arrives when everybody waits."""
        self._gathering.post(_Sent(self.name, receiver, encode(payload), offline))

    async def receive(self, sender: str) -> Payload:
        """The next message from a party."""
        inbox = self._gathering.inbox(sender, self.name)
        while not inbox:
            await Wanted(self.name, sender)
        return decode(inbox.popleft())


class Gathering:
    """The parties of a protocol around one wire.

    Args:
        entering: what makes each party.
        holdings: what each brings along; nothing where it is left out.
        wire: meters and remembers.
        clock: seconds, for what the parties compute.
        streams: of a reproducible cell; None for unpredictable secrets.
    """

    def __init__(
        self,
        entering: Mapping[str, Entering],
        holdings: Mapping[str, Holding],
        wire: Wire,
        clock: Callable[[], float],
        streams: Streams | None = None,
    ) -> None:
        self.wire = wire
        self._clock = clock
        self._outbox: list[_Sent] = []
        self._inboxes: defaultdict[tuple[str, str], deque[bytes]] = defaultdict(deque)
        self.names = tuple(entering)
        self.parties = {
            name: enter(LocalEndpoint(name, secrets_of(name, streams), self), holdings.get(name, Holding()))
            for name, enter in entering.items()
        }
        self.spent: dict[tuple[str, int], Spent] = {}
        for name, party in self.parties.items():
            if party.ahead and holdings.get(name, Holding()) != Holding():
                raise ValueError(f"{name} works ahead of the data, but holds some")

    def post(self, sent: _Sent) -> None:
        """Take a message that is to be delivered at the end of the turn.

        Raises:
            ValueError: there is no such receiver, or what is sent ahead of the data could depend on them.
        """
        if sent.receiver not in self.names:
            raise ValueError(f"{sent.sender} sends to {sent.receiver!r}; there are {', '.join(self.names)}")
        # Only so is what a protocol says to cost nothing online really there before the data are.
        if sent.offline and not self.parties[sent.sender].ahead:
            raise ValueError(f"{sent.sender} sends offline, but does not work ahead of the data")
        if self.parties[sent.receiver].ahead:
            raise ValueError(f"{sent.sender} sends to {sent.receiver}, which works ahead of the data and hears nothing")
        self._outbox.append(sent)

    def inbox(self, sender: str, receiver: str) -> deque[bytes]:
        """What was delivered from one party to another and not yet read."""
        return self._inboxes[sender, receiver]

    def run(self, topic: str, round: int, calls: Mapping[str, Coroutine[Any, Any, Any]]) -> dict[str, Any]:
        """Play a stage to its end.

        Args:
            topic: the stage.
            round: its number.
            calls: each party's coroutine.

        Returns:
            What each coroutine returned.

        Raises:
            PartySilent: somebody waits for a message that nobody sends.
        """
        spent = self.spent.setdefault((topic, round), Spent())
        running, results = dict(calls), dict[str, Any]()
        try:
            while running:
                carried = len(self.wire.phases)
                waiting = self._turn(topic, round, running, results, spent)
                self._deliver(topic, round)
                if waiting and len(self.wire.phases) == carried:
                    raise PartySilent(_deadlock(waiting, results))
        finally:
            for coroutine in running.values():
                coroutine.close()
        unread = [f"{sender} to {receiver}" for (sender, receiver), box in self._inboxes.items() if box]
        if unread:
            raise RuntimeError(f"{topic} {round} ended with messages that nobody read: {', '.join(unread)}")
        return results

    def _turn(
        self,
        topic: str,
        round: int,
        running: dict[str, Coroutine[Any, Any, Any]],
        results: dict[str, Any],
        spent: Spent,
    ) -> dict[str, Wanted]:
        """Let everybody go as far as possible; returns who waits for what."""
        waiting: dict[str, Wanted] = {}
        slowest = 0.0
        # Who works ahead goes first, and what it deals out is there before the others begin.
        for name in sorted(running, key=lambda name: not self.parties[name].ahead):
            if not self.parties[name].ahead:
                self._deliver_ahead(topic, round)
            began = self._clock()
            try:
                wanted = running[name].send(None)
                while self._inboxes[wanted.sender, name]:
                    wanted = running[name].send(None)
                waiting[name] = wanted
            except StopIteration as ended:
                results[name] = ended.value
                del running[name]
            seconds = self._clock() - began
            if self.parties[name].ahead:
                spent.ahead += seconds
            else:
                spent.parties[name] = spent.parties.get(name, 0.0) + seconds
                slowest = max(slowest, seconds)
        spent.online += slowest
        return waiting

    def _deliver_ahead(self, topic: str, round: int) -> None:
        """Carry what could have been sent long before: at once, unless it stands behind a message that has to wait."""
        ahead, left = list[_Sent](), list[_Sent]()
        waiting = set[tuple[str, str]]()
        for message in self._outbox:
            way = message.sender, message.receiver
            if message.offline and way not in waiting:
                ahead.append(message)
            else:
                left.append(message)
                waiting.add(way)
        self._outbox = left
        self._carry(round, topic + OFFLINE, ahead)
        self._hand_over(ahead)

    def _deliver(self, topic: str, round: int) -> None:
        """Carry all that was sent in this turn."""
        self._deliver_ahead(topic, round)
        sent, self._outbox = self._outbox, []
        self._carry(round, topic, [message for message in sent if not message.offline])
        self._carry(round, topic + OFFLINE, [message for message in sent if message.offline])
        self._hand_over(sent)

    def _carry(self, round: int, topic: str, messages: Sequence[_Sent]) -> None:
        """Meter and remember."""
        if not messages:
            return
        with self.wire.phase(round, topic):
            for message in messages:
                self.wire.carry(message.sender, message.receiver, message.data)

    def _hand_over(self, messages: Sequence[_Sent]) -> None:
        """Let the receivers read; in the order of sending, however they were metered."""
        for message in messages:
            self._inboxes[message.sender, message.receiver].append(message.data)


def _deadlock(waiting: Mapping[str, Wanted], ended: Mapping[str, Any]) -> str:
    each = [
        f"{name} waits for {wanted.sender}, which {'has ended' if wanted.sender in ended else 'sends nothing'}"
        for name, wanted in waiting.items()
    ]
    return "; ".join(each)
