"""What secure aggregations have in common: who takes part and with which weight, and that the server reads nothing.

Two steps go before every such protocol. Each client joins with its sample count and, where the protocol asks for them,
its public keys; the server answers with the roster of those who joined. From then on everybody knows the weights, so
that a client can weigh what it contributes before the server may no longer see it. Running statistics of batch norm are
aggregated as one more layer: they would tell the mean of a client's activations.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.aggregation import MOST_SAMPLES
from fl_attack_bench.api import (
    SERVER,
    Bytes,
    ClientState,
    Collector,
    Contribution,
    Dense,
    HorizontalDefense,
    Layout,
    Mean,
    Observation,
    Party,
    Payload,
    Round,
    RoundFailed,
    Said,
    Update,
    dense,
    frame_bytes,
)
from fl_attack_bench.codec import CodecError
from fl_attack_bench.crypto.secrets import Secrets

JOIN, ROSTER = "join", "roster"
STATISTICS = "running statistics"
# Encoded sums are rounded before they are divided by the weight of those who stayed: below this much of it, rounding
# would be most of the mean. A client may claim many samples and vanish.
_LEAST_WEIGHT = 0.1


@dataclass(frozen=True)
class Roster:
    """Who takes part in a round.

    Args:
        members: those who joined, in the round's order.
        weights: their shares of all samples; sum to 1.
        keys: the public keys that each joined with, shape ``(members, bytes)``, uint8.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    keys: Tensor

    def weight(self, member: str) -> float:
        """Of one member."""
        return self.weights[self.members.index(member)]

    def key(self, member: str) -> bytes:
        """Of one member."""
        return self.keys[self.members.index(member)].numpy().tobytes()


@dataclass(frozen=True)
class SecureAggregation(HorizontalDefense):
    """Base of the defenses under which the server learns a sum and not what it is the sum of.

    Args:
        reproducible: draw shares and masks from the cell's seed in place of the operating system, so that what the
            server receives is the same in every run. Only for measuring: a seed is no secret.
    """

    reproducible: bool = False

    def secrets(self, client: ClientState) -> Secrets:
        """A fresh stream of unpredictable numbers."""
        return Secrets.from_generator(client.rng) if self.reproducible else Secrets.fresh()

    @property
    @abstractmethod
    def steps(self) -> tuple[str, ...]:
        """Those of the protocol; begins with ``JOIN`` and ``ROSTER``."""

    @abstractmethod
    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """A client's side: a :class:`Member`."""

    @abstractmethod
    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The server's side: a :class:`Assembly`."""

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """Nothing: what a client sends is independent of its update."""
        del payload
        return hidden(layout)


def hidden(layout: Layout) -> Observation:
    """What is read where nothing can be."""
    return Observation.exact(torch.zeros(layout.size), torch.zeros(layout.size, dtype=torch.bool))


def whole(round: Round) -> Layout:
    """The layout of all that is aggregated: the update's, and the running statistics behind it where there are some."""
    layout = round.layout
    if not round.statistics:
        return layout
    return Layout((*layout.names, STATISTICS), (*layout.shapes, (round.statistics,)))


def joining(members: int, key_bytes: int = 0) -> Bytes:
    """What the first two steps cost each of so many members, who join with public keys of so many bytes."""
    join = {"samples": (torch.int64, (1,)), "key": (torch.uint8, (key_bytes,))}
    numbers = (torch.int64, (members,))
    roster = {"places": numbers, "samples": numbers, "keys": (torch.uint8, (members, key_bytes))}
    return Bytes(up=frame_bytes(join), down=frame_bytes(roster))


