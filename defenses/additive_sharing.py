"""Additive secret sharing: of the whole update (full MPC), or of chosen layers (partial encryption, PEMPC)."""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import (
    SERVER,
    UPDATE,
    Bytes,
    Card,
    ClientState,
    CodecError,
    Collector,
    Contribution,
    Dense,
    Layout,
    Mean,
    Observation,
    Party,
    Payload,
    Round,
    RoundFailed,
    Said,
    SkipCell,
    dense,
    frame_bytes,
)
from fl_attack_bench.crypto import additive
from fl_attack_bench.crypto.ring import FixedPoint, Ring
from fl_attack_bench.secure_aggregation import JOIN, ROSTER, Assembly, Member, SecureAggregation, hidden, joining, whole

SHARE = "share"


@dataclass(frozen=True)
class AdditiveSharing(SecureAggregation):
    """Clients split their updates into shares for each other, and the server sums sums (Sotthiwat et al. 2021, 3.2).

    Client i encodes ``w_i g_i`` in fixed point in Z_2^64, splits it into uniform shares that sum to it, and sends one
    to each other client. Each adds up what it received and sends the sum to the server in place of its own update; the
    sums' sum is that of the updates, exactly. Layers that are not shared are sent in the clear.

    Args:
        layers: which are shared: ``all`` (full MPC), ``first`` (the paper's partial encryption), or layers as the model
            names them, joined by ``+``.
        own_share: keep a share oneself, as textbooks do; the paper sends all of them away.
        fraction_bits: of the fixed point; the mean's error is at most ``clients * 2^-(fraction_bits + 1)``.
    """

    card = Card(
        title="Additive secret sharing (MPC, PEMPC)",
        paper="https://doi.org/10.1109/CCGrid51090.2021.00101",
        threat="honest-but-curious server, and curious clients",
        assumes=(
            "Channels between clients that the server cannot read. Everybody follows the protocol and stays to its "
            "end: one client that vanishes after the roster makes the round fail."
        ),
        notes=(
            "What is shared stays hidden from the server alone, and from any m-2 of the m clients without the server. "
            "As in the paper (own_share=false) all m-1 other clients together learn a client's update without the "
            "server, and the server with m-2 of them learns the updates of both clients that remain, because the sum "
            "that each of them sends is then the other's last share. With own_share=true the server and m-2 clients "
            "learn only the sum of the other two, which nobody can avoid. Two clients need own_share=true: else each "
            "would carry the other's update to the server. The server learns the sum in any case. Weights are sample "
            "counts and known to all. Running statistics of batch norm are always shared."
        ),
    )
    layers: str = "all"
    own_share: bool = False
    fraction_bits: Annotated[int, Ge(1), Le(52)] = 24

    @property
    def steps(self) -> tuple[str, ...]:
        """Shares travel between clients before the sums go to the server."""
        return (JOIN, ROSTER, SHARE, UPDATE)

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """A client that shares."""
        return _Sharing(self, contribution, client, round)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The server, which adds up sums."""
        del memory
        return _Summing(self, round)

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """The layers in the clear; where shares stand, what they would say if they were an update."""
        shared = layout.chosen(self.layers)
        ring = dense(payload, "sums").numpy()[: int(shared.sum())]
        values = hidden(layout).values
        values[shared] = FixedPoint(self.fraction_bits).decode(ring)
        values[~shared] = dense(payload, "clear")
        return Observation.exact(values, ~shared)

    def traffic(self, layout: Layout, statistics: int, clients: int) -> Bytes:
        """A share for each other client, and the sum of shares with the layers in the clear for the server."""
        self.least(clients)
        hidden_ones = int(layout.chosen(self.layers).sum())
        shared = (torch.int64, (hidden_ones + statistics,))
        clear = (torch.float32, (layout.size - hidden_ones,))
        update = frame_bytes({"sums": shared, "clear": clear, "heard": (torch.int64, (1,))})
        return joining(clients) + Bytes(up=update, peers=(clients - 1) * frame_bytes({"share": shared}))

    def least(self, clients: int) -> int:
        """How many clients a round needs.

        Raises:
            SkipCell: it has fewer.
        """
        least = 2 if self.own_share else 3
        if clients < least:
            raise SkipCell(
                f"additive sharing with own_share={str(self.own_share).lower()} needs at least {least} clients in a "
                f"round, not {clients}"
            )
        return least


class _Places:
    """Which entries of an update are shared and which are sent in the clear; running statistics are always shared.

    They are ranges, so that sharing one layer of a large network takes the time of that layer.
    """

    def __init__(self, layers: str, round: Round) -> None:
        part, self.shared, self.clear = round.layout.split(layers)
        self.layout = whole(replace(round, layout=part))
        self._all = whole(round).size
        self._statistics = slice(round.layout.size, self._all)

    def in_the_clear(self, flat: Tensor) -> Tensor:
        """Of an update."""
        return torch.cat([flat[place] for place in self.clear]) if self.clear else flat[:0]

    def together(self, shared: Tensor, clear: Tensor) -> Tensor:
        """Both back in their places."""
        total = torch.zeros(self._all, dtype=torch.float64)
        for values, places in ((shared, (*self.shared, self._statistics)), (clear, self.clear)):
            pieces = values.split([place.stop - place.start for place in places])
            for place, piece in zip(places, pieces, strict=True):
                total[place] = piece
        return total


class _Sharing(Member):
    def __init__(self, defense: AdditiveSharing, contribution: Contribution, client: ClientState, round: Round) -> None:
        super().__init__(contribution, client, round)
        self._defense = defense
        self._places = _Places(defense.layers, round)
        self._sum: Ring = np.zeros(self._places.layout.size, dtype=np.int64)
        self._heard: set[str] = set()

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if step == SHARE and self.peers:
            yield from self._shares()
        if step == UPDATE and self.peers:
            clear = self._places.in_the_clear(self.contribution.update.flat.cpu())
            parts = {"sums": Dense(torch.from_numpy(self._sum)), "clear": Dense(clear)}
            yield SERVER, Payload({**parts, "heard": Dense(torch.tensor([len(self._heard)]))})

    def _shares(self) -> Said:
        point, members = FixedPoint(self._defense.fraction_bits), len(self.peers) + 1
        secret = point.encode(self.weighted(self._places.shared), terms=members, layout=self._places.layout)
        own = self._defense.own_share
        if len(self.peers) + own < 2:
            return  # the one share would be the update
        shares = additive.split(secret, len(self.peers) + own, self._defense.secrets(self.client))
        if own:
            self._sum += shares[-1]
        for peer, share in zip(self.peers, shares, strict=False):
            yield peer, Payload({"share": Dense(torch.from_numpy(share))})

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        super().hear(step, sender, payload)
        if step != SHARE:
            return
        if sender not in self.peers or sender in self._heard:
            raise CodecError("a share that nobody waits for")
        self._sum += dense(payload, "share", torch.int64, (self._sum.size,)).numpy()
        self._heard.add(sender)


class _Summing(Assembly):
    def __init__(self, defense: AdditiveSharing, round: Round) -> None:
        super().__init__(round, defense.least(len(round.members)))
        self._defense = defense
        self._places = _Places(defense.layers, round)
        self._sums: dict[str, Ring] = {}
        self._clear: dict[str, Tensor] = {}

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        super().hear(step, sender, payload)
        if step != UPDATE or self.roster is None or sender not in self.roster.members:
            return
        size = self._places.layout.size
        sums = dense(payload, "sums", torch.int64, (size,))
        clear = dense(payload, "clear", torch.float32, (whole(self.round).size - size,))
        heard = dense(payload, "heard", torch.int64, (1,))
        if heard.tolist() == [len(self.roster.members) - 1]:
            self._sums[sender], self._clear[sender] = sums.numpy(), clear
        else:
            self.incidents.append(f"{sender}: has shares of {heard.tolist()} others only")

    def mean(self) -> Mean:
        roster = self.present()
        if len(self._sums) < len(roster.members):
            raise RoundFailed(
                f"{len(self._sums)} of {len(roster.members)} clients sent a complete sum of shares; all must"
            )
        ring = additive.combine([self._sums[name] for name in roster.members])
        shared = FixedPoint(self._defense.fraction_bits).decode64(ring)
        clear = torch.zeros(whole(self.round).size - len(shared), dtype=torch.float64)
        for name, weight in zip(roster.members, roster.weights, strict=True):
            clear += weight * self._clear[name].double()
        return self.as_mean(self._places.together(shared, clear))
