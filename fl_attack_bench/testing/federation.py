"""A small federation on the embedded digits, and single rounds of one whose updates are given."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fl_attack_bench import aggregation, models
from fl_attack_bench.aggregation import Collector, Contribution, Party, Round
from fl_attack_bench.api import SERVER, ClientState, HorizontalDefense, Layout, Message, Update
from fl_attack_bench.data import datasets
from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.scenarios.horizontal import Samples
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.wire import Wire, client

CLIENTS = 7  # a threshold of six is the largest default
SAMPLES = 8  # of each
SMALL = Layout(("first.weight", "first.bias", "last.weight", "last.bias"), ((24, 40), (24,), (10, 24), (10,)))
_HIDDEN = 16


@cache
def digits() -> Dataset:
    """Real handwritten digits that come with the installed libraries."""
    with tempfile.TemporaryDirectory() as folder:
        return datasets.load("digits", Path(folder))


def network(name: str = "mlp", device: str = "cpu") -> FlatModel:
    """A network on the digits; the small one by default."""
    data = digits()
    options = {"hidden": _HIDDEN} if name == "mlp" else {}
    asked = Model.model_validate({"name": name, "options": options})
    module = models.build(asked, data.image_shape, data.classes, Streams(0).generator("weights"))
    return FlatModel(module, torch.device(device))


def hands(clients: int = CLIENTS, samples: int = SAMPLES, device: str = "cpu") -> list[Samples]:
    """Each client's own digits."""
    data = digits()
    images, labels = data.x_train.to(device), data.y_train.to(device)
    return [
        Samples(images[n * samples : (n + 1) * samples], labels[n * samples : (n + 1) * samples])
        for n in range(clients)
    ]


def updates(layout: Layout, *axes: str | int, clients: int = CLIENTS) -> Tensor:
    """Standard normal ones, shape ``(clients, layout.size)``."""
    return torch.randn(clients, layout.size, generator=Streams(0).child("updates", *axes).generator())


@dataclass
class Played:
    """One round.

    Args:
        collector: the server's side.
        wire: with the traffic.
        said: what each party sent, in order.
    """

    collector: Collector
    wire: Wire
    said: Mapping[str, list[Message]] = field(default_factory=dict)


def play(
    defense: HorizontalDefense,
    given: Tensor,
    *,
    layout: Layout = SMALL,
    statistics: Tensor | None = None,
    samples: Sequence[int] | None = None,
    first: int | None = None,
    seed: int = 0,
) -> Played:
    """A round of clients with given updates, over a wire on which every message is kept.

    Args:
        defense: that all follow.
        given: shape ``(m, layout.size)``.
        layout: of the updates.
        statistics: shape ``(m, S)``; none by default.
        samples: each client's weight; 1 by default.
        first: the client that is asked first in each step; by default the clients speak in order.
        seed: of all that the clients draw.
    """
    count = len(given)
    extra = torch.zeros(count, 0) if statistics is None else statistics
    names = tuple(client(place) for place in range(count))
    round = Round("contract", 0, names, layout, extra.shape[1])
    collector = defense.collector(round, {})
    parties: dict[str, Party] = {}
    order = sorted(range(count), key=lambda place: place != first)
    for place in order:
        weight = 1 if samples is None else samples[place]
        rng = Streams(seed).generator("defense", names[place])
        contribution = Contribution(Update(given[place].clone(), layout), extra[place].clone(), weight)
        state = ClientState(names[place], 0, weight, rng)
        parties[names[place]] = defense.member(contribution, state, round)
    wire = Wire(watched={*names, SERVER})
    aggregation.play(defense.steps, {**parties, SERVER: collector}, wire, 0)
    said: dict[str, list[Message]] = {name: [] for name in (*names, SERVER)}
    for message in wire.view():
        said[message.sender].append(message)
    return Played(collector, wire, said)
