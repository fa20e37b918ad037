"""Horizontal federated learning: parties hold different samples of the same kind (McMahan et al. 2017, algorithm 1).

Each round the server sends its model to the sampled clients; each takes local SGD steps and uploads, through the
defense, the sum of its steps' gradients; the server averages by sample counts and takes one step with the same learning
rate. FedSGD is the special case of one step on all of a client's samples. Running statistics of batch norm are no
parameters: they travel beside the upload in the clear and are averaged likewise, as do the sample counts.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fl_attack_bench.api import (
    ClientState,
    Exposure,
    HorizontalDefense,
    HorizontalView,
    LocalPlan,
    LocalStep,
    Observation,
    SeenRound,
    Update,
)
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.seeds import Streams
from fl_attack_bench.suite import Training
from fl_attack_bench.wire import SERVER, Wire, client

Clock = Callable[[], float]


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
    defense_seconds: float = 0.0

    def answer(
        self,
        received: Payload,
        model: FlatModel,
        work: LocalWork,
        round: int,
        streams: Streams,
        clock: Clock = lambda: 0.0,
    ) -> Payload:
        """Train on the received model and return the upload; ``defense_seconds`` is what the defense took of it."""
        self.defense_seconds = 0.0
        model.load(_dense(received, "weights"), _dense(received, "statistics"))
        rng = streams.generator("defense")
        update = Update(torch.zeros_like(model.weights), model.layout)
        for rows in self._batches(work, streams.generator("order")):
            batch = self.samples.pick(rows)
            gradient = model.gradient(batch.images, batch.labels)
            began = clock()
            step = LocalStep(model.module, batch.images, batch.labels, rng)
            changed = self.defense.local_gradient(Update(gradient, model.layout), step).flat
            self.defense_seconds += clock() - began
            update.flat.add_(changed)
            model.weights.sub_(changed, alpha=work.learning_rate)
        began = clock()
        state = ClientState(self.name, round, len(self.samples), rng, self.memory)
        payload = self.defense.upload(update, state)
        self.defense_seconds += clock() - began
        parts = {**payload.parts, "samples": Dense(torch.tensor([len(self.samples)]))}
        if model.statistics.numel():
            parts["statistics"] = Dense(model.statistics)
        return Payload(parts)

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
        self._defense, self._layout = defense, model.layout
        self._learning_rate = learning_rate
        self.weights, self.statistics = model.weights.cpu().clone(), model.statistics.cpu().clone()

    def snapshot(self) -> Snapshot:
        """The global model as it is now."""
        return Snapshot(self.weights, self.statistics)

    def model(self) -> Payload:
        """What it sends out each round."""
        return Payload({"weights": Dense(self.weights), "statistics": Dense(self.statistics)})

    def take(self, uploads: Sequence[Payload]) -> bool:
        """Average the uploads by sample counts and step; False, with the model left alone, where that is not finite."""
        counts = [int(_dense(upload, "samples")) for upload in uploads]
        shares = [count / sum(counts) for count in counts]
        mean = self._defense.aggregate(uploads, shares, self._layout).flat
        weights = self.weights - self._learning_rate * mean
        if not bool(weights.isfinite().all()):
            return False
        self.weights = weights
        if self.statistics.numel():
            parts = [_dense(upload, "statistics") * share for upload, share in zip(uploads, shares, strict=True)]
            self.statistics = torch.stack(parts).sum(0)
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


def train(
    training: Training,
    model: FlatModel,
    devices: Sequence[Samples],
    test: Samples,
    defense: HorizontalDefense,
    streams: Streams,
    keep: int = 1,
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
    """
    wire = Wire()
    server = Server(model, defense, training.learning_rate)
    clients = [Client(client(number), samples, defense) for number, samples in enumerate(devices)]
    work = LocalWork.of(training)
    curve: list[tuple[int, float]] = []
    losses: list[tuple[int, float]] = []
    taken = torch.zeros(len(clients), dtype=torch.int64)
    diverged = False
    first: list[Snapshot] = []
    last: deque[Snapshot] = deque(maxlen=keep)
    for round in range(training.rounds):
        last.append(server.snapshot())
        if len(first) < keep:
            first.append(last[-1])
        chosen = torch.randperm(len(clients), generator=streams.generator("sampling", round))[: training.sampled]
        members = [clients[number] for number in sorted(chosen.tolist())]
        taken[chosen] += 1
        finite = play_round(wire, server, members, model, work, round, streams)
        diverged = not finite
        if diverged or (round + 1) % training.evaluate_every == 0 or round + 1 == training.rounds:
            model.load(server.weights, server.statistics)
            accuracy, loss = model.evaluate(test.images, test.labels)
            curve.append((round + 1, accuracy))
            losses.append((round + 1, loss))
        if diverged:
            break
    equal = len({len(samples) for samples in devices}) == 1
    exposure = Exposure(
        clients=len(clients),
        sampled=training.sampled,
        rounds=curve[-1][0],
        participations=int(taken.max()),
        equal_weights=equal,
        statistics=server.statistics.numel(),
    )
    last.append(server.snapshot())
    return Trained(server.weights, server.statistics, curve, losses, diverged, wire, exposure, first, list(last))


