"""Horizontal federated learning: parties hold different samples of the same kind (McMahan et al. 2017, algorithm 1).

Each round the server sends its model to the sampled clients; each takes local SGD steps and uploads, through the
defense, the sum of its steps' gradients; the server averages by sample counts and takes one step with the same learning
rate. FedSGD is the special case of one step on all of a client's samples. Running statistics of batch norm are no
parameters: by default they travel beside the upload in the clear and are averaged likewise, as do the sample counts.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fl_attack_bench import aggregation
from fl_attack_bench.aggregation import Collector, Contribution, Round, RoundFailed, Stopwatch, dense
from fl_attack_bench.api import (
    ActiveAttack,
    ClientState,
    Exposure,
    HorizontalDefense,
    LocalPlan,
    LocalStep,
    Party,
    Said,
    Update,
)
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.errors import UserError
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Training
from fl_attack_bench.wire import SERVER, Wire, client


@dataclass(frozen=True)
class Samples:
    """Images ``(N, C, H, W)`` in [0, 1] with their labels ``(N,)``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, rows: Tensor) -> "Samples":
        """The samples at these rows."""
        return Samples(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class LocalWork:
    """How a client trains: epochs of mini-batches, or of one step on all samples where there is no batch size."""

    learning_rate: float
    epochs: int = 1
    batch_size: int | None = None

    @classmethod
    def of(cls, training: Training) -> "LocalWork":
        """The local work that a suite's training asks for."""
        if training.algorithm == "fedsgd":
            return cls(training.learning_rate)
        return cls(training.learning_rate, training.local_epochs, training.batch_size)

    def plan(self, samples: int) -> LocalPlan:
        """The same for a client with so many samples."""
        return LocalPlan(samples, self.epochs, min(self.batch_size or samples, samples), self.learning_rate)


@dataclass(frozen=True)
class Snapshot:
    """A global model: its weights, and its running statistics."""

    weights: Tensor
    statistics: Tensor


@dataclass
class Client:
    """An honest client.

    Args:
        name: its party name on the wire.
        samples: its private data.
        defense: that it follows.
        memory: what its defense keeps from round to round.
    """

    name: str
    samples: Samples
    defense: HorizontalDefense
    memory: dict[str, Tensor] = field(default_factory=dict)

    def train(
        self, received: Payload, model: FlatModel, work: LocalWork, streams: Streams, watch: Stopwatch
    ) -> tuple[Contribution, torch.Generator]:
        """Train on the received model; returns what there is to contribute, and the defense's random stream."""
        began, clock, defending = watch.clock(), watch.clock, 0.0
        model.load(dense(received, "weights"), dense(received, "statistics"))
        rng = streams.generator("defense")
        update = Update(torch.zeros_like(model.weights), model.layout)
        for rows in self._batches(work, streams.generator("order")):
            batch = self.samples.pick(rows)
            gradient = model.gradient(batch.images, batch.labels)
            asked = clock()
            step = LocalStep(model.module, batch.images, batch.labels, rng)
            changed = self.defense.local_gradient(Update(gradient, model.layout), step).flat
            defending += clock() - asked
            update.flat.add_(changed)
            model.weights.sub_(changed, alpha=work.learning_rate)
        watch.add(self.name, defending, clock() - began - defending)
        return Contribution(update, model.statistics, len(self.samples)), rng

    def party(self, contribution: Contribution, round: Round, rng: torch.Generator) -> Party:
        """Its side of the round's aggregation."""
        state = ClientState(self.name, round.number, contribution.samples, rng, self.memory)
        return self.defense.member(contribution, state, round)

    def _batches(self, work: LocalWork, order: torch.Generator) -> list[Tensor]:
        count = len(self.samples)
        if work.batch_size is None:
            return [torch.arange(count)] * work.epochs
        return [
            rows for _ in range(work.epochs) for rows in torch.randperm(count, generator=order).split(work.batch_size)
        ]


class Server:
    """The honest-but-curious server: it follows the protocol, and whoever watches it sees what it receives."""

    def __init__(self, model: FlatModel, defense: HorizontalDefense, learning_rate: float) -> None:
        self._defense = defense
        self._learning_rate = learning_rate
        self.memory: dict[str, Tensor] = {}
        self.failures: list[str] = []
        self.incidents: list[str] = []
        self.weights, self.statistics = model.weights.cpu().clone(), model.statistics.cpu().clone()

    def snapshot(self) -> Snapshot:
        """The global model as it is now."""
        return Snapshot(self.weights, self.statistics)

    def model(self) -> Payload:
        """What it sends out each round."""
        return Payload({"weights": Dense(self.weights), "statistics": Dense(self.statistics)})

    def party(self, round: Round) -> Collector:
        """Its side of the round's aggregation."""
        return self._defense.collector(round, self.memory)

    def take(self, collector: Collector) -> bool:
        """Step along the round's mean; False, with the model left alone, where that is not finite.

        Raises:
            RoundFailed: the round has no mean.
        """
        mean = collector.mean()
        weights = self.weights - self._learning_rate * mean.update.flat
        if not bool(weights.isfinite().all() and mean.statistics.isfinite().all()):
            return False
        self.weights = weights
        if self.statistics.numel():
            self.statistics = mean.statistics
        return True


@dataclass
class Trained:
    """What a federation leaves behind.

    Args:
        weights: the last finite global model.
        statistics: its running statistics.
        curve: ``(round, accuracy)``.
        losses: ``(round, mean cross entropy)`` on the test set.
        diverged: whether an average ran off; the training then stopped early.
        wire: with the traffic of every phase.
        exposure: for privacy accounting.
        first: the models that the first rounds began with, as many as were asked for.
        last: the last ones, oldest first; ends with the trained model.
        failures: rounds that had no mean, and why; the model stayed as it was.
        incidents: what the server noticed and went on in spite of.
    """

    weights: Tensor
    statistics: Tensor
    curve: list[tuple[int, float]]
    losses: list[tuple[int, float]]
    diverged: bool
    wire: Wire
    exposure: Exposure
    first: list[Snapshot]
    last: list[Snapshot]
    failures: list[str]
    incidents: list[str]


@dataclass(frozen=True)
class Adversary:
    """Clients that an active attack controls.

    Args:
        attack: what they do.
        clients: how many: the federation's first ones.
        streams: its randomness, by round.
    """

    attack: ActiveAttack
    clients: int
    streams: Streams

    def controls(self, name: str) -> bool:
        """Whether this client is one of its own."""
        return name in {client(number) for number in range(self.clients)}


def train(
    training: Training,
    model: FlatModel,
    devices: Sequence[Samples],
    test: Samples,
    defense: HorizontalDefense,
    streams: Streams,
    keep: int = 1,
    adversary: Adversary | None = None,
) -> Trained:
    """Play all rounds of a federation, from the weights that ``model`` holds.

    Args:
        training: rounds, sampling and local work.
        model: scratch space for the clients' local training, one after the other.
        devices: each client's samples.
        test: for the accuracy curve.
        defense: that everybody follows.
        streams: everything random; ``("sampling", round)``, ``("client", number, round)``.
        keep: models to keep from either end of the training.
        adversary: who departs from the protocol; nobody by default.
    """
    wire = Wire()
    server = Server(model, defense, training.learning_rate)
    clients = [Client(client(number), samples, defense) for number, samples in enumerate(devices)]
    work, course = LocalWork.of(training), _Course(keep, len(clients))
    for round in range(training.rounds):
        course.begin(server.snapshot())
        chosen = torch.randperm(len(clients), generator=streams.generator("sampling", round))[: training.sampled]
        course.taken[chosen] += 1
        members = [clients[number] for number in sorted(chosen.tolist())]
        course.diverged = not play_round(wire, server, members, model, work, round, streams, adversary)
        if course.diverged or (round + 1) % training.evaluate_every == 0 or round + 1 == training.rounds:
            model.load(server.weights, server.statistics)
            accuracy, loss = model.evaluate(test.images, test.labels)
            course.curve.append((round + 1, accuracy))
            course.losses.append((round + 1, loss))
        if course.diverged:
            break
    exposure = Exposure(
        clients=len(clients),
        sampled=training.sampled,
        rounds=course.curve[-1][0],
        participations=int(course.taken.max()),
        equal_weights=len({len(samples) for samples in devices}) == 1,
        statistics=server.statistics.numel(),
    )
    return course.end(server, wire, exposure)


class _Course:
    """What is written down while a federation trains.

    Args:
        keep: models to keep from either end.
        clients: how many there are.
    """

    def __init__(self, keep: int, clients: int) -> None:
        self.curve: list[tuple[int, float]] = []
        self.losses: list[tuple[int, float]] = []
        self.taken = torch.zeros(clients, dtype=torch.int64)
        self.diverged = False
        self._keep = keep
        self._first: list[Snapshot] = []
        self._last: deque[Snapshot] = deque(maxlen=keep)

    def begin(self, snapshot: Snapshot) -> None:
        """Remember the model that a round begins with, if it is among the first or may be among the last."""
        self._last.append(snapshot)
        if len(self._first) < self._keep:
            self._first.append(snapshot)

    def end(self, server: Server, wire: Wire, exposure: Exposure) -> Trained:
        """All of it, with the model as it is in the end."""
        self._last.append(server.snapshot())
        return Trained(
            weights=server.weights,
            statistics=server.statistics,
            curve=self.curve,
            losses=self.losses,
            diverged=self.diverged,
            wire=wire,
            exposure=exposure,
            first=self._first,
            last=list(self._last),
            failures=server.failures,
            incidents=server.incidents,
        )


def play_round(
    wire: Wire,
    server: Server,
    members: Sequence[Client],
    model: FlatModel,
    work: LocalWork,
    round: int,
    streams: Streams,
    adversary: Adversary | None = None,
    watch: Stopwatch | None = None,
) -> bool:
    """One round of the protocol; False where the average was not finite. A failed one leaves the model as it was."""
    model.module.train()
    watch = watch or Stopwatch()
    collector = converse(wire, server, members, model, work, round, streams, adversary, watch)
    began = watch.clock()
    try:
        return server.take(collector)
    except RoundFailed as failure:
        server.failures.append(f"round {round}: {failure}")
        return True
    finally:
        server.incidents += [f"round {round}: {incident}" for incident in collector.incidents]
        watch.add(SERVER, watch.clock() - began, 0.0)


def converse(
    wire: Wire,
    server: Server,
    members: Sequence[Client],
    model: FlatModel,
    work: LocalWork,
    number: int,
    streams: Streams,
    adversary: Adversary | None,
    watch: Stopwatch,
) -> Collector:
    """Send the model out, let the members train and talk; returns the server's side of what was said."""
    names = tuple(member.name for member in members)
    round = Round(f"{streams.root:x}", number, names, model.layout, server.statistics.numel())
    with wire.phase(number, "model"):
        received = wire.broadcast(SERVER, names, server.model())
    parties: dict[str, Party] = {}
    foul = adversary.streams.child(number) if adversary else Streams(0)
    for member in members:
        contribution, rng = member.train(received, model, work, streams.child("client", member.name, number), watch)
        if adversary and adversary.controls(member.name):
            contribution = adversary.attack.poison(contribution, foul.generator("poison", member.name))
        began = watch.clock()
        parties[member.name] = member.party(contribution, round, rng)
        watch.add(member.name, watch.clock() - began, 0.0)
    if adversary:
        own = {name: party for name, party in parties.items() if adversary.controls(name)}
        known = members[0].defense.protocol
        corrupted = adversary.attack.corrupt(own, round, known, foul.generator("corrupt"))
        if corrupted.keys() != own.keys():
            raise UserError(f"{adversary.attack.card.title}: corrupt must return the clients that it was given")
        parties |= corrupted
    began = watch.clock()
    collector = server.party(round)
    watch.add(SERVER, watch.clock() - began, 0.0)
    if adversary:
        parties = {name: _Shaken(name, party, collector.incidents) for name, party in parties.items()}
    aggregation.play(members[0].defense.steps, {**parties, SERVER: collector}, wire, number, watch)
    return collector


class _Shaken(Party):
    """A client in a federation under attack: what it cannot encode, it does not send.

    Alone, an update that does not fit is an error of the suite's author and ends the job. Here it is the attack's
    doing, in a malicious client's message or in what a spoilt model makes of an honest one.
    """

    def __init__(self, name: str, party: Party, incidents: list[str]) -> None:
        self._name, self._party, self._incidents = name, party, incidents

    def say(self, step: str) -> Said:
        """What it can say."""
        try:
            yield from self._party.say(step)
        except (UserError, ArithmeticError) as error:
            self._incidents.append(f"{self._name}: sends nothing: {error}")

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        """As it does."""
        self._party.hear(step, sender, payload)
