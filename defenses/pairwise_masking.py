"""Pairwise masking: every two clients agree on a mask that one adds and the other takes away."""

from dataclasses import dataclass
from math import ceil
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
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
from fl_attack_bench.crypto.decoding import Undecodable, wrong_holders
from fl_attack_bench.crypto.field import Elements
from fl_attack_bench.crypto.key_agreement import OVERHEAD, AgreementKey, BadPublicKey, Forged, agree, open_sealed, seal
from fl_attack_bench.crypto.ring import FixedPoint, Ring
from fl_attack_bench.crypto.secrets import KEY_BYTES, Secrets
from fl_attack_bench.crypto.shamir import Shamir
from fl_attack_bench.secure_aggregation import JOIN, ROSTER, Assembly, Member, SecureAggregation, joining, whole

SHARES, DEAL, SURVIVORS, REVEAL = "shares", "deal", "survivors", "reveal"
# A key of 32 bytes is shared as 8 field elements of 32 bits; what one holder gets of two keys is sealed as 128 bytes.
_WORDS = KEY_BYTES // 4
_SEALED = 2 * _WORDS * 8 + OVERHEAD


@dataclass(frozen=True)
class PairwiseMasking(SecureAggregation):
    """Masks that cancel in the sum, with keys shared out so that it survives dropouts (Bonawitz et al. 2017, figure 4).

    Client u sends ``y_u = w_u g_u + PRG(b_u) + sum_(v > u) PRG(s_uv) - sum_(v < u) PRG(s_uv)`` in Z_2^64, where s_uv is
    agreed by X25519 and b_u is its own; both its key and b_u are Shamir-shared among all. Of a client that vanished the
    others reveal shares of the key, of one that did not those of b_u, never both; so the server takes all masks away
    from the sum, and from nothing else.

    Args:
        threshold: share of the clients, above a half, that must stay to the end, and that can reveal a mask.
        fraction_bits: of the fixed point; the mean's error is at most ``clients * 2^-(fraction_bits + 1)``.
    """

    card = Card(
        title="Pairwise masking (practical secure aggregation)",
        paper="https://doi.org/10.1145/3133956.3133982",
        threat="honest-but-curious server with fewer curious clients than the threshold",
        assumes="The server passes public keys on as they are: nobody signs them here.",
        notes=(
            "The paper's protocol for honest-but-curious parties; its signatures and consistency check, which stop a "
            "server that lies about keys or about who vanished, are left out. AES-256 in counter mode is the PRG, and "
            "seeds have 256 bits. The server with a threshold of clients learns everything; with fewer, the sum of the "
            "others' updates and no more. Weights are sample counts and known to all. A client that alters the shares "
            "it reveals is corrected as far as the code of the sharing goes, and fails the round beyond; one that "
            "sends a wrong masked update spoils the sum, as under any scheme that hides single updates. Any client can "
            "end a round by sharing what does not open: whoever cannot open a share leaves. After dropouts the mean's "
            "error is divided by the weight of those who stayed, and the round fails if that is below a tenth."
        ),
    )
    threshold: Annotated[float, Gt(0.5), Le(1)] = 2 / 3
    fraction_bits: Annotated[int, Ge(1), Le(52)] = 24

    @property
    def steps(self) -> tuple[str, ...]:
        """Keys, sealed shares of keys, masked updates, then what takes the masks away."""
        return (JOIN, ROSTER, SHARES, DEAL, UPDATE, SURVIVORS, REVEAL)

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """A client that masks."""
        return _Masking(self, contribution, client, round)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The server, which unmasks the sum."""
        del memory
        _enough(len(round.members))
        return _Unmasking(self, round)

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """Nothing; the values are what the masked words would say if they were an update."""
        ring = dense(payload, "masked").numpy()[: layout.size]
        nothing = torch.zeros(layout.size, dtype=torch.bool)
        return Observation.exact(FixedPoint(self.fraction_bits).decode(ring), nothing)

    def traffic(self, layout: Layout, statistics: int, clients: int) -> Bytes:
        """Sealed shares of two keys for each other client, one masked update, and a share of everybody's seed."""
        _enough(clients)
        sealed, others = (torch.uint8, (clients - 1, _SEALED)), (torch.int64, (clients - 1,))
        revealed = {"seeds": (torch.int64, (clients, _WORDS)), "keys": (torch.int64, (0, _WORDS))}
        masked = frame_bytes({"masked": (torch.int64, (layout.size + statistics,))})
        deal, survivors = {"from": others, "sealed": sealed}, {"places": (torch.int64, (clients,))}
        return joining(clients, 2 * KEY_BYTES) + Bytes(
            up=frame_bytes({"sealed": sealed}) + masked + frame_bytes(revealed),
            down=frame_bytes(deal) + frame_bytes(survivors),
        )

    def sharing(self, members: int) -> Shamir:
        """How keys are shared among so many."""
        return Shamir(max(2, ceil(self.threshold * members)), members)


def _enough(clients: int) -> None:
    if clients < 2:
        raise SkipCell(f"pairwise masking needs at least 2 clients in a round, not {clients}")


