"""How the updates of one round become their mean: parties that say and hear, step by step.

A protocol is a sequence of named steps. In each one every party says what it has to say, by receiver; all of it travels
over the wire, and whoever gets it hears it. The server is a party like the clients, and a party that departs from the
protocol is one that says something else: the honest code has no branch for it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fl_attack_bench.codec import CodecError, Dense, Payload, Sparse, decode, encode
from fl_attack_bench.update import Layout, Update
from fl_attack_bench.wire import SERVER, Wire

UPDATE = "update"
# A client's weight is what it says it is; beyond this nobody else's would count.
MOST_SAMPLES = 2**24
Said = Iterable[tuple[str, Payload]]


class RoundFailed(Exception):  # noqa: N818 - an outcome of the protocol: the model stays as it was, and it is recorded
    """No mean came out of a round; the message says why, with numbers."""


@dataclass(frozen=True)
class Round:
    """What everybody in a round knows of it.

    Args:
        task: names the federation, so that a signature given in one is worth nothing in another.
        number: from 0.
        members: the clients that take part, in order.
        layout: names the slices of an update.
        statistics: how many running statistics of batch norm the network has.
    """

    task: str
    number: int
    members: tuple[str, ...]
    layout: Layout
    statistics: int = 0


@dataclass(frozen=True)
class Contribution:
    """What one client brings to a round.

    Args:
        update: the sum of the gradients of its local steps.
        statistics: its running statistics of batch norm, shape ``(S,)``; empty where there are none.
        samples: how many it trained on: its weight in the mean.
    """

    update: Update
    statistics: Tensor
    samples: int


@dataclass(frozen=True)
class Mean:
    """Weighted means over the clients whose contributions came.

    Args:
        update: of their updates.
        statistics: of their running statistics.
    """

    update: Update
    statistics: Tensor


@dataclass(frozen=True)
class Bytes:
    """What one client causes on the wire in one round beside the model; a mean where the clients differ.

    Args:
        up: bytes to the server.
        down: bytes from the server.
        peers: bytes to other clients.
    """

    up: float = 0
    down: float = 0
    peers: float = 0

    @classmethod
    def mean(cls, up: int, down: int, peers: int, clients: int) -> "Bytes":
        """Of what so many clients caused together; an exact int where that is a whole number."""
        return cls(*(n / clients if n % clients else n // clients for n in (up, down, peers)))

    def __add__(self, other: "Bytes") -> "Bytes":
        return Bytes(self.up + other.up, self.down + other.down, self.peers + other.peers)

    @property
    def total(self) -> float:
        """All three: each message of a round counts for one client, so that the clients' totals sum to the round's."""
        return self.up + self.down + self.peers


class Party(ABC):
    """One party in one round."""

    @abstractmethod
    def say(self, step: str) -> Said:
        """What it sends in this step: receivers with payloads. Nothing it hears in the same step may matter to it."""

    @abstractmethod
    def hear(self, step: str, sender: str, payload: Payload) -> None:
        """Take a message of this step; a payload that is not what the protocol asks for is the sender's fault."""


class Collector(Party):
    """The server's side of a round.

    Args:
        incidents: what it noticed and went on in spite of: who was rejected, who altered what.
    """

    def __init__(self) -> None:
        self.incidents: list[str] = []

    @abstractmethod
    def mean(self) -> Mean:
        """The result, once all steps are over.

        Raises:
            RoundFailed: there is none.
        """


@dataclass
class Stopwatch:
    """Seconds by party name.

    Args:
        clock: device-synchronised; one that always says 0 measures nothing.
        speaking: in which the party made up what it says, or took in what it heard.
        total: the same with encoding and decoding.
    """

    clock: Callable[[], float] = lambda: 0.0
    speaking: MutableMapping[str, float] = field(default_factory=dict)
    total: MutableMapping[str, float] = field(default_factory=dict)

    def add(self, party: str, speaking: float, coding: float) -> None:
        """Count seconds."""
        self.speaking[party] = self.speaking.get(party, 0.0) + speaking
        self.total[party] = self.total.get(party, 0.0) + speaking + coding


def play(
    steps: Sequence[str], parties: Mapping[str, Party], wire: Wire, round: int, watch: Stopwatch | None = None
) -> None:
    """Let the parties talk to each other, step by step.

    Messages of one step travel at the same time. They are heard one by one as they are made, so that never more than
    one sender's are in memory; a party that departs from the protocol may make use of that and speak last.
    """
    watch = watch or Stopwatch()
    for step in steps:
        with wire.phase(round, step):
            for sender, party in parties.items():
                _speak(step, sender, party, parties, wire, watch)


