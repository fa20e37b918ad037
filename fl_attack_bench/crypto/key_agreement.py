"""Keys that two parties agree on through a server, and messages sealed under them.

The parts that pairwise masking needs (Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving
Machine Learning", sections 3 and 4): a Diffie-Hellman agreement hashed to a key, here X25519 (RFC 7748) with
HKDF-SHA256 (RFC 5869), and authenticated encryption, here AES-256-GCM (NIST SP 800-38D); all from ``cryptography``.

The agreement alone does not say who the other party is. Against a server that swaps public keys, they must be signed
(:mod:`fl_attack_bench.crypto.authentication`), as the paper does for active adversaries.
"""

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fl_attack_bench.errors import UserError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD = NONCE_BYTES + TAG_BYTES  # bytes that sealing adds
_LABEL = b"fl-attack-bench agreed key 1\x00"


class BadPublicKey(ValueError):  # noqa: N818 - says what was received
    """Bytes that are no X25519 public key, or one of low order, with which every agreement gives the same secret."""


class Forged(ValueError):  # noqa: N818 - says what was received
    """A sealed message that was altered, cut short, or sealed under another key or for another purpose."""


class AgreementKey:
    """One party's key pair for agreements.

    Args:
        private: 32 bytes, unpredictable. :meth:`fresh` draws them; a key restored from its Shamir shares comes in here.

    Raises:
        UserError: ``private`` does not have 32 bytes.
    """

    def __init__(self, private: bytes) -> None:
        if len(private) != KEY_BYTES:
            raise UserError(f"a private key has {KEY_BYTES} bytes, not {len(private)}")
        self._key = X25519PrivateKey.from_private_bytes(private)

    @classmethod
    def fresh(cls) -> "AgreementKey":
        """A key of the operating system's randomness: never the same twice."""
        return cls(os.urandom(KEY_BYTES))

    @property
    def private(self) -> bytes:
        """The private half, 32 bytes, as given: what pairwise masking shares out among the clients."""
        return self._key.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        return self._key.public_key().public_bytes_raw()


def agree(own: AgreementKey, other: bytes, info: bytes) -> bytes:
    """The key that two parties share: HKDF-SHA256 of X25519(own private, other public), the same on both sides.

    Both public keys, the smaller first, go into HKDF's info before ``info``, so that a key belongs to one pair.

    Args:
        own: this party's key pair.
        other: the other party's public key, 32 bytes.
        info: tells apart the keys that one pair uses for different ends (masks, sealed shares). Need not be secret.

    Returns:
        32 bytes that cannot be told from random ones without one of the private keys.

    Raises:
        BadPublicKey: ``other`` has another length, or is of low order.
    """
    if len(other) != KEY_BYTES:
        raise BadPublicKey(f"an X25519 public key has {KEY_BYTES} bytes, not {len(other)}")
    try:
        secret = own._key.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        raise BadPublicKey(f"public key {other.hex()} is of low order: no secret can be agreed with it") from error
    pair = b"".join(sorted((own.public, other)))
    derivation = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_LABEL + pair + _with_length(info))
    return derivation.derive(secret)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM: ``nonce (12 bytes) | ciphertext | tag (16 bytes)``, so 28 bytes longer than the plaintext.

    The nonce is random. One key may therefore seal up to 2^32 messages (SP 800-38D, section 8.3).

    Args:
        key: 32 bytes, as :func:`agree` gives them.
        plaintext: what only the holder of the key may read.
        associated: what the message is bound to (sender, receiver, round); not sent, the receiver must know it.

    Raises:
        UserError: the key does not have 32 bytes.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, plaintext, associated)


def open_sealed(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext of :func:`seal`, if not one bit of it, of its key or of its associated data differs.

    Raises:
        UserError: the key does not have 32 bytes.
        Forged: anything differs.
    """
    cipher = _cipher(key)
    if len(sealed) < OVERHEAD:
        raise Forged(f"a sealed message has at least {OVERHEAD} bytes, not {len(sealed)}")
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag as error:
        raise Forged(f"{len(sealed)} sealed bytes do not verify: altered, of another key or for another end") from error


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise UserError(f"a sealing key has {KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key)


def _with_length(info: bytes) -> bytes:
    return struct.pack("<Q", len(info)) + info