def _shared_words(key: bytes) -> Elements:
    return np.frombuffer(key, dtype="<u4").astype(np.uint64)


def _key(words: Elements) -> bytes:
    return words.astype("<u4").tobytes()


def _mask(seed: bytes, size: int) -> Ring:
    return Secrets.seeded(seed, b"mask").words(size)


class _Masking(Member):
    def __init__(self, defense: PairwiseMasking, contribution: Contribution, client: ClientState, round: Round) -> None:
        secrets = defense.secrets(client)
        self._sealing, self._masking = AgreementKey(secrets.bytes(KEY_BYTES)), AgreementKey(secrets.bytes(KEY_BYTES))
        super().__init__(contribution, client, round, self._sealing.public + self._masking.public)
        self._defense, self._secrets = defense, secrets
        self._seed = secrets.bytes(KEY_BYTES)
        # By dealer: shares of its key and of its own seed.
        self._held: dict[str, Elements] = {}
        self._survivors: list[str] = []
        self._answered = False

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if step == SHARES and self.peers:
            yield SERVER, Payload({"sealed": Dense(self._sealed_shares())})
        if step == UPDATE and len(self._held) > 1:
            yield SERVER, Payload({"masked": Dense(torch.from_numpy(self._masked()))})
        if step == REVEAL and self._survivors and not self._answered:
            self._answered = True
            gone = [name for name in self._held if name not in self._survivors]
            seeds = [self._held[name][_WORDS:] for name in self._survivors]
            keys = [self._held[name][:_WORDS] for name in gone]
            yield SERVER, Payload({"seeds": _stacked(seeds), "keys": _stacked(keys)})

    def _sealed_shares(self) -> Tensor:
        """A share of both keys for every peer, sealed for it, in the roster's order."""
        members = self.roster.members if self.roster else ()
        words = np.concatenate([_shared_words(self._masking.private), _shared_words(self._seed)])
        shares = self._defense.sharing(len(members)).share(words, self._secrets)
        sealed = bytearray()
        for place, name in enumerate(members):
            if name == self.client.name:
                self._held[name] = shares[place]
                continue
            sealed += seal(self._sealing_key(name), shares[place].tobytes(), self._bound(self.client.name, name))
        return torch.frombuffer(sealed, dtype=torch.uint8).view(-1, _SEALED)

    def _sealing_key(self, peer: str) -> bytes:
        return agree(self._sealing, self.roster.key(peer)[:KEY_BYTES] if self.roster else b"", b"seal")

    def _bound(self, sender: str, receiver: str) -> bytes:
        return f"{self.round.task}\n{self.round.number}\n{sender}\n{receiver}".encode()

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        super().hear(step, sender, payload)
        if step == DEAL and sender == SERVER and self.roster:
            dealers = dense(payload, "from", torch.int64).flatten().tolist()
            self._take_shares(dealers, dense(payload, "sealed", torch.uint8, (len(dealers), _SEALED)))
        if step == SURVIVORS and sender == SERVER and self.roster:
            places = dense(payload, "places", torch.int64).flatten().tolist()
            if all(0 <= place < len(self.roster.members) for place in places):
                names = [self.roster.members[place] for place in places]
                threshold = self._defense.sharing(len(self.roster.members)).threshold
                if set(names) <= set(self._held) and len(set(names)) == len(names) >= threshold:
                    self._survivors = names

    def _take_shares(self, dealers: list[int], sealed: Tensor) -> None:
        """Open what the others sealed; if one thing does not open, this client leaves the round."""
        members = self.roster.members if self.roster else ()
        own = self._held.pop(self.client.name, None)
        held = {}
        if own is None:
            raise CodecError("a deal to somebody who shared nothing")
        for place, data in zip(dealers, sealed, strict=True):
            if not 0 <= place < len(members):
                raise CodecError(f"a deal of member {place}")
            name = members[place]
            try:
                opened = open_sealed(
                    self._sealing_key(name), data.numpy().tobytes(), self._bound(name, self.client.name)
                )
            except Forged as error:
                raise CodecError(f"{name}: {error}") from error
            held[name] = np.frombuffer(opened, dtype=np.uint64)
        held[self.client.name] = own
        if len(held) >= self._defense.sharing(len(members)).threshold:
            self._held = {name: held[name] for name in members if name in held}

    def _masked(self) -> Ring:
        """The update under all masks."""
        point = FixedPoint(self._defense.fraction_bits)
        total = point.encode(self.weighted(), terms=len(self._held), layout=whole(self.round))
        total += _mask(self._seed, total.size)
        names = list(self._held)
        place = names.index(self.client.name)
        for other, name in enumerate(names):
            if other != place:
                _add_pair(total, self._masking, self.roster.key(name) if self.roster else b"", ahead=place < other)
        return total


def _check_keys(public: bytes) -> None:
    """Refuse keys with which the others could not agree on anything, before they try to."""
    try:
        for key in (public[:KEY_BYTES], public[KEY_BYTES:]):
            agree(AgreementKey.fresh(), key, b"check")
    except BadPublicKey as error:
        raise CodecError(str(error)) from error


