"""Shamir's secret sharing: any K clients' sums of shares give the sum of all updates, and altered ones are found."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
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
from fl_attack_bench.crypto import share_tags
from fl_attack_bench.crypto.decoding import Undecodable, wrong_holders
from fl_attack_bench.crypto.field import FIELDS, Decimals, Elements
from fl_attack_bench.crypto.secrets import KEY_BYTES, Secrets
from fl_attack_bench.crypto.shamir import Shamir
from fl_attack_bench.secure_aggregation import JOIN, ROSTER, Assembly, Member, SecureAggregation, joining, whole

SHARE, DEALT, DEALERS, CHALLENGE, TAGS = "share", "dealt", "dealers", "challenge", "tags"
CHECKS = 2
"""Random combinations that a sum of shares is checked in: an altered one passes all with ``prime ** -CHECKS``."""
_DTYPES = {"2^31-1": torch.int32, "2^61-1": torch.int64}


@dataclass(frozen=True)
class ShamirSharing(SecureAggregation):
    """Clients deal shares of their updates to all, and the server reconstructs the sum (Sharma et al. 2022, III.B).

    Client i encodes ``w_i g_i`` with a fixed number of decimals in a prime field and deals one of N shares to each
    client of the round; any K give it back. The clients tell the server whose shares they hold, the server names the
    dealers that all of them have heard, and each client sends it the sum of their shares, which is its share of the
    sum. N-K clients may vanish at any step. A client holds N shares, each of the size of the update, until it sends
    their sum.

    Args:
        threshold: K, how many sums of shares reconstruct; any K-1 shares say nothing.
        decimals: of each weighted entry; the mean's error is at most ``N * 10^-decimals / 2``. The paper has 3.
        field: the prime; values up to ``prime / (2 N 10^decimals)`` fit.
        check: how altered sums are found: ``none`` (the paper: the first K sums, whatever they say), ``code`` (decoding
            as a Reed-Solomon code: ``2 * altered + lost <= N - K``) or ``tags`` (what the dealers say of their shares
            once all sums are in: ``altered + lost <= N - K``, see the notes).
    """

    card = Card(
        title="Shamir secret sharing",
        paper="https://doi.org/10.1145/359168.359176",
        threat="honest-but-curious server with up to K-1 curious clients; clients that vanish or alter sums of shares",
        assumes=(
            "Channels between clients that the server cannot read. A server that follows the protocol: it must name "
            "the same dealers to everybody. At least K clients that stay until their sums are sent."
        ),
        notes=(
            "The server with K-1 clients learns the sum of the other clients' updates and nothing else about them: "
            "K-1 shares fit every update, and the sums are shares of the sum. Any K clients learn every update, "
            "without the server. Sharma et al. 2022 leave K and the order of reports open, and write that N-K shares "
            "may be manipulated: that holds for lost ones, and with check=code for half as many altered ones. Beyond "
            "it random numbers make the round fail, and N - floor((N-K)/2) - K + 1 clients who agree move the mean and "
            "have others named. check=tags names up to N-K altered sums, agreed on or not, as long as all dealers "
            "answer truly. A dealer that stays silent brings it back to the code's bound, and one that colludes with "
            "the holders can answer as if it had dealt what they say: both move the mean no further than dealing "
            "another update, which nothing here prevents, but others are named for it. So is a client to whom a dealer "
            "dealt something else than to the rest. Tags are blinded for one challenge a round, and a client answers "
            "one. Clients that deny holding shares can have dealers left out, down to "
            "K and more than half of all, and so choose whose updates the sum is of. The paper rounds parameters "
            "to 3 decimals and averages them; here the weighted updates are rounded, so the mean's error is up to N "
            "times as large. Weights are sample counts and known to all."
        ),
    )
    threshold: Annotated[int, Ge(2)] = 6
    decimals: Annotated[int, Ge(0)] = 6
    field: Literal["2^31-1", "2^61-1"] = "2^61-1"
    check: Literal["none", "code", "tags"] = "code"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.point  # refuses decimals that the field cannot hold

    @property
    def steps(self) -> tuple[str, ...]:
        """Shares travel between clients; who has whose is agreed on before the sums go to the server."""
        steps = (JOIN, ROSTER, SHARE, DEALT, DEALERS, UPDATE)
        return (*steps, CHALLENGE, TAGS) if self.check == "tags" else steps

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """A client that deals shares and adds up those of the others."""
        self.sharing(len(round.members))
        return _Sharing(self, contribution, client, round)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The server, which reconstructs the sum."""
        del memory
        self.sharing(len(round.members))
        return _Reconstructing(self, round)

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """Nothing; the values are what the sum of shares would say if it were an update."""
        elements = self.elements(payload, "shares")[: layout.size]
        return Observation.exact(self.point.decode(elements), torch.zeros(layout.size, dtype=torch.bool))

    def traffic(self, layout: Layout, statistics: int, clients: int) -> Bytes:
        """A share for each other client, the sum of shares, whose shares came; with ``tags``, those for everybody."""
        self.sharing(clients)
        dtype = _DTYPES[self.field]
        marks, seed = (torch.uint8, (clients,)), (torch.uint8, (KEY_BYTES,))
        columns = (dtype, (layout.size + statistics + (CHECKS if self.check == "tags" else 0),))
        up = frame_bytes({"heard": marks}) + frame_bytes({"shares": columns})
        down = frame_bytes({"dealers": marks})
        if self.check == "tags":
            up += frame_bytes({"tags": (dtype, (clients, CHECKS))})
            down += frame_bytes({"seed": seed})
        return joining(clients) + Bytes(up, down, peers=(clients - 1) * frame_bytes({"share": columns}))

    @property
    def point(self) -> Decimals:
        """How numbers become field elements."""
        return Decimals(FIELDS[self.field], self.decimals)

    def sharing(self, members: int) -> Shamir:
        """How updates are shared among so many.

        Raises:
            SkipCell: they are fewer than the threshold.
        """
        if members < self.threshold:
            least = self.threshold
            raise SkipCell(f"threshold={least} needs at least {least} clients in a round, not {members}")
        return Shamir(self.threshold, members, self.point.field)

    def columns(self, round: Round) -> int:
        """The length of a share: all that is aggregated and, where shares get tags, the blinding behind it."""
        return whole(round).size + (CHECKS if self.check == "tags" else 0)

    def fewest(self, members: int) -> int:
        """How many updates a sum must be of, at least: K, and more than half.

        Clients that deny having others' shares could else shrink it to the few that they are after.
        """
        return max(self.threshold, members // 2 + 1)

    def part(self, elements: Elements) -> Dense:
        """Field elements as they travel."""
        return Dense(torch.from_numpy(elements.view(np.int64)).to(_DTYPES[self.field]))

    def elements(self, payload: Payload, name: str, shape: tuple[int, ...] | None = None) -> Elements:
        """Field elements that came; CodecError for anything else."""
        field, dtype = FIELDS[self.field], _DTYPES[self.field]
        numbers = dense(payload, name, dtype, shape).numpy()
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < field.prime:
            raise CodecError(f"{name!r} holds numbers outside [0, {field.prime})")
        return numbers.astype(np.uint64)


def _marked(places: Collection[int], members: int) -> Dense:
    marks = torch.zeros(members, dtype=torch.uint8)
    marks[list(places)] = 1
    return Dense(marks)


def _places(payload: Payload, name: str, members: int) -> list[int]:
    marks = dense(payload, name, torch.uint8, (members,))
    if bool((marks > 1).any()):
        raise CodecError(f"{name!r} marks members by 0 and 1")
    return [int(place) for place in marks.nonzero()]


class _Sharing(Member):
    def __init__(self, defense: ShamirSharing, contribution: Contribution, client: ClientState, round: Round) -> None:
        super().__init__(contribution, client, round)
        self._defense = defense
        # The tags ask for all N shares again: they are dealt anew from the seed, not kept.
        self._seed = defense.secrets(client).bytes(KEY_BYTES)
        self._held: dict[int, Elements] = {}
        self._dealers: list[int] = []
        self._challenge = b""

    @property
    def _members(self) -> tuple[str, ...]:
        return self.roster.members if self.roster else ()

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if self.roster is None:
            return
        if step == SHARE:
            yield from self._deal()
        if step == DEALT:
            yield SERVER, Payload({"heard": _marked(self._held, len(self._members))})
        if step == UPDATE and self._dealers:
            held = (self._held.pop(place) for place in self._dealers)
            total = reduce(self._defense.point.field.add, held)
            self._dealers = []
            yield SERVER, Payload({"shares": self._defense.part(total)})
        if step == TAGS and self._challenge:
            yield SERVER, Payload({"tags": self._defense.part(self._tags())})

    def _deal(self) -> Said:
        shares = self._shares()
        for place, name in enumerate(self._members):
            if name == self.client.name:
                self._held[place] = shares[place].copy()
            else:
                yield name, Payload({"share": self._defense.part(shares[place])})

    def _shares(self) -> Elements:
        """The shares of this client's update, the same each time, shape ``(N, columns)``."""
        shamir, secrets = self._defense.sharing(len(self._members)), Secrets.seeded(self._seed, b"shares")
        secret = self._defense.point.encode(self.weighted(), terms=shamir.parties, layout=whole(self.round))
        if self._defense.check == "tags":
            secret = np.concatenate([secret, secrets.below(shamir.field.prime, CHECKS)])
        return shamir.share(secret, secrets)

    def _tags(self) -> Elements:
        field = self._defense.point.field
        coefficients = share_tags.challenge(self._challenge, CHECKS, whole(self.round).size, field)
        self._challenge = b""  # a second answer under the same blinding would tell about the update
        return share_tags.tags(self._shares(), coefficients, field)

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        super().hear(step, sender, payload)
        if step == ROSTER and sender == SERVER and not self._is_playable():
            self.roster = None
            raise CodecError("a roster without this client, with one twice, or of fewer than the threshold")
        if self.roster is None:
            return
        if step == SHARE:
            if sender not in self.peers or self._members.index(sender) in self._held:
                raise CodecError("a share that nobody waits for")
            share = self._defense.elements(payload, "share", (self._defense.columns(self.round),))
            self._held[self._members.index(sender)] = share
        if step == DEALERS and sender == SERVER:
            dealers = _places(payload, "dealers", len(self._members))
            if len(dealers) < self._defense.fewest(len(self._members)) or not set(dealers) <= set(self._held):
                raise CodecError("dealers that are too few to hide each other, or whose shares did not come")
            self._dealers = dealers
        if step == CHALLENGE and sender == SERVER:
            self._challenge = dense(payload, "seed", torch.uint8, (KEY_BYTES,)).numpy().tobytes()

    def _is_playable(self) -> bool:
        distinct = set(self._members)
        return self.client.name in distinct and self._defense.threshold <= len(self._members) == len(distinct)


class _Reconstructing(Assembly):
    def __init__(self, defense: ShamirSharing, round: Round) -> None:
        super().__init__(round, defense.threshold)
        self._defense = defense
        # All by the places of clients in the roster.
        self._heard: dict[int, set[int]] = {}
        self._dealers: list[int] = []
        self._holders: list[int] = []
        self._sums: dict[int, Elements] = {}
        self._seed = b""
        self._answers: dict[int, Elements] = {}

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if self.roster is None:
            return
        members = self.roster.members
        if step == DEALERS:
            self._agree()
            for place in self._holders:
                yield members[place], Payload({"dealers": _marked(self._dealers, len(members))})
        if step == CHALLENGE and len(self._sums) >= self._defense.threshold:
            self._seed = self._drawn()
            seed = torch.frombuffer(bytearray(self._seed), dtype=torch.uint8)
            for place in self._dealers:
                yield members[place], Payload({"seed": Dense(seed)})

    def _drawn(self) -> bytes:
        """A challenge that nobody could foresee; where shares are reproducible, anybody could."""
        if self._defense.reproducible:
            return Secrets.seeded(f"{self.round.task}\n{self.round.number}".encode(), b"challenge").bytes(KEY_BYTES)
        return Secrets.fresh().bytes(KEY_BYTES)

    def _agree(self) -> None:
        """Find dealers whom all holders have heard: at least K holders, and dealers enough that a sum hides them.

        Among honest clients these are all whose shares reached everybody. Where they are too few, some client says that
        it has not heard what the others have: the one that has heard least is done without until they suffice.
        """
        names, threshold = self.present().members, self._defense.threshold
        holders, fewest = sorted(self._heard), self._defense.fewest(len(names))
        while len(holders) >= threshold:
            dealers = set.intersection(*(self._heard[holder] for holder in holders))
            if len(dealers) >= fewest:
                self._dealers, self._holders = sorted(dealers), holders
                break
            least = min(holders, key=lambda holder: len(self._heard[holder]))
            holders.remove(least)
            self.incidents.append(f"{names[least]}: has shares of {len(self._heard[least])} clients, and is left out")
        for place, name in enumerate(names):
            reached = sum(place in self._heard[holder] for holder in self._holders)
            if 0 < reached < len(self._holders):
                self.incidents.append(
                    f"{name}: {reached} of {len(self._holders)} clients have its shares, which are left out"
                )

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        super().hear(step, sender, payload)
        if self.roster is None or sender not in self.roster.members:
            return
        members, place = len(self.roster.members), self.roster.members.index(sender)
        if step == DEALT:
            self._heard[place] = set(_places(payload, "heard", members))
        if step == UPDATE:
            if place not in self._holders:
                raise CodecError("a sum of shares that nobody asked for")
            self._sums[place] = self._defense.elements(payload, "shares", (self._defense.columns(self.round),))
        if step == TAGS:
            if not self._seed or place not in self._dealers:
                raise CodecError("tags that nobody asked for")
            self._answers[place] = self._defense.elements(payload, "tags", (members, CHECKS))

    def mean(self) -> Mean:
        roster, threshold = self.present(), self._defense.threshold
        if len(self._heard) >= threshold and not self._dealers:
            fewest = self._defense.fewest(len(roster.members))
            raise RoundFailed(f"no {threshold} of {len(self._heard)} clients have shares of the same {fewest}")
        if len(self._sums) < threshold:
            raise RoundFailed(
                f"{len(self._sums)} of {len(roster.members)} clients sent a sum of shares; {threshold} must"
            )
        holders = sorted(self._sums)
        shamir = self._defense.sharing(len(roster.members))
        wrong = self._wrong(shamir, holders)
        self.incidents += [f"{roster.members[holder]}: altered its sum of shares" for holder in sorted(wrong)]
        right = [holder for holder in holders if holder not in wrong][:threshold]
        rows = np.stack([self._sums[holder][: whole(self.round).size] for holder in right])
        total = self._defense.point.decode(shamir.reconstruct(rows, right))
        return self.as_mean(total, {name: roster.weight(name) for name in self._named(self._dealers)})

    def _named(self, places: Collection[int]) -> list[str]:
        return [self.present().members[place] for place in places]

    def _wrong(self, shamir: Shamir, holders: list[int]) -> frozenset[int]:
        """Whose sum is altered, as far as the check tells."""
        if self._defense.check == "none":
            return frozenset()
        rows = np.stack([self._sums[holder] for holder in holders])
        try:
            if self._defense.check == "code":
                return wrong_holders(shamir, rows, holders, Secrets.fresh(), CHECKS)
            return self._judged(shamir, rows, holders)
        except Undecodable as error:
            raise RoundFailed(f"sums of shares were altered: {error}") from error

    def _judged(self, shamir: Shamir, rows: Elements, holders: list[int]) -> frozenset[int]:
        silent = [place for place in self._dealers if place not in self._answers]
        self.incidents += [f"{name}: did not answer the challenge" for name in self._named(silent)]
        coefficients = share_tags.challenge(self._seed, CHECKS, whole(self.round).size, shamir.field)
        verdict = share_tags.judge(shamir, coefficients, rows, holders, self._dealers, self._answers)
        lying = self._named(sorted(verdict.lying_dealers))
        self.incidents += [f"{name}: answered the challenge with tags that belong to no shares" for name in lying]
        return verdict.wrong_holders
