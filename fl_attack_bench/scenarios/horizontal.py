"""Horizontal federated learning: parties hold different samples of the same kind (McMahan et al. 2017, algorithm 1).

Each round the server sends its model to the sampled clients; each takes local SGD steps and uploads, through the
defense, the sum of its steps' gradients; the server averages by sample counts and takes one step with the same learning
rate. FedSGD is the special case of one step on all of a client's samples. Running statistics of batch norm are no
parameters: they travel beside the upload in the clear and are averaged likewise, as do the sample counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fl_attack_bench.api import (
    ClientState,
    Exposure,
    HorizontalDefense,
    HorizontalView,
    LocalStep,
    Observation,
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
    """How a client trains: FedSGD's one full step, or epochs of mini-batches."""

    learning_rate: float
    epochs: int = 1
    batch_size: int | None = None

    @classmethod
    def of(cls, training: Training) -> "LocalWork":
        """The local work that a suite's training asks for."""
        if training.algorithm == "fedsgd":
            return cls(training.learning_rate)
        return cls(training.learning_rate, training.local_epochs, training.batch_size)


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
            return [torch.arange(count)]
        return [
            rows for _ in range(work.epochs) for rows in torch.randperm(count, generator=order).split(work.batch_size)
        ]


class Server:
    """The honest-but-curious server: it follows the protocol, and whoever watches it sees what it receives."""

    def __init__(self, model: FlatModel, defense: HorizontalDefense, learning_rate: float) -> None:
        self._defense, self._layout = defense, model.layout
        self._learning_rate = learning_rate
        self.weights, self.statistics = model.weights.cpu().clone(), model.statistics.cpu().clone()

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
        diverged: whether an average ran off; the training then stopped early.
        wire: with the traffic of every phase.
        exposure: for privacy accounting.
    """

    weights: Tensor
    statistics: Tensor
    curve: list[tuple[int, float]]
    diverged: bool
    wire: Wire
    exposure: Exposure


def train(
    training: Training,
    model: FlatModel,
    devices: Sequence[Samples],
    test: Samples,
    defense: HorizontalDefense,
    streams: Streams,
) -> Trained:
    """Play all rounds of a federation, from the weights that ``model`` holds.

    Args:
        training: rounds, sampling and local work.
        model: scratch space for the clients' local training, one after the other.
        devices: each client's samples.
        test: for the accuracy curve.
        defense: that everybody follows.
        streams: everything random; ``("sampling", round)``, ``("client", number, round)``.
    """
    wire = Wire()
    server = Server(model, defense, training.learning_rate)
    clients = [Client(client(number), samples, defense) for number, samples in enumerate(devices)]
    work = LocalWork.of(training)
    curve: list[tuple[int, float]] = []
    taken = torch.zeros(len(clients), dtype=torch.int64)
    diverged = False
    for round in range(training.rounds):
        chosen = torch.randperm(len(clients), generator=streams.generator("sampling", round))[: training.sampled]
        members = [clients[number] for number in sorted(chosen.tolist())]
        taken[chosen] += 1
        finite = play_round(wire, server, members, model, work, round, streams)
        diverged = not finite
        if diverged or (round + 1) % training.evaluate_every == 0 or round + 1 == training.rounds:
            model.load(server.weights, server.statistics)
            curve.append((round + 1, model.accuracy(test.images, test.labels)))
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
    return Trained(server.weights, server.statistics, curve, diverged, wire, exposure)


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
    victims: Samples,
    names: Sequence[str],
    defense: HorizontalDefense,
    label: str,
    learning_rate: float,
    streams: Streams,
) -> HorizontalView:
    """What the server gets to see of each victim: a client with one sample that answers the current model.

    The victims' uploads pass through the same client, defense and wire that the training used; batch norm is in
    evaluation mode, because statistics over a single sample are no statistics.

    Args:
        model: holds the global weights; it is left with them.
        victims: one sample each.
        names: their party names.
        defense: that they follow.
        label: the defense with its parameters, as the adversary knows it.
        learning_rate: of their step.
        streams: each victim's own are ``streams.child(name)``.
    """
    wire = Wire(watched={SERVER})
    server = Server(model, defense, learning_rate)
    model.module.eval()
    with wire.phase(0, "model"):
        received = wire.broadcast(SERVER, names, server.model())
    with wire.phase(0, "update"):
        for row, name in enumerate(names):
            party = Client(name, victims.pick(torch.tensor([row])), defense)
            answer = party.answer(received, model, LocalWork(learning_rate), 0, streams.child(name))
            wire.send(name, SERVER, answer)
    model.load(server.weights, server.statistics)
    messages = wire.view()
    seen = Observation.stack([defense.read(message.payload(), model.layout) for message in messages])
    channels, height, width = victims.images.shape[1:]
    return HorizontalView(
        model=model.public(),
        layout=model.layout,
        messages=messages,
        observed=Observation(seen.values.to(victims.images), seen.sent.to(victims.images.device)),
        learning_rate=learning_rate,
        batch_size=1,
        image_shape=(channels, height, width),
        classes=model.module(victims.images[:1]).shape[1],
        defense=label,
        defense_parameters=defense.parameters,
    )


def _dense(payload: Payload, name: str) -> Tensor:
    part = payload.parts[name]
    if not isinstance(part, Dense):
        raise TypeError(f"part {name!r} must be dense")
    return part.values