def _add_pair(total: Ring, own: AgreementKey, public: bytes, *, ahead: bool) -> None:
    """Add the mask that ``own`` shares with the holder of ``public``, or take it away where that one goes ahead."""
    mask = _mask(agree(own, public[KEY_BYTES:], b"mask"), total.size)
    if ahead:
        total += mask
    else:
        total -= mask


def _stacked(rows: list[Elements]) -> Dense:
    words = np.stack(rows) if rows else np.zeros((0, _WORDS), dtype=np.uint64)
    return Dense(torch.from_numpy(words.astype(np.int64)))


class _Unmasking(Assembly):
    def __init__(self, defense: PairwiseMasking, round: Round) -> None:
        super().__init__(round, key_bytes=2 * KEY_BYTES)
        self._defense = defense
        self._size = whole(round).size
        self._sealed: dict[str, Tensor] = {}
        self._masked: dict[str, Ring] = {}
        self._revealed: dict[str, Elements] = {}

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if self.roster is None:
            return
        members = self.roster.members
        if step == DEAL:
            for name in self._dealers:
                others = [other for other in self._dealers if other != name]
                rows = [self._sealed[other][_row(members, other, name)] for other in others]
                places = torch.tensor([members.index(other) for other in others], dtype=torch.int64)
                sealed = torch.stack(rows) if rows else torch.zeros(0, _SEALED, dtype=torch.uint8)
                yield name, Payload({"from": Dense(places), "sealed": Dense(sealed)})
        if step == SURVIVORS and len(self._masked) >= self._defense.sharing(len(members)).threshold:
            places = torch.tensor([members.index(name) for name in self._alive], dtype=torch.int64)
            for name in self._alive:
                yield name, Payload({"places": Dense(places)})

    @property
    def _dealers(self) -> list[str]:
        return [name for name in self.present().members if name in self._sealed]

    @property
    def _alive(self) -> list[str]:
        return [name for name in self.present().members if name in self._masked]

    @property
    def _gone(self) -> list[str]:
        return [name for name in self._dealers if name not in self._masked]

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        if step == JOIN:
            _check_keys(dense(payload, "key", torch.uint8, (2 * KEY_BYTES,)).numpy().tobytes())
        super().hear(step, sender, payload)
        if self.roster is None or sender not in self.roster.members:
            return
        if step == SHARES:
            others = len(self.roster.members) - 1
            self._sealed[sender] = dense(payload, "sealed", torch.uint8, (others, _SEALED))
        if step == UPDATE and sender in self._sealed:
            self._masked[sender] = dense(payload, "masked", torch.int64, (self._size,)).numpy()
        if step == REVEAL and sender in self._masked:
            seeds = dense(payload, "seeds", torch.int64, (len(self._alive), _WORDS))
            keys = dense(payload, "keys", torch.int64, (len(self._gone), _WORDS))
            self._revealed[sender] = torch.cat([seeds, keys]).numpy().astype(np.uint64).reshape(-1)

    def mean(self) -> Mean:
        roster = self.present()
        shamir = self._defense.sharing(len(roster.members))
        for what, came in (("a masked update", self._masked), ("what unmasks the sum", self._revealed)):
            if len(came) < shamir.threshold:
                raise RoundFailed(f"{len(came)} of {len(roster.members)} clients sent {what}; {shamir.threshold} must")
        words = self._opened(shamir)
        total = additive.combine([self._masked[name] for name in self._alive])
        for place in range(len(self._alive)):
            total -= _mask(_key(words[place]), self._size)
        for name, row in zip(self._gone, words[len(self._alive) :], strict=True):
            self._take_away(total, name, AgreementKey(_key(row)))
        mean = FixedPoint(self._defense.fraction_bits).decode64(total)
        return self.as_mean(mean, {name: roster.weight(name) for name in self._alive})

    def _opened(self, shamir: Shamir) -> Elements:
        """The seeds of those who stayed and the keys of those who did not, shape ``(members, words)``."""
        holders = {self.present().members.index(name): row for name, row in self._revealed.items()}
        shares = np.stack(list(holders.values()))
        try:
            wrong = wrong_holders(shamir, shares, list(holders), Secrets.fresh())
        except Undecodable as error:
            raise RoundFailed(f"what unmasks the sum was altered: {error}") from error
        self.incidents += [f"{self.present().members[holder]}: altered the shares it revealed" for holder in wrong]
        right = [holder for holder in holders if holder not in wrong]
        return shamir.reconstruct(np.stack([holders[h] for h in right]), right).reshape(-1, _WORDS)

    def _take_away(self, total: Ring, name: str, key: AgreementKey) -> None:
        """From the sum, the masks that a client which vanished shares with those who stayed."""
        roster = self.present()
        if key.public != roster.key(name)[KEY_BYTES:]:
            raise RoundFailed(f"the key that was revealed of {name} is not its own")
        for other in self._alive:
            _add_pair(total, key, roster.key(other), ahead=roster.members.index(name) < roster.members.index(other))


def _row(members: tuple[str, ...], dealer: str, receiver: str) -> int:
    """Where a dealer, who seals for the others in the roster's order, put what is for this receiver."""
    place = members.index(receiver)
    return place - (members.index(dealer) < place)
