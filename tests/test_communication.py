"""The cost models say to the byte what the wire meters."""

from dataclasses import dataclass
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import aggregation, communication, notation, registry
from fl_attack_bench.aggregation import Bytes
from fl_attack_bench.api import (
    Card,
    ClientState,
    Contribution,
    HorizontalDefense,
    Layout,
    Party,
    Payload,
    Round,
    SkipCell,
    Update,
)
from fl_attack_bench.chain import Chain
from fl_attack_bench.method import build
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.wire import SERVER, Wire, client

LAYOUT = Layout(("conv.weight", "conv.bias", "dense.weight", "dense.bias"), ((40, 3), (40,), (20, 40), (20,)))
STREAMS = Streams(5)
CARD = Card(title="Test", paper="https://example.org", threat="none")
# By how many clients they need. Uploads are of the same length whatever the update is.
LEAST = {
    "none": 1,
    "gaussian_noise[scale=1]": 1,
    "laplace_noise[scale=1]": 1,
    "layer_replacement": 1,
    "soteria": 1,
    "additive_sharing": 3,
    "additive_sharing[layers=first]": 3,
    "additive_sharing[layers=dense,own_share=true]": 2,
    "pairwise_masking": 2,
    "pairwise_masking[threshold=1]": 2,
    "shamir_sharing": 6,
    "shamir_sharing[check=tags,threshold=2]": 2,
    'shamir_sharing[check=none,decimals=3,field="2^31-1",threshold=3]': 3,
    "homomorphic_encryption": 2,
    "homomorphic_encryption[authenticated=true,openers=3]": 3,
    "homomorphic_encryption[authenticated=true,scheme=ckks]": 2,
    "gaussian_noise[scale=1]+none": 1,
    "gradient_compression+additive_sharing": 3,
    "none+pairwise_masking": 2,
}


HORIZONTAL = [
    name for name in registry.names("defense") if issubclass(registry.find("defense", name).cls, HorizontalDefense)
]


def defense(text: str) -> HorizontalDefense:
    spec = notation.parse(text)
    links = [build(registry.find("defense", part.name).cls, part.parameters) for part in spec.parts]
    assert all(isinstance(link, HorizontalDefense) for link in links)
    return Chain(tuple(links)) if spec.links else links[0]  # type: ignore[arg-type, return-value]


def metered(played: HorizontalDefense, layout: Layout, statistics: int, clients: int) -> Bytes:
    """Added up message by message, for which every party is watched."""
    names = [client(number) for number in range(clients)]
    round = Round("test", 0, tuple(names), layout, statistics)
    parties: dict[str, Party] = {SERVER: played.collector(round, {})}
    for number, name in enumerate(names):
        draw = torch.Generator().manual_seed(number)
        update = Update(torch.randn(layout.size, generator=draw), layout)
        contribution = Contribution(update, torch.randn(statistics, generator=draw), number + 1)
        parties[name] = played.member(contribution, ClientState(name, 0, number + 1, draw), round)
    wire = Wire(watched=parties)
    aggregation.play(played.steps, parties, wire, 0)
    up = sum(len(m.data) for m in wire.view() if m.receiver == SERVER)
    down = sum(len(m.data) for m in wire.view() if m.sender == SERVER)
    peers = sum(len(m.data) for m in wire.view() if SERVER not in (m.sender, m.receiver))
    return Bytes(up / clients, down / clients, peers / clients)