class Member(Party):
    """A client up to the roster. A protocol adds its steps to ``say`` and ``hear``, and calls these for the first two.

    Args:
        contribution: what it brings.
        client: itself.
        round: the round.
        key: its public keys, as bytes; may be empty.
    """

    def __init__(self, contribution: Contribution, client: ClientState, round: Round, key: bytes = b"") -> None:
        self.contribution, self.client, self.round = contribution, client, round
        self.roster: Roster | None = None
        self._key = key

    def say(self, step: str) -> Said:
        """Join."""
        if step == JOIN:
            key = torch.frombuffer(bytearray(self._key), dtype=torch.uint8) if self._key else torch.zeros(0).byte()
            yield SERVER, Payload({"samples": Dense(torch.tensor([self.contribution.samples])), "key": Dense(key)})

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        """Learn who takes part."""
        if step == ROSTER and sender == SERVER:
            self.roster = _roster(self.round, dense(payload, "places"), dense(payload, "samples"), payload)

    def weighted(self, ranges: Sequence[slice] = (slice(None),)) -> Tensor:
        """``w_i (g_i, s_i)``: its update and statistics times its weight, float64.

        Args:
            ranges: those of the update's entries that are wanted; all by default. Statistics always are.

        Raises:
            RuntimeError: asked for before the roster came.
        """
        if self.roster is None:
            raise RuntimeError("the roster has not come")
        flat = self.contribution.update.flat.cpu()
        wanted = torch.cat([*(flat[place] for place in ranges), self.contribution.statistics.cpu()])
        return wanted.double() * self.roster.weight(self.client.name)

    @property
    def peers(self) -> Sequence[str]:
        """The other members; nobody while the roster has not come, or where one alone has joined."""
        return [name for name in self.roster.members if name != self.client.name] if self.roster else []


class Assembly(Collector):
    """The server up to the roster; a protocol adds its steps as to a member's.

    Args:
        round: the round.
        least: how many clients must join; with fewer the server sends no roster.
        key_bytes: length of the public keys that each joins with.
    """

    def __init__(self, round: Round, least: int = 2, key_bytes: int = 0) -> None:
        super().__init__()
        self.round, self.least = round, least
        self._key_bytes = key_bytes
        self.roster: Roster | None = None
        self._joined: dict[str, tuple[int, Tensor]] = {}

    def say(self, step: str) -> Said:
        """Send the roster to those who joined."""
        members = [name for name in self.round.members if name in self._joined]
        if step != ROSTER or len(members) < self.least:
            return
        places = torch.tensor([self.round.members.index(name) for name in members])
        samples = torch.tensor([self._joined[name][0] for name in members])
        keys = torch.stack([self._joined[name][1] for name in members])
        payload = Payload({"places": Dense(places), "samples": Dense(samples), "keys": Dense(keys)})
        self.roster = _roster(self.round, places, samples, payload)
        for name in members:
            yield name, payload

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        """Let a client join."""
        if step != JOIN:
            return
        samples = dense(payload, "samples", torch.int64, (1,))
        key = dense(payload, "key", torch.uint8, (self._key_bytes,))
        if not 1 <= int(samples) <= MOST_SAMPLES:
            raise CodecError(f"joins with {int(samples)} samples; from 1 to {MOST_SAMPLES} are believed")
        self._joined[sender] = (int(samples), key)

    def present(self) -> Roster:
        """The roster.

        Raises:
            RoundFailed: too few clients joined.
        """
        if self.roster is None:
            raise RoundFailed(f"{len(self._joined)} of {len(self.round.members)} clients joined; {self.least} must")
        return self.roster

    def as_mean(self, total: Tensor, came: Mapping[str, float] | None = None) -> Mean:
        """A weighted sum over ``came``, members with their weights (all that joined by default), as the mean.

        What was rounded in the sum is divided by the weight that came, and so is the stated error.

        Raises:
            RoundFailed: those who came hold too little of the weight.
        """
        weight = sum(came.values()) if came is not None else sum(self.present().weights)
        if weight < _LEAST_WEIGHT:
            raise RoundFailed(
                f"the clients that stayed hold {weight:.1%} of all samples; {_LEAST_WEIGHT:.0%} must stay"
            )
        flat = (total.double() / weight).float()
        size = self.round.layout.size
        return Mean(Update(flat[:size], self.round.layout), flat[size:])


def _roster(round: Round, places: Tensor, samples: Tensor, payload: Payload) -> Roster:
    numbers, counts = places.tolist(), samples.tolist()
    if len(numbers) != len(counts) or not all(0 <= n < len(round.members) for n in numbers) or sum(counts) < 1:
        raise CodecError("a roster that does not fit the round")
    members = tuple(round.members[number] for number in numbers)
    return Roster(members, tuple(count / sum(counts) for count in counts), dense(payload, "keys"))
