"""Homomorphic encryption: the server adds ciphertexts that only the clients can open."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

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
    Party,
    Payload,
    Round,
    RoundFailed,
    Said,
    SkipCell,
    dense,
    frame_bytes,
)
from fl_attack_bench.crypto.authentication import KEY_BYTES, SIGNATURE_BYTES, Context, SigningKey, verify
from fl_attack_bench.crypto.homomorphic import BadCiphertext, BadContext, Ciphertexts, Encryptor, Homomorphic, Scheme
from fl_attack_bench.secure_aggregation import JOIN, ROSTER, Assembly, Member, SecureAggregation, joining, whole

KEYS, SUM, OPENED = "keys", "sum", "opened"
_SIGNING_KEY = "signing key"
_FLOAT32 = 2.0**-23


@dataclass(frozen=True)
class HomomorphicEncryption(SecureAggregation):
    """Clients encrypt under one key, the server adds, a client opens the sum (Sharma et al. 2022, III.A).

    The first member makes a key pair for the round, and hands the secret key to the other clients and the public
    context to the server. Each client sends ``Enc(w_i g_i)``; the server sends the sum of the ciphertexts to a client,
    which returns it in the clear.

    Args:
        scheme: ``ckks`` (approximate, N/2 numbers a ciphertext) or ``bfv`` (exact fixed point, N numbers).
        authenticated: clients sign their updates and what they open, each with a key of its own.
        on_reject: what is lost with a message that the server refuses: that message (``continue``) or the round
            (``fail``).
        openers: how many clients open the sum; the round fails if they disagree.
        ring_size: N: 4096, 8192, 16384 or 32768.
        scale_bits: CKKS: a number x is encoded as ``x * 2^scale_bits``.
        fraction_bits: the sum is opened in multiples of ``2^-fraction_bits``. BFV: each x is encoded in them; the sum's
            error is at most ``clients * 2^-(fraction_bits + 1)``. CKKS: the opener rounds to them, which adds
            ``2^-(fraction_bits + 1)`` to the error of the noise (``Homomorphic.error``); they may not be smaller than
            that error.

    Raises:
        UserError: parameters that the scheme cannot hold; it names the bound.
    """

    card = Card(
        title="Homomorphic encryption (CKKS, BFV)",
        paper="https://doi.org/10.1007/978-3-319-70694-8_15",
        threat="honest-but-curious server; authenticated: and who alters, replays or misattributes uploads on the way",
        assumes=(
            "Channels between clients that the server can neither read nor alter. No client colludes with the server "
            "or taps another's upload: all hold the one secret key of the round, and any of them reads every "
            "ciphertext. The server follows the protocol: who opens a ciphertext cannot tell what it is the sum of."
        ),
        notes=(
            "The server learns the average, as under every secure aggregation here. It gets it from one client, who "
            "could lie about it (it could as well poison); with more openers, two that disagree fail the round. Keys "
            "are fresh in each round and made by its first client; the round fails without it. A client that makes "
            "unlike keys or alters its own ciphertext can turn the mean to rubbish, signed or not. Unsigned "
            "ciphertexts are refused only if malformed: one bit flipped on the way can do the same. The server trusts "
            "the signing key with which a client joins first, and refuses others under its name; joining, keys and "
            "what the server sends are not signed. Who has CKKS ciphertexts with their exact decryption can work out "
            "the secret key (Li and Micciancio 2021), so the opener rounds more coarsely than the noise. That is a "
            "heuristic without proof; BFV does not need it. TenSEAL cannot be seeded: under CKKS two runs differ in "
            "the last digits, under BFV only in the ciphertexts, and reproducible=true seeds the signing keys alone. "
            "Weights are sample counts and known to all."
        ),
    )
    scheme: Scheme = "bfv"
    authenticated: bool = False
    on_reject: Literal["continue", "fail"] = "continue"
    openers: Annotated[int, Ge(1), Le(1024)] = 1
    ring_size: int = 4096
    scale_bits: int = 40
    fraction_bits: Annotated[int, Ge(1), Le(30)] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.encryption  # refuses what it cannot hold

    @cached_property
    def encryption(self) -> Homomorphic:
        """The scheme with its parameters."""
        return Homomorphic(
            self.scheme, ring_size=self.ring_size, scale_bits=self.scale_bits, fraction_bits=self.fraction_bits
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """Keys, encrypted updates, their encrypted sum to who opens it, and back."""
        return (JOIN, ROSTER, KEYS, UPDATE, SUM, OPENED)

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """A client that encrypts."""
        return _Encrypting(self, contribution, client, round)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The server, which adds."""
        self.check(len(round.members))
        return _Adding(self, round, memory)

    def traffic(self, layout: Layout, statistics: int, clients: int) -> Bytes:
        """Ciphertexts up; keys and the opened sum from some clients only, of which this is the mean.

        How long contexts and ciphertexts are is up to the library: one of each is made.
        """
        self.check(clients)
        size = layout.size + statistics
        public, secret, ciphertext = self._lengths
        count = self.encryption.count(size)
        packed = {"lengths": (torch.int64, (count,)), "ciphertexts": (torch.uint8, (count * ciphertext,))}
        signature = {"signature": (torch.uint8, (SIGNATURE_BYTES,))} if self.authenticated else {}
        opened = frame_bytes({"sum": (torch.float32, (size,)), **signature})
        return joining(clients, KEY_BYTES if self.authenticated else 0) + Bytes.mean(
            up=public + clients * frame_bytes({**packed, **signature}) + self.openers * opened,
            down=self.openers * frame_bytes(packed),
            peers=(clients - 1) * secret,
            clients=clients,
        )

    @cached_property
    def _lengths(self) -> tuple[int, int, int]:
        """Bytes of the messages with the public and with the secret context, and of one ciphertext."""
        pair, block = self.encryption.keys(), self.encryption.ring_size
        sizes = [frame_bytes(_shapes(_context(half, block))) for half in (pair.public, pair.secret)]
        (ciphertext,) = Encryptor(self.encryption, pair.public).encrypt(torch.zeros(self.encryption.slots), 1)
        return sizes[0], sizes[1], len(ciphertext)

    def check(self, clients: int) -> None:
        """Whether a round of so many clients can be played.

        Raises:
            SkipCell: too few clients, or so many that the noise of their sum is too large.
        """
        if clients < max(2, self.openers):
            raise SkipCell(
                f"homomorphic encryption with {self.openers} openers needs at least {max(2, self.openers)} clients in "
                f"a round, not {clients}"
            )
        if clients > self.encryption.most_terms:
            raise SkipCell(f"at most {self.encryption.most_terms} ciphertexts can be added here, not {clients}")
        noise = self.encryption.error(clients)
        if self.scheme == "ckks" and noise > 2.0**-self.fraction_bits:
            raise SkipCell(
                f"the noise of {clients} ciphertexts, {noise:.1g}, is more than 2^-{self.fraction_bits}, the precision "
                "of an opened sum, which would give the secret key away: use fewer fraction_bits or more scale_bits"
            )


