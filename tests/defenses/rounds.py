"""One round of a defense among clients whose updates are given, over a real wire."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from fl_attack_bench import aggregation, registry
from fl_attack_bench.aggregation import Said
from fl_attack_bench.api import (
    SERVER,
    ClientState,
    Collector,
    Contribution,
    HorizontalDefense,
    Layout,
    Party,
    Payload,
    Round,
    Update,
)
from fl_attack_bench.codec import Dense
from fl_attack_bench.method import build
from fl_attack_bench.wire import Wire, client

LAYOUT = Layout(("conv.weight", "conv.bias", "dense.weight", "dense.bias"), ((4, 3), (4,), (2, 4), (2,)))


def made(name: str, **parameters: object) -> HorizontalDefense:
    """A registered defense with these parameters."""
    found = build(registry.find("defense", name).cls, parameters)
    assert isinstance(found, HorizontalDefense)
    return found


def updates(count: int, seed: int = 0) -> Tensor:
    """Standard normal ones, shape ``(count, LAYOUT.size)``."""
    return torch.randn(count, LAYOUT.size, generator=torch.Generator().manual_seed(seed))


def party(defense: HorizontalDefense, place: int, given: Tensor) -> Party:
    """An honest client of a round of as many as there are updates."""
    names = tuple(client(n) for n in range(len(given)))
    state = ClientState(names[place], 0, 1, torch.Generator().manual_seed(place))
    contribution = Contribution(Update(given[place], LAYOUT), torch.zeros(0), 1)
    return defense.member(contribution, state, Round("test", 0, names, LAYOUT))


class Garbling(Party):
    """Sends what fits no protocol, in one step."""

    def __init__(
        self, honest: Party, garbled: str, parts: Mapping[str, Tensor], receivers: Sequence[str] = (SERVER,)
    ) -> None:
        self._honest, self._garbled, self._receivers = honest, garbled, receivers
        self._parts = {name: Dense(tensor) for name, tensor in parts.items()}

    def say(self, step: str) -> Said:
        if step != self._garbled:
            yield from self._honest.say(step)
            return
        for receiver in self._receivers:
            yield receiver, Payload(self._parts)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)


class Vanishing(Party):
    """A party that says nothing any more from a step on."""

    def __init__(self, honest: Party, steps: Sequence[str], last: str) -> None:
        self._honest = honest
        self._silent = set(steps[steps.index(last) :])

    def say(self, step: str) -> Said:
        return () if step in self._silent else self._honest.say(step)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        if step not in self._silent:
            self._honest.hear(step, sender, payload)


def round_of(
    defense: HorizontalDefense,
    updates: Tensor,
    samples: Sequence[int] | None = None,
    statistics: Tensor | None = None,
    layout: Layout = LAYOUT,
    drop: Mapping[int, str] | None = None,
    replace: Mapping[int, Party] | None = None,
    watched: Collection[str] = (SERVER,),
    number: int = 0,
    memories: Sequence[dict[str, Tensor]] | None = None,
    memory: dict[str, Tensor] | None = None,
) -> tuple[Collector, Wire]:
    """The server's side and the wire after a round of clients with these updates, shape ``(m, layout.size)``.

    ``drop`` names the step in which a client falls silent; ``replace`` puts other parties in the place of clients.
    """
    count = len(updates)
    extra = statistics if statistics is not None else torch.zeros(count, 0)
    names = tuple(client(place) for place in range(count))
    round = Round("test", number, names, layout, extra.shape[1])
    parties: dict[str, Party] = {}
    for place, name in enumerate(names):
        weight = samples[place] if samples is not None else 1
        state = ClientState(
            name, number, weight, torch.Generator().manual_seed(place), {} if memories is None else memories[place]
        )
        contribution = Contribution(Update(updates[place], layout), extra[place], weight)
        party = (replace or {}).get(place) or defense.member(contribution, state, round)
        gone = (drop or {}).get(place)
        parties[name] = party if gone is None else Vanishing(party, defense.steps, gone)
    collector = defense.collector(round, {} if memory is None else memory)
    wire = Wire(watched=watched)
    aggregation.play(defense.steps, {**parties, SERVER: collector}, wire, number)
    return collector, wire
