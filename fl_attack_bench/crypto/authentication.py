"""Signed messages: who sent them, in which task and round, and that nobody altered them on the way.

Ed25519 (RFC 8032) from ``cryptography``. What is signed is the message together with its :class:`Context`, so a
signature speaks for one sender, one direction, one round and one task only, and fails when it is presented anywhere
else. The context is not sent. Each side builds it from what it knows already, which is what makes a replay fail.

Two things a signature does not stop. A message sent twice in one round verifies twice: the receiver must take the first
message of a sender in a round and refuse the rest. And a client that signs a poisoned update signs it correctly.
"""

import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fl_attack_bench.errors import UserError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_LABEL = b"fl-attack-bench signed message 1\x00"


@dataclass(frozen=True)
class Context:
    """What a signature speaks for besides the message.

    Args:
        task: which run of which task, for example a task's content hash.
        round: number of the round, in [0, 2^64).
        sender: name of the party that signs.
        direction: what kind of message this is and to whom, for example ``"upload"``.

    Raises:
        UserError: ``round`` is not a whole number in [0, 2^64).
    """

    task: str
    round: int
    sender: str
    direction: str

    def __post_init__(self) -> None:
        whole = isinstance(self.round, int) and not isinstance(self.round, bool)
        if not whole or not 0 <= self.round < 2**64:
            raise UserError(f"a context's round must be a whole number in [0, 2^64), not {self.round!r}")

    def encode(self) -> bytes:
        """Bytes that no other context has: each text with its length (8 bytes, little-endian) before it."""
        pieces = [struct.pack("<Q", self.round)]
        for text in (self.task, self.sender, self.direction):
            raw = text.encode("utf-8", "surrogatepass")  # every str has an encoding of its own, lone surrogates too
            pieces += [struct.pack("<Q", len(raw)), raw]
        return b"".join(pieces)


class SigningKey:
    """A party's private signing key; its public half is what the others verify with.

    Args:
        private: 32 bytes, unpredictable. :meth:`fresh` draws them.

    Raises:
        UserError: ``private`` does not have 32 bytes.
    """

    def __init__(self, private: bytes) -> None:
        if len(private) != KEY_BYTES:
            raise UserError(f"a signing key is made of {KEY_BYTES} bytes, not {len(private)}")
        self._key = Ed25519PrivateKey.from_private_bytes(private)

    @classmethod
    def fresh(cls) -> "SigningKey":
        """A key of the operating system's randomness: never the same twice."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def seeded(cls, seed: bytes) -> "SigningKey":
        """The key that belongs to 32 bytes: the same each time, as hard to guess as they are.

        Raises:
            UserError: the seed does not have 32 bytes.
        """
        return cls(seed)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes. The receiver must know beforehand whose it is: a signature does not say it."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes, context: Context) -> bytes:
        """The signature of a message in its context, 64 bytes; the same message always gets the same signature."""
        return self._key.sign(_signed(data, context))


def verify(public: bytes, data: bytes, signature: bytes, context: Context) -> bool:
    """Whether the holder of ``public`` signed exactly this message for exactly this context.

    Args:
        public: the key that is on record for ``context.sender``, never one that came with the message.
        data: the message as it was received.
        signature: what came with it, of any length.
        context: what the receiver expects: its own task and round, the sender on whose behalf the message came.

    Returns:
        False for anything else, a malformed key or signature too. A second copy of a genuine message in the same
        context verifies again: refusing it is the caller's part.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(data, context))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(data: bytes, context: Context) -> bytes:
    return _LABEL + context.encode() + data