def _shapes(payload: Payload) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (part.values.dtype, tuple(part.values.shape)) for name, part in payload.parts.items()}


def _packed(ciphertexts: Ciphertexts) -> dict[str, Tensor]:
    lengths = torch.tensor([len(each) for each in ciphertexts], dtype=torch.int64)
    return {"lengths": lengths, "ciphertexts": torch.frombuffer(bytearray(b"".join(ciphertexts)), dtype=torch.uint8)}


def _unpacked(payload: Payload, count: int) -> tuple[dict[str, Tensor], Ciphertexts]:
    """What :func:`_packed` made, and what it was made of."""
    lengths, data = dense(payload, "lengths", torch.int64, (count,)), dense(payload, "ciphertexts", torch.uint8)
    sizes = lengths.tolist()
    if data.ndim != 1 or min(sizes) < 0 or sum(sizes) != data.numel():
        raise CodecError(f"{data.numel()} bytes are not {count} ciphertexts of the lengths announced")
    pieces = tuple(piece.numpy().tobytes() for piece in data.split(sizes))
    return {"lengths": lengths, "ciphertexts": data}, pieces


def _context(serialised: bytes, block: int) -> Payload:
    """A context, followed by zeros: SEAL compresses, and without them its length would vary from key to key."""
    padded = bytearray(serialised) + bytes(-len(serialised) % block)
    length = torch.tensor([len(serialised)])
    return Payload({"length": Dense(length), "context": Dense(torch.frombuffer(padded, dtype=torch.uint8))})


