"""What a curious server gets to see of its victims: the same protocol as in training, played once more, watched."""

from collections.abc import Sequence
from dataclasses import replace

from fl_attack_bench.aggregation import UPDATE, Stopwatch
from fl_attack_bench.api import HorizontalDefense, HorizontalView, LocalPlan, Message, Observation, SeenRound
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.scenarios.horizontal import Client, LocalWork, Samples, Server, Snapshot, converse
from fl_attack_bench.seeds import Streams
from fl_attack_bench.wire import SERVER, Wire


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
        streams: each victim's own in a round are ``streams.child("client", name, round)``.
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
    converse(wire, server, parties, model, work, number, streams, None, Stopwatch())
    model.load(snapshot.weights, snapshot.statistics)
    messages, known = _uploads(wire, parties), replace(plan, earlier=number)
    read = [
        defense.interpret(defense.read(message.payload(), model.layout), model.layout, known) for message in messages
    ]
    return SeenRound(model.public(), messages, Observation.stack(read).to(model.weights), heard=wire.view())


def _uploads(wire: Wire, parties: Sequence[Client]) -> tuple[Message, ...]:
    """What each party told the server about its update, in the parties' order."""
    sent = {message.sender: message for message in wire.view() if message.topic == UPDATE}
    return tuple(sent[party.name] for party in parties)