def play_round(
    wire: Wire,
    server: Server,
    members: Sequence[Client],
    model: FlatModel,
    work: LocalWork,
    round: int,
    streams: Streams,
) -> bool:
    """One round of the protocol; False where the average was not finite."""
    model.module.train()
    with wire.phase(round, "model"):
        received = wire.broadcast(SERVER, [member.name for member in members], server.model())
    answers = [
        member.answer(received, model, work, round, streams.child("client", member.name, round)) for member in members
    ]
    with wire.phase(round, "update"):
        uploads = [wire.send(member.name, SERVER, answer) for member, answer in zip(members, answers, strict=True)]
    return server.take(uploads)


def observe(
    model: FlatModel,
    snapshots: Sequence[Snapshot],
    victims: Sequence[Samples],
    names: Sequence[str],
    defense: HorizontalDefense,
    label: str,
    work: LocalWork,
    streams: Streams,
) -> HorizontalView:
    """What the server gets to see of each victim: a client that takes part in as many rounds as there are models.

    The victims' uploads pass through the same client, defense and wire that the training used; batch norm is in
    evaluation mode, because statistics over a few samples are no statistics.

    Args:
        model: scratch space.
        snapshots: the global models that the server sends, one a round, oldest first.
        victims: each one's samples, as many for each.
        names: their party names.
        defense: that they follow.
        label: the defense with its parameters, as the adversary knows it.
        work: their local work in each round.
        streams: each victim's own in a round are ``streams.child(name, round)``.
    """
    (samples,) = {len(victim) for victim in victims}
    plan = work.plan(samples)
    parties = [Client(name, victim, defense) for name, victim in zip(names, victims, strict=True)]
    rounds = [
        _seen_round(model, snapshot, parties, defense, work, plan, number, streams)
        for number, snapshot in enumerate(snapshots)
    ]
    images = victims[0].images
    return HorizontalView(
        rounds=tuple(rounds),
        layout=model.layout,
        local=plan,
        image_shape=(images.shape[1], images.shape[2], images.shape[3]),
        classes=model.module(images[:1]).shape[1],
        defense=label,
        defense_parameters=defense.parameters,
    )


def _seen_round(
    model: FlatModel,
    snapshot: Snapshot,
    parties: Sequence[Client],
    defense: HorizontalDefense,
    work: LocalWork,
    plan: LocalPlan,
    number: int,
    streams: Streams,
) -> SeenRound:
    wire = Wire(watched={SERVER})
    model.load(snapshot.weights, snapshot.statistics)
    server = Server(model, defense, work.learning_rate)
    model.module.eval()
    with wire.phase(number, "model"):
        received = wire.broadcast(SERVER, [party.name for party in parties], server.model())
    with wire.phase(number, "update"):
        for party in parties:
            answer = party.answer(received, model, work, number, streams.child(party.name, number))
            wire.send(party.name, SERVER, answer)
    model.load(snapshot.weights, snapshot.statistics)
    messages, known = wire.view(), replace(plan, earlier=number)
    read = [
        defense.interpret(defense.read(message.payload(), model.layout), model.layout, known) for message in messages
    ]
    return SeenRound(model.public(), messages, Observation.stack(read).to(model.weights))


def _dense(payload: Payload, name: str) -> Tensor:
    part = payload.parts[name]
    if not isinstance(part, Dense):
        raise TypeError(f"part {name!r} must be dense")
    return part.values