def _loaded(payload: Payload, parameters: Homomorphic, *, secret: bool) -> Encryptor:
    """The context that :func:`_context` packed, with the secret key or without it."""
    data = dense(payload, "context", torch.uint8).numpy().tobytes()
    length = int(dense(payload, "length", torch.int64, (1,)))
    if not 0 <= length <= len(data):
        raise CodecError(f"a context of {length} bytes in {len(data)}")
    try:
        encryptor = Encryptor(parameters, data[:length])
    except BadContext as error:
        raise CodecError(str(error)) from error
    if encryptor.secret is not secret:
        raise CodecError(f"a context with{'out' if secret else ''} the secret key")
    return encryptor


def _signed_bytes(parts: dict[str, Tensor]) -> bytes:
    """What is signed: all parts one after the other. Of how many bytes each but the last is, the receiver knows."""
    return b"".join(part.numpy().tobytes() for part in parts.values())


def _bound(round: Round, sender: str, step: str) -> Context:
    return Context(round.task, round.number, sender, f"{step} to the server")


def _signing_key(defense: HomomorphicEncryption, client: ClientState) -> SigningKey:
    """A client's own, made when it takes part for the first time."""
    if _SIGNING_KEY not in client.memory:
        seed = bytearray(defense.secrets(client).bytes(KEY_BYTES))
        client.memory[_SIGNING_KEY] = torch.frombuffer(seed, dtype=torch.uint8)
    return SigningKey.seeded(client.memory[_SIGNING_KEY].numpy().tobytes())


class _Encrypting(Member):
    def __init__(
        self, defense: HomomorphicEncryption, contribution: Contribution, client: ClientState, round: Round
    ) -> None:
        self._signing = _signing_key(defense, client) if defense.authenticated else None
        super().__init__(contribution, client, round, self._signing.public if self._signing else b"")
        self._defense = defense
        self._encryptor: Encryptor | None = None
        self._opened: Tensor | None = None

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if step == KEYS and self.roster and self.peers and self.roster.members[0] == self.client.name:
            yield from self._keys()
        if step == UPDATE and self._encryptor:
            terms = len(self.peers) + 1
            yield (
                SERVER,
                self._signed(step, _packed(self._encryptor.encrypt(self.weighted(), terms, whole(self.round)))),
            )
        if step == OPENED and self._opened is not None:
            yield SERVER, self._signed(step, {"sum": self._opened})

    def _keys(self) -> Said:
        parameters = self._defense.encryption
        pair = parameters.keys()
        self._encryptor = Encryptor(parameters, pair.secret)
        yield SERVER, _context(pair.public, parameters.ring_size)
        for peer in self.peers:
            yield peer, _context(pair.secret, parameters.ring_size)

    def _signed(self, step: str, parts: dict[str, Tensor]) -> Payload:
        sent = dict(parts)
        if self._signing:
            signature = self._signing.sign(_signed_bytes(parts), _bound(self.round, self.client.name, step))
            sent["signature"] = torch.frombuffer(bytearray(signature), dtype=torch.uint8)
        return Payload({name: Dense(part) for name, part in sent.items()})

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        super().hear(step, sender, payload)
        if step == KEYS:
            if not self.roster or sender != self.roster.members[0] or self._encryptor:
                raise CodecError("keys that nobody waits for")
            self._encryptor = _loaded(payload, self._defense.encryption, secret=True)
        if step == SUM and sender == SERVER and self._encryptor:
            self._opened = self._open(self._encryptor, payload)

    def _open(self, encryptor: Encryptor, payload: Payload) -> Tensor:
        """The sum, rounded: its noise would tell the server the secret key."""
        size = whole(self.round).size
        _, ciphertexts = _unpacked(payload, encryptor.parameters.count(size))
        try:
            total = encryptor.decrypt(ciphertexts, size)
        except BadCiphertext as error:
            raise CodecError(str(error)) from error
        grid = 2.0**self._defense.fraction_bits
        return ((total.double() * grid).round() / grid).float()


