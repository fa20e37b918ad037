"""The same protocol in one process and with every party as a process of its own: results, bytes, seconds."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from fl_attack_bench.api import OWNER, OutsourcedDefense
from fl_attack_bench.link import Link
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.processes.framing import Framing, measured
from fl_attack_bench.processes.play import Play, Played, Tally, play
from fl_attack_bench.processes.schedule import INFERENCE, SETUP, TRAINING, WEIGHTS, check
from fl_attack_bench.scenarios.outsourced import OFFLINE, Gathering
from fl_attack_bench.wire import Wire

TOLERANCE = 0.02
# A protocol whose secrets cannot be seeded differs from itself; two such differences are of one size.
_NOISE = 10.0


def typical(seconds: Sequence[float]) -> float:
    """The median without the first batch, which warms up; of one batch that one."""
    return median(seconds[1:] or seconds)


@dataclass(frozen=True, eq=False)
class InProcess:
    """What the in-process driver makes of a play.

    Args:
        weights: the owner's after the last step; None where nothing is trained.
        predictions: the owner's, of all predicted samples in order.
        gathering: the parties, with the metered wire and the measured seconds of computing.
    """

    weights: Weights | None
    predictions: Tensor | None
    gathering: Gathering

    def seconds(self, topic: str, link: Link) -> tuple[float, float, float]:
        """Of one batch: computing online, the modelled network, and computing ahead of the data."""
        spent = [one for (name, _), one in self.gathering.spent.items() if name == topic]
        network = sum(phase.seconds(link) for phase in self.gathering.wire.phases if phase.topic == topic)
        online, ahead = typical([one.online for one in spent]), typical([one.ahead for one in spent])
        return online, network / max(1, len(spent)), ahead

    def bytes(self, party: str, topics: tuple[str, ...]) -> tuple[int, int]:
        """What the wire metered that a party sent and received in these topics, offline included."""
        names = {name + suffix for name in topics for suffix in ("", OFFLINE)}
        phases = [phase for phase in self.gathering.wire.phases if phase.topic in names]
        own = [phase.traffic[party] for phase in phases if party in phase.traffic]
        return sum(traffic.sent for traffic in own), sum(traffic.received for traffic in own)


def in_process(what: Play, defense: OutsourcedDefense) -> InProcess:
    """Play all stages in this process, over the metered wire."""
    gathering = Gathering(defense.parties(what.plan), what.holdings, Wire(), time.perf_counter, what.streams)
    parties = gathering.parties
    gathering.run(SETUP, 0, {name: party.setup() for name, party in parties.items()})
    weights, predictions = None, []
    for number, rows in enumerate(what.batches):
        gathering.run(TRAINING, number, {name: party.step(rows.clone()) for name, party in parties.items()})
    if what.batches:
        weights = gathering.run(WEIGHTS, 0, {name: party.weights() for name, party in parties.items()})[OWNER]
    for number, new in enumerate(what.features):
        calls = {name: party.predict(len(new), new if name == OWNER else None) for name, party in parties.items()}
        predictions.append(gathering.run(INFERENCE, number, calls)[OWNER])
    return InProcess(weights, torch.cat(predictions) if predictions else None, gathering)


@dataclass(frozen=True)
class Row:
    """One party's bytes over all stages.

    Args:
        party: its name.
        sent: metered: the codec's bytes of its messages.
        received: likewise.
        wire_sent: metered by the in-process driver.
        wire_received: likewise.
        socket_sent: counted by the kernel.
        socket_received: likewise.
        framing_sent: what the transport adds, as measured with calls that carry nothing.
        framing_received: likewise.
        messages: that it sent.
        computing: seconds of the processor in one training step, or one prediction where nothing is trained.
    """

    party: str
    sent: int
    received: int
    wire_sent: int
    wire_received: int
    socket_sent: int
    socket_received: int
    framing_sent: float
    framing_received: float
    messages: int
    computing: float

    @property
    def off(self) -> float:
        """The share by which the sockets' bytes, both ways together, are more than the metered ones plus framing."""
        expected = self.wire_sent + self.wire_received + self.framing_sent + self.framing_received
        counted = self.socket_sent + self.socket_received
        return counted / expected - 1 if expected else float(counted > 0)

    @property
    def metered_alike(self) -> bool:
        """Whether the party's own meter and the in-process wire's agree to the byte."""
        return (self.sent, self.received) == (self.wire_sent, self.wire_received)


