"""What a round sends, by how many clients take part: metered on a real wire, or by the defenses' cost models."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch

from fl_attack_bench import aggregation, models
from fl_attack_bench.aggregation import Bytes, Contribution, Party, Round, RoundFailed
from fl_attack_bench.api import ClientState, HorizontalDefense
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.models.network import Shape
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout, Update
from fl_attack_bench.wire import SERVER, Wire, client

Kind = Literal["measured", "modelled", "skipped"]


@dataclass(frozen=True)
class Row:
    """A defense among so many clients.

    Args:
        defense: with its parameters, on one line.
        clients: that take part in the round.
        kind: whether the bytes were metered or modelled; ``skipped`` where the defense cannot be played so.
        bytes: of one client; a mean where they differ, and 0 where it was skipped.
        reason: why it was skipped.
    """

    defense: str
    clients: int
    kind: Kind
    bytes: Bytes
    reason: str = ""

    @property
    def total(self) -> int:
        """Bytes of all clients together, each message once."""
        return round(self.clients * self.bytes.total)


def network(model: Model, image_shape: Shape, classes: int) -> tuple[Layout, int]:
    """The layout of a network's updates, and how many running statistics of batch norm it has.

    Raises:
        UserError: as :func:`fl_attack_bench.models.build`.
    """
    built = FlatModel(models.build(model, image_shape, classes, torch.Generator()), torch.device("cpu"))
    return built.layout, built.statistics.numel()


def modelled(defense: HorizontalDefense, layout: Layout, statistics: int, clients: int) -> Bytes:
    """By the defense's cost model; nothing is sent.

    Raises:
        SkipCell: as :meth:`HorizontalDefense.traffic`.
    """
    return defense.traffic(layout, statistics, clients)


def measured(defense: HorizontalDefense, layout: Layout, statistics: int, clients: int, streams: Streams) -> Bytes:
    """By playing one round over a wire: the real protocol from end to end, with random updates and no training.

    Args:
        defense: that all follow.
        layout: names the slices of an update.
        statistics: how many running statistics each client contributes.
        clients: how many there are; all stay to the end.
        streams: of the updates, and of what the defense draws.

    Raises:
        SkipCell: the defense cannot be played by so many.
        RoundFailed: no mean came out.
    """
    names = tuple(map(client, range(clients)))
    round = Round("communication", 0, names, layout, statistics)
    collector = defense.collector(round, {})
    parties = {name: _member(defense, name, round, streams) for name in names}
    wire = Wire()
    aggregation.play(defense.steps, {**parties, SERVER: collector}, wire, round.number)
    collector.mean()
    return _metered(wire, clients)


def _member(defense: HorizontalDefense, name: str, round: Round, streams: Streams) -> Party:
    size = round.layout.size
    drawn = torch.randn(size + round.statistics, generator=streams.generator("update", name))
    state = ClientState(name, round.number, 1, streams.generator("defense", name))
    return defense.member(Contribution(Update(drawn[:size], round.layout), drawn[size:], 1), state, round)


def _metered(wire: Wire, clients: int) -> Bytes:
    up = down = sent = 0
    for phase in wire.phases:
        up += phase.traffic[SERVER].received
        down += phase.traffic[SERVER].sent
        sent += sum(traffic.sent for name, traffic in phase.traffic.items() if name != SERVER)
    return Bytes.mean(up, down, sent - up, clients)


def table(
    defenses: Mapping[str, HorizontalDefense],
    layout: Layout,
    statistics: int,
    clients: Iterable[int],
    measure_up_to: int,
    streams: Streams,
) -> list[Row]:
    """A row for each defense and number of clients: measured up to a number, modelled beyond.

    Args:
        defenses: by label.
        layout: names the slices of an update.
        statistics: how many running statistics the network has.
        clients: the numbers, in the rows' order.
        measure_up_to: the last one that is measured; 0 for none.
        streams: of the measured rounds.
    """
    counts = list(clients)
    return [
        _row(label, defense, layout, statistics, number, streams if number <= measure_up_to else None)
        for label, defense in defenses.items()
        for number in counts
    ]


def _row(
    label: str, defense: HorizontalDefense, layout: Layout, statistics: int, clients: int, streams: Streams | None
) -> Row:
    try:
        if streams is None:
            return Row(label, clients, "modelled", modelled(defense, layout, statistics, clients))
        drawn = streams.child(label, clients)
        return Row(label, clients, "measured", measured(defense, layout, statistics, clients, drawn))
    except (SkipCell, RoundFailed) as why:
        return Row(label, clients, "skipped", Bytes(), str(why))


def curve(
    defense: HorizontalDefense, layout: Layout, statistics: int, clients: Iterable[int]
) -> list[tuple[int, float]]:
    """The model's bytes per client at these numbers of clients and, for a smooth line, at 1, 2, 5, 10, ... between.

    Numbers that the defense has no model for are left out.
    """
    ends = sorted(set(clients))
    powers = range(len(str(ends[-1])))
    between = {digit * 10**power for power in powers for digit in (1, 2, 5)}
    numbers = sorted({*ends, *(number for number in between if ends[0] < number < ends[-1])})
    found = []
    for number in numbers:
        with suppress(SkipCell):
            found.append((number, modelled(defense, layout, statistics, number).total))
    return found