class _Adding(Assembly):
    """The server; it keeps the encrypted sum so far, never all updates.

    Args:
        defense: its parameters.
        round: the round.
        memory: the public key of every client that has ever joined.
    """

    def __init__(self, defense: HomomorphicEncryption, round: Round, memory: dict[str, Tensor]) -> None:
        super().__init__(round, key_bytes=KEY_BYTES if defense.authenticated else 0)
        self._defense, self._memory = defense, memory
        self._size = whole(round).size
        self._count = defense.encryption.count(self._size)
        self._encryptor: Encryptor | None = None
        self._total: Ciphertexts = ()
        self._added: set[str] = set()
        self._opened: dict[str, Tensor] = {}
        self._refused: list[str] = []

    def say(self, step: str) -> Said:
        yield from super().say(step)
        if step == SUM and len(self._added) >= self.least:
            payload = Payload({name: Dense(part) for name, part in _packed(self._total).items()})
            for name in self._openers:
                yield name, payload

    @property
    def _in_sum(self) -> list[str]:
        return [name for name in self.present().members if name in self._added]

    @property
    def _openers(self) -> list[str]:
        return self._in_sum[: self._defense.openers]

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        try:
            self._take(step, sender, payload)
        except CodecError as error:
            self._refused.append(f"{sender}: {error}")
            raise

    def _take(self, step: str, sender: str, payload: Payload) -> None:
        if step == JOIN:
            self._join(sender, payload)
        elif self.roster is None or sender not in self.roster.members:
            raise CodecError(f"{step!r} from a client that is not on the roster")
        elif step == KEYS:
            if sender != self.roster.members[0] or self._encryptor:
                raise CodecError("keys that nobody waits for")
            self._encryptor = _loaded(payload, self._defense.encryption, secret=False)
        elif step == UPDATE:
            self._add(sender, payload)
        elif step == OPENED:
            self._take_opened(sender, payload)

    def _join(self, sender: str, payload: Payload) -> None:
        """Let a client join, under the key that it joined with first."""
        key = dense(payload, "key", torch.uint8)
        known = self._memory.get(sender, key)
        if not torch.equal(key, known):
            raise CodecError("joins with another key than the first time")
        super().hear(JOIN, sender, payload)
        self._memory[sender] = known

    def _verify(self, step: str, sender: str, payload: Payload, parts: dict[str, Tensor]) -> None:
        if self._defense.authenticated:
            signature = dense(payload, "signature", torch.uint8, (SIGNATURE_BYTES,)).numpy().tobytes()
            public = self._memory[sender].numpy().tobytes()
            if not verify(public, _signed_bytes(parts), signature, _bound(self.round, sender, step)):
                raise CodecError("signature does not verify")

    def _add(self, sender: str, payload: Payload) -> None:
        if self._encryptor is None:
            raise CodecError("an update before there are keys")
        if sender in self._added:
            raise CodecError("a second update in one round")
        parts, ciphertexts = _unpacked(payload, self._count)
        self._verify(UPDATE, sender, payload, parts)
        try:
            self._total = self._encryptor.add([self._total, ciphertexts] if self._total else [ciphertexts])
        except BadCiphertext as error:
            raise CodecError(str(error)) from error
        self._added.add(sender)

    def _take_opened(self, sender: str, payload: Payload) -> None:
        if sender not in self._openers or sender in self._opened:
            raise CodecError("an opened sum that nobody waits for")
        total = dense(payload, "sum", torch.float32, (self._size,))
        self._verify(OPENED, sender, payload, {"sum": total})
        if not total.isfinite().all():
            raise CodecError("an opened sum that is not finite")
        self._opened[sender] = total

    def mean(self) -> Mean:
        if self._refused and self._defense.on_reject == "fail":
            raise RoundFailed(f"{self._refused[0]} ({len(self._refused)} messages were refused)")
        roster = self.present()
        if self._encryptor is None:
            raise RoundFailed(f"{roster.members[0]} was to make the keys and vanished, or sent none that can be used")
        if len(self._added) < self.least:
            raise RoundFailed(
                f"{len(self._added)} of {len(roster.members)} clients sent an update; {self.least} must, or the sum "
                "would be one client's"
            )
        silent = [
            f"{name} was to open the sum and vanished, or sent nothing that can be used"
            for name in self._openers
            if name not in self._opened
        ]
        if not self._opened:
            raise RoundFailed("; ".join(silent))
        self.incidents += silent
        return self.as_mean(self._agreed(), {name: roster.weight(name) for name in self._in_sum})

    def _agreed(self) -> Tensor:
        """The sum as all who opened it say: they hold one key, so they differ by a rounding at most."""
        (first, total), *others = self._opened.items()
        tolerance = 2.0**-self._defense.fraction_bits + _FLOAT32 * total.abs()
        for name, other in others:
            apart = (other - total).abs()
            if bool((apart > 1.5 * tolerance).any()):
                raise RoundFailed(f"{first} and {name} opened the sum to numbers up to {apart.max():.3g} apart")
        return total