def rows(played: Played, reference: InProcess, framing: Framing) -> list[Row]:
    """The bytes of every party, over all stages that were played."""
    names = list(reference.gathering.names)
    topics = tuple(played.tallies)
    timed = next(topic for topic in (TRAINING, INFERENCE, SETUP) if topic in topics)
    found = []
    for name in names:
        computing = typical(played.tallies[timed][name].computing)
        found.append(_row(name, _over_topics(played, name), computing, reference.bytes(name, topics), framing))
    return found


def _over_topics(played: Played, name: str) -> Tally:
    found = Tally()
    for tallies in played.tallies.values():
        one = tallies[name]
        for into, sizes in ((found.sent, one.sent), (found.received, one.received)):
            for peer, each in sizes.items():
                into.setdefault(peer, []).extend(each)
        found.socket_sent += one.socket_sent
        found.socket_received += one.socket_received
    return found


def _row(name: str, own: Tally, computing: float, metered: tuple[int, int], framing: Framing) -> Row:
    up = sum(framing.up(name, sizes) for sizes in own.sent.values())
    down = sum(framing.down(sizes) for sizes in own.sent.values())
    up_in = sum(framing.up(peer, sizes) for peer, sizes in own.received.items())
    down_in = sum(framing.down(sizes) for sizes in own.received.values())
    return Row(
        party=name,
        sent=sum(map(sum, own.sent.values())),
        received=sum(map(sum, own.received.values())),
        wire_sent=metered[0],
        wire_received=metered[1],
        socket_sent=own.socket_sent,
        socket_received=own.socket_received,
        framing_sent=up + down_in,
        framing_received=down + up_in,
        messages=sum(map(len, own.sent.values())),
        computing=computing,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both runs side by side.

    Args:
        played: with every party as a process.
        reference: in one process.
        framing: what the transport adds to a message.
        rows: the bytes of every party.
        differences: of each result its name, the largest difference between both runs, and that between two runs in
            one process: 0 where the protocol is reproducible.
    """

    played: Played
    reference: InProcess
    framing: Framing
    rows: list[Row]
    differences: list[tuple[str, float, float]]

    @property
    def seconds(self) -> dict[str, float]:
        """Over loopback, of a training step and of a predicted batch."""
        return {topic: took for topic, took in self.played.seconds.items() if topic in (TRAINING, INFERENCE)}

    @property
    def same(self) -> bool:
        """Whether the results are: bit for bit, or as near as two runs in one process are to each other."""
        return all(difference <= _NOISE * noise for _, difference, noise in self.differences)

    @property
    def bytes_hold(self) -> bool:
        """Whether no party's sockets carried more or less than the metered bytes plus framing, by more than 2%."""
        return all(abs(row.off) <= TOLERANCE for row in self.rows)


def compared(what: Play, defense: OutsourcedDefense, *, seconds: float, threads: int) -> Comparison:
    """Play it both ways.

    Args:
        what: the protocol and its data.
        defense: the protocol, made.
        seconds: how long a party may wait for another one.
        threads: of each process, for torch's operations; their number can change the last bits.

    Raises:
        UserError, SkipCell, PartySilent, PartyFailed: as :func:`fl_attack_bench.processes.play.play`.
    """
    check(what.plan, what.names, what.holdings, what.batches, what.features)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        reference = in_process(what, defense)
        played = play(what, seconds=seconds, threads=threads)
        apart = list(differences(played, reference))
        noise = dict.fromkeys((name for name, _ in apart), 0.0)
        if any(difference > 0 for _, difference in apart):
            noise = dict(differences(in_process(what, defense), reference))
    finally:
        torch.set_num_threads(before)
    framing = measured()
    return Comparison(
        played, reference, framing, rows(played, reference, framing), [(name, d, noise[name]) for name, d in apart]
    )


def differences(one: "Played | InProcess", other: InProcess) -> Iterator[tuple[str, float]]:
    """Of weights and predictions the largest difference; 0 only where they are the same bit for bit."""
    if one.weights is not None or other.weights is not None:
        yield "weights", _apart(one.weights or (), other.weights or ())
    if one.predictions is not None or other.predictions is not None:
        both = [() if found.predictions is None else (found.predictions,) for found in (one, other)]
        yield "predictions", _apart(*both)


def _apart(ours: Weights, theirs: Weights) -> float:
    if [(one.shape, one.dtype) for one in ours] != [(other.shape, other.dtype) for other in theirs]:
        return float("inf")
    pairs = list(zip(ours, theirs, strict=True))
    if all(_bits(one) == _bits(other) for one, other in pairs):
        return 0.0
    largest = max(float((one.double() - other.double()).abs().max()) for one, other in pairs)
    return largest if largest > 0 else float("inf")  # NaN, or zeros of different signs


def _bits(values: Tensor) -> bytes:
    return values.detach().cpu().contiguous().numpy().tobytes()
