"""Play an outsourced protocol with every party as a process of its own, and stop everything whatever happens."""

import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fl_attack_bench.api import OWNER, Holding, Plan
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.processes.pipe import Note
from fl_attack_bench.processes.schedule import TOPICS, Schedule, check, layers_of, told
from fl_attack_bench.processes.supervisor import PartyFailed, Supervisor
from fl_attack_bench.seeds import Streams
from fl_attack_bench.suite import MethodSpec


@dataclass(frozen=True, eq=False)
class Play:
    """What is played.

    Args:
        defense: the protocol.
        names: of its parties.
        plan: what all of them know.
        holdings: what each brings along.
        batches: of each training step the ids of its samples.
        features: of each prediction the samples, shape ``(B, *inputs)``.
        streams: of a reproducible run; None for unpredictable secrets.
    """

    defense: MethodSpec
    names: tuple[str, ...]
    plan: Plan
    holdings: Mapping[str, Holding]
    batches: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    streams: Streams | None


@dataclass
class Tally:
    """What one party sent and received in the stages of one topic.

    Args:
        sent: of each receiver the codec's bytes of each message.
        received: of each sender likewise.
        socket_sent: bytes that the kernel counted.
        socket_received: likewise.
        computing: of each stage the seconds of the processor in the party's own thread.
    """

    sent: dict[str, list[int]] = field(default_factory=dict)
    received: dict[str, list[int]] = field(default_factory=dict)
    socket_sent: int = 0
    socket_received: int = 0
    computing: list[float] = field(default_factory=list)


@dataclass
class Played:
    """What came out.

    Args:
        weights: the owner's network after the last step; None where the protocol gives it none.
        predictions: the owner's, of all predicted samples in order, shape ``(samples, outputs)``.
        tallies: by topic and party.
        seconds: by topic, of a batch, from the first party's beginning to the last one's end: the mean over all
            batches but the first, which warms up; of one batch that one.
    """

    weights: Weights | None = None
    predictions: Tensor | None = None
    tallies: dict[str, dict[str, Tally]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def play(
    what: Play, *, seconds: float = 60.0, threads: int = 1, started: Callable[[dict[str, int]], None] | None = None
) -> Played:
    """Start all parties, play all stages, collect the owner's results; no process is left behind.

    Args:
        what: the protocol and its data.
        seconds: how long a party may wait for another one, or be silent itself.
        threads: of each process, for torch's operations.
        started: called with the process ids by party's name, once all parties stand ready.

    Raises:
        UserError: shapes that do not match, parties that do not exist.
        SkipCell: the protocol cannot compute this network.
        PartySilent: a party died or stopped answering; the text names it and who waited for it.
        PartyFailed: a party failed.
    """
    schedule = Schedule(what.batches, tuple(len(features) for features in what.features))
    check(what.plan, what.names, what.holdings, what.batches, what.features)
    with tempfile.TemporaryDirectory(prefix="flab-parties-") as folder, Supervisor(folder, seconds) as supervisor:
        supervisor.start(what.names, threads)
        tokens = {one: {other: secrets.token_hex(16) for other in what.names if other != one} for one in what.names}
        briefs = {name: _brief(what, schedule, name, tokens, seconds, threads) for name in what.names}
        ports = {name: note.head["port"] for name, note in supervisor.asked("enter", briefs).items()}
        supervisor.stages = schedule.named
        supervisor.asked("meet", {name: Note({"ports": ports}) for name in what.names})
        if started is not None:
            started({name: child.process.pid for name, child in supervisor.children.items()})
        return _stages(supervisor, schedule)


def _brief(
    what: Play, schedule: Schedule, name: str, tokens: Mapping[str, Mapping[str, str]], seconds: float, threads: int
) -> Note:
    brief = {
        "party": name,
        "defense": what.defense.model_dump(),
        "layers": layers_of(what.plan),
        "samples": what.plan.samples,
        "batch_size": what.plan.batch_size,
        "learning_rate": what.plan.learning_rate,
        "steps": [len(rows) for rows in what.batches],
        "predicted": schedule.predicted,
        "root": None if what.streams is None else what.streams.root,
        "seconds": seconds,
        "threads": threads,
        "speaks": tokens[name],
        "hears": {other: tokens[other][name] for other in what.names if other != name},
    }
    new = what.features if name == OWNER else ()
    return Note({"brief": brief}, told(what.holdings.get(name, Holding()), schedule, new))


def _stages(supervisor: Supervisor, schedule: Schedule) -> Played:
    played, counted = Played(), dict.fromkeys(supervisor.children, (0, 0))
    for topic in TOPICS:
        first, last = schedule.of(topic)
        if first == last:
            continue
        tallies = {name: Tally() for name in supervisor.children}
        for begin, end in ((first, first + 1), (first + 1, last)):
            if begin < end:
                orders = dict.fromkeys(tallies, Note({"first": begin, "last": end}))
                done = supervisor.asked("play", orders, end - 1)
                began = min(note.head["began"] for note in done.values())
                ended = max(note.head["ended"] for note in done.values())
                played.seconds[topic] = (ended - began) / (end - begin)
                _collect(played, done)
                for name, note in done.items():
                    tallies[name].computing += note.head["computing"]
        for name, note in supervisor.asked("count", dict.fromkeys(tallies, Note({}))).items():
            sent, received = note.head["socket_sent"], note.head["socket_received"]
            tally = tallies[name]
            tally.sent, tally.received = (_merged(note.head[way][first:last]) for way in ("sent", "received"))
            tally.socket_sent, tally.socket_received = sent - counted[name][0], received - counted[name][1]
            counted[name] = sent, received
        played.tallies[topic] = tallies
    return played


def _collect(played: Played, done: Mapping[str, Note]) -> None:
    for name, note in done.items():
        if note.tensors and name != OWNER:
            raise PartyFailed(f"{name} has results that only {OWNER} may have: {', '.join(note.tensors)}")
    tensors = done[OWNER].tensors
    weights = tuple(tensors[f"weights/{place}"] for place in range(len(tensors)) if f"weights/{place}" in tensors)
    played.weights = weights or played.weights
    if "predictions" in tensors:
        before = () if played.predictions is None else (played.predictions,)
        played.predictions = torch.cat((*before, tensors["predictions"]))


def _merged(stages: Sequence[Mapping[str, list[int]]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for stage in stages:
        for peer, sizes in stage.items():
            found.setdefault(peer, []).extend(sizes)
    return found