def _speak(step: str, sender: str, party: Party, parties: Mapping[str, Party], wire: Wire, watch: Stopwatch) -> None:
    clock = watch.clock
    said = iter(party.say(step))
    while True:
        began = clock()
        following = next(said, None)
        made = clock()
        if following is None:
            watch.add(sender, made - began, 0.0)
            return
        receiver, payload = following
        data = encode(payload)
        watch.add(sender, made - began, clock() - made)
        wire.carry(sender, receiver, data)
        if receiver not in parties:
            continue
        began = clock()
        heard = decode(data)
        decoded = clock()
        _hear(parties[receiver], step, sender, heard)
        watch.add(receiver, clock() - decoded, decoded - began)


def _hear(party: Party, step: str, sender: str, payload: Payload) -> None:
    """A message that makes no sense counts as one that did not come."""
    try:
        party.hear(step, sender, payload)
    except CodecError as error:
        if isinstance(party, Collector):
            party.incidents.append(f"{sender}: {error}")


Aggregate = Callable[[Sequence[Payload], Sequence[float], Layout], Update]


class Uploading(Party):
    """A client whose whole part is one upload to the server, with its sample count and statistics in the clear."""

    def __init__(self, upload: Callable[[], Payload], contribution: Contribution) -> None:
        self._upload, self._contribution = upload, contribution

    def say(self, step: str) -> Said:
        """The upload."""
        if step != UPDATE:
            return
        parts = {**self._upload().parts, "samples": Dense(torch.tensor([self._contribution.samples]))}
        if self._contribution.statistics.numel():
            parts["statistics"] = Dense(self._contribution.statistics)
        yield SERVER, Payload(parts)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        """Nobody has anything to say to it."""


class Averaging(Collector):
    """A server that averages what is uploaded by sample counts.

    Args:
        aggregate: the defense's own, of payloads and weights that sum to 1.
        round: the round.
    """

    def __init__(self, aggregate: Aggregate, round: Round) -> None:
        super().__init__()
        self._aggregate, self._round = aggregate, round
        self._uploads: dict[str, Payload] = {}

    def say(self, step: str) -> Said:
        """It only listens."""
        del step
        return ()

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        """Keep the upload, if it can be averaged with the others."""
        if step != UPDATE:
            return
        samples, part = int(dense(payload, "samples", torch.int64, (1,))), payload.parts.get("update")
        if sender not in self._round.members or not 1 <= samples <= MOST_SAMPLES:
            raise CodecError(f"an upload for {samples} samples; from 1 to {MOST_SAMPLES} of a member are believed")
        if self._round.statistics:
            dense(payload, "statistics", torch.float32, (self._round.statistics,))
        length = part.length if isinstance(part, Sparse) else part.values.numel() if part else self._round.layout.size
        if length != self._round.layout.size:
            raise CodecError(f"an update of {length} entries in place of {self._round.layout.size}")
        self._uploads[sender] = payload

    def mean(self) -> Mean:
        """The mean of what came, in the members' order.

        Raises:
            RoundFailed: nobody sent anything.
        """
        uploads = [self._uploads[name] for name in self._round.members if name in self._uploads]
        if not uploads:
            raise RoundFailed(f"none of {len(self._round.members)} clients sent an update")
        counts = [int(dense(upload, "samples")) for upload in uploads]
        shares = [count / sum(counts) for count in counts]
        update = self._aggregate(uploads, shares, self._round.layout)
        if not self._round.statistics:
            return Mean(update, torch.zeros(0))
        parts = [dense(upload, "statistics") * share for upload, share in zip(uploads, shares, strict=True)]
        return Mean(update, torch.stack(parts).sum(0))


def dense(
    payload: Payload, name: str, dtype: torch.dtype | None = None, shape: tuple[int, ...] | None = None
) -> Tensor:
    """The tensor of a dense part.

    Args:
        payload: what was heard.
        name: of the part.
        dtype: that it must have; any by default.
        shape: that it must have; any by default.

    Raises:
        CodecError: there is no such part, it is sparse, or not as it must be.
    """
    part = payload.parts.get(name)
    if not isinstance(part, Dense):
        raise CodecError(f"no dense part {name!r} in a payload of {', '.join(payload.parts) or 'nothing'}")
    found = part.values
    if dtype not in (None, found.dtype) or shape not in (None, tuple(found.shape)):
        raise CodecError(f"{name!r} is {found.dtype} of shape {tuple(found.shape)} in place of {dtype} of {shape}")
    return found