@pytest.mark.parametrize("statistics", [0, 7])
@pytest.mark.parametrize("clients", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("text", LEAST)
def test_the_model_is_the_wire_to_the_byte(text: str, clients: int, statistics: int) -> None:
    played = defense(text)
    if clients < LEAST[text]:
        for ask in (communication.modelled, metered):
            with pytest.raises(SkipCell, match=f"at least {LEAST[text]} clients in a round, not {clients}"):
                ask(played, LAYOUT, statistics, clients)
        return
    found = communication.modelled(played, LAYOUT, statistics, clients)
    assert found == metered(played, LAYOUT, statistics, clients)
    assert found == communication.measured(played, LAYOUT, statistics, clients, STREAMS)


ANY = ["none", "additive_sharing", "additive_sharing[layers=first]", "pairwise_masking"]
shapes = st.lists(st.lists(st.integers(1, 6), max_size=3).map(tuple), min_size=1, max_size=5)


@given(shapes, st.integers(0, 9), st.integers(3, 12), st.sampled_from(ANY))
@settings(max_examples=60, deadline=None)
def test_for_any_layout(found: list[tuple[int, ...]], statistics: int, clients: int, text: str) -> None:
    layout = Layout(tuple(f"layer{place // 2}.part{place}" for place in range(len(found))), tuple(found))
    assert layout.size == sum(map(prod, found))
    modelled = communication.modelled(defense(text), layout, statistics, clients)
    assert modelled == metered(defense(text), layout, statistics, clients)


@pytest.mark.parametrize("name", HORIZONTAL)
def test_every_defense_of_the_house_has_a_model(name: str) -> None:
    played = defense(f"{name}[scale=1]" if "noise" in name else name)
    modelled = communication.modelled(played, LAYOUT, 3, 10)
    measured = communication.measured(played, LAYOUT, 3, 10, STREAMS)
    # Sparse uploads and compressed ciphertexts have lengths that depend on what is in them.
    for field in ("up", "down", "peers"):
        assert getattr(modelled, field) == pytest.approx(getattr(measured, field), rel=0.02)


@dataclass(frozen=True)
class Uneven(HorizontalDefense):
    card = CARD

    def upload(self, update: Update, client: ClientState) -> Payload:
        return Payload.dense(torch.zeros(int(client.name.rpartition("/")[2]) ** 2))


@dataclass(frozen=True)
class Unmodelled(HorizontalDefense):
    card = CARD

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        return _Other(super().member(contribution, client, round))


class _Other(Party):
    def __init__(self, party: Party) -> None:
        self.say, self.hear = party.say, party.hear  # type: ignore[method-assign]

    def say(self, step: str): ...  # type: ignore[no-untyped-def]
    def hear(self, step: str, sender: str, payload: Payload) -> None: ...


def test_a_mean_over_clients_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = 6 + (1 + 6 + 3 + 8) + (1 + 7 + 3 + 8 + 8)
    monkeypatch.setattr(aggregation.Averaging, "mean", lambda collector: None)  # such updates have none
    assert isinstance(communication.measured(Uneven(), LAYOUT, 0, 2, STREAMS).up, int)  # (0 + 1) * 4 / 2
    three = communication.measured(Uneven(), LAYOUT, 0, 3, STREAMS)
    assert three == Bytes(up=frame + 4 * (0 + 1 + 4) / 3)
    (row,) = communication.table({"uneven": Uneven()}, LAYOUT, 0, [3], 3, STREAMS)
    assert row.total == 3 * frame + 4 * 5


def test_a_protocol_without_a_model_is_measured_and_not_guessed() -> None:
    with pytest.raises(SkipCell, match="Unmodelled has a protocol of its own and does not say what it costs"):
        communication.modelled(Unmodelled(), LAYOUT, 0, 4)
    rows = communication.table({"own": Unmodelled()}, LAYOUT, 0, [2, 100], 10, STREAMS)
    assert [row.kind for row in rows] == ["measured", "skipped"]
    assert rows[0].bytes == communication.modelled(defense("none"), LAYOUT, 0, 2)
    assert communication.curve(Unmodelled(), LAYOUT, 0, [2, 100]) == []


def test_a_table_measures_as_far_as_it_may_and_models_the_rest() -> None:
    defenses = {text: defense(text) for text in ("none", "additive_sharing")}
    rows = communication.table(defenses, LAYOUT, 0, [2, 5, 6, 10**6], 5, STREAMS)
    assert [(row.defense, row.clients, row.kind) for row in rows] == [
        ("none", 2, "measured"),
        ("none", 5, "measured"),
        ("none", 6, "modelled"),
        ("none", 10**6, "modelled"),
        ("additive_sharing", 2, "skipped"),
        ("additive_sharing", 5, "measured"),
        ("additive_sharing", 6, "modelled"),
        ("additive_sharing", 10**6, "modelled"),
    ]
    assert rows[4].bytes == Bytes()
    assert "at least 3 clients in a round, not 2" in rows[4].reason
    share = 6 + (1 + 5 + 3 + 8) + 8 * LAYOUT.size
    assert rows[7].bytes.peers == (10**6 - 1) * share
    assert rows[7].total == 10**6 * (rows[7].bytes.up + rows[7].bytes.down + rows[7].bytes.peers)


def test_a_curve_has_points_between_those_that_are_asked_for() -> None:
    found = communication.curve(defense("additive_sharing"), LAYOUT, 0, [30, 2, 1200])
    assert [clients for clients, _ in found] == [5, 10, 20, 30, 50, 100, 200, 500, 1000, 1200]
    for clients, total in found:
        assert total == communication.modelled(defense("additive_sharing"), LAYOUT, 0, clients).total


def test_what_a_network_uploads() -> None:
    assert communication.network(Model(name="lenet5"), (1, 28, 28), 10)[0].size == 61_706
    layout, statistics = communication.network(Model(name="vgg16"), (3, 32, 32), 10)
    assert (layout.size, statistics) == (14_728_266, 2 * 4224)
