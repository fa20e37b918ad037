"""A party's end of the wire where every party is a process: it sends by calls, and blocks where nothing has come."""

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from fl_attack_bench.api.outsourced import Endpoint
from fl_attack_bench.codec import CodecError, Payload, decode, encode
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.processes.mailroom import Mailroom
from fl_attack_bench.processes.transport import Outgoing

T = TypeVar("T")


class RemoteEndpoint(Endpoint):
    """The end of one party.

    Args:
        name: the party's.
        secrets: its own.
        mailroom: what has come for it.
        outgoing: its ways to the others.
        stages: how many there are, to keep the sizes by stage.
    """

    def __init__(
        self, name: str, secrets: Secrets, mailroom: Mailroom, outgoing: Mapping[str, Outgoing], stages: int
    ) -> None:
        super().__init__(name, secrets)
        self._mailroom, self._outgoing = mailroom, outgoing
        self._stage = 0
        self.sent: list[dict[str, list[int]]] = [{} for _ in range(stages)]  # of each stage and receiver, bytes
        self.received: list[dict[str, list[int]]] = [{} for _ in range(stages)]
        self.messages = 0

    def enter(self, stage: int) -> None:
        """Begin a stage."""
        self._mailroom.enter(stage)
        self._stage = stage

    def send(self, receiver: str, payload: Payload, *, offline: bool = False) -> None:
        """Encode a message and give it to whoever carries it to the receiver; does not wait."""
        if receiver not in self._outgoing:
            raise ValueError(f"{self.name} sends to {receiver!r}; there are {', '.join(self._outgoing)}")
        self._mailroom.raise_if_broken()
        data = encode(payload)
        self._outgoing[receiver].give(self._stage, data, offline=offline)
        self.sent[self._stage].setdefault(receiver, []).append(len(data))
        self.messages += 1

    async def receive(self, sender: str) -> Payload:
        """The next message of a party; blocks this process's one coroutine until it is there."""
        frame = self._mailroom.take(sender)
        self.received[self._stage].setdefault(sender, []).append(len(frame.data))
        try:
            return decode(frame.data)
        except CodecError as error:
            raise CodecError(f"what {sender} sent to {self.name}: {error}") from None

    def flush(self) -> None:
        """Wait until all that was sent has been let in.

        Raises:
            PartySilent: somebody did not take it in time.
        """
        for way in self._outgoing.values():
            way.flush()
        self._mailroom.raise_if_broken()


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Play a coroutine whose endpoint blocks: it never hands control back before its end.

    Raises:
        RuntimeError: it awaits something else than its endpoint.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    coroutine.close()
    raise RuntimeError(f"a party awaits only its endpoint, not {awaited!r}")
