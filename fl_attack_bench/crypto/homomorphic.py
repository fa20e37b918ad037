"""Sums of encrypted vectors: the server adds ciphertexts that only the clients can open.

CKKS (Cheon et al. 2017) computes on approximate real numbers, BFV (Fan and Vercauteren 2012) on integers, here on fixed
point, and exactly. Both come from TenSEAL 0.3.18 (on Microsoft SEAL 4), which is loaded when the first key is. There is
one secret key, which all clients hold: the server, which has the public context alone, learns nothing from a
ciphertext, but a client that colludes with the server opens every other client's upload.

A ciphertext says nothing about who made it, and a single flipped bit of it decrypts to rubbish without a warning. What
comes over a network needs a signature (:mod:`fl_attack_bench.crypto.authentication`).

Size. A fresh ciphertext of SEAL under the *secret* key can be stored as a seed and one polynomial, half the bytes.
TenSEAL's vectors never do that: their ``ENCRYPTION_TYPE.SYMMETRIC`` stores both polynomials, as the public key does.
(TenSEAL's low-level binding can write seeded ciphertexts, to a file path only: 30,984 bytes for 61,748.) CKKS slots are
complex numbers of which TenSEAL's vectors fill the real part, hence N/2 numbers a ciphertext against N under BFV.
"""

import struct
from collections.abc import Sequence
from math import ldexp
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_attack_bench.crypto.context_bytes import ciphertext_of, skeleton, vector_of
from fl_attack_bench.crypto.homomorphic_parameters import Homomorphic, KeyPair, Scheme, tenseal
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.errors import UserError
from fl_attack_bench.update import Layout

__all__ = ["BadCiphertext", "BadContext", "Ciphertexts", "Encryptor", "Homomorphic", "KeyPair", "Scheme"]

Ciphertexts = tuple[bytes, ...]
Floats = npt.NDArray[np.float64]

_SERIALISED_HEAD = 1024  # more than a serialised ciphertext has besides its coefficients
# What TenSEAL raises at bytes that SEAL or protobuf refuses, by way of pybind11.
_REFUSED = (RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError)


class BadCiphertext(ValueError):  # noqa: N818 - says what was received
    """Bytes that are no ciphertext under these parameters, or ciphertexts that do not belong together."""


class BadContext(ValueError):  # noqa: N818 - says what was received
    """Bytes that are no context, or a context of other parameters."""


class Encryptor:
    """A loaded context: encrypts, and either adds (with a public context) or decrypts (with a secret one).

    A ciphertext on the wire is ``length (4 bytes, little-endian) | SEAL's bytes | zeros`` up to a multiple of N/8
    bytes. SEAL compresses, and the compressed length varies by some tens of bytes from one encryption to the next; with
    the zeros the metered size is the same each time, for 0.3% more.

    Args:
        parameters: those under which the keys were made.
        context: one half of :meth:`Homomorphic.keys`. It may come from a stranger.

    Raises:
        UserError: TenSEAL is not installed.
        BadContext: not a context, or one of other parameters.
    """

    def __init__(self, parameters: Homomorphic, context: bytes) -> None:
        library = tenseal()
        self.parameters = parameters
        genuine = parameters.skeletons
        try:
            alike = skeleton(context) in genuine
            loaded = library.Context.load(context, n_threads=1) if alike else None
        except _REFUSED as error:
            raise BadContext(f"{len(context)} bytes are not an encryption context: {error}") from error
        if not alike:
            raise BadContext(f"a context of other parameters than {parameters}")
        self._context: Any = loaded
        ckks = parameters.scheme == "ckks"
        self._scale = ldexp(1, parameters.scale_bits) if ckks else None
        self._make: Any = library.ckks_vector if ckks else library.bfv_vector
        self._load: Any = library.ckks_vector_from if ckks else library.bfv_vector_from

    @property
    def secret(self) -> bool:
        """Whether the context holds the secret key."""
        return bool(self._context.has_secret_key())

    def encrypt(self, values: Tensor, terms: int, layout: Layout | None = None) -> Ciphertexts:
        """A vector in as few ciphertexts as hold it, each of the same size.

        Args:
            values: shape ``(n,)``, floating point.
            terms: how many such vectors will be summed, at most.
            layout: names the layers of ``values`` in an error; its size is n.

        Raises:
            RangeError: a value is not finite or larger than :meth:`Homomorphic.bound` of ``terms``.
            UserError: no such sum can be held, whatever the values.
        """
        exact = values.detach().cpu().double().flatten().numpy()
        self._check_range(exact, terms, layout)
        if self.parameters.scheme == "bfv":
            exact = np.rint(exact * 2.0**self.parameters.fraction_bits).astype(np.int64)
        padded = np.zeros((self.parameters.count(exact.size), self.parameters.slots), dtype=exact.dtype)
        padded.reshape(-1)[: exact.size] = exact
        # One TenSEAL vector a ciphertext: a longer vector would warn on standard output and hide its own sizes.
        return tuple(self._close(self._make(self._context, chunk)) for chunk in padded)

    def add(self, messages: Sequence[Ciphertexts]) -> Ciphertexts:
        """The encrypted sum of what several clients encrypted, without any secret.

        Raises:
            UserError: no message, or this context holds the secret key: whoever adds must not have it.
            BadCiphertext: the messages differ in their number of ciphertexts, or one does not belong to this context.
        """
        if self.secret:
            raise UserError("ciphertexts are added under the public context: the party that adds has no secret key")
        if not messages:
            raise UserError("there is no message to add up")
        counts = sorted({len(message) for message in messages})
        if len(counts) > 1:
            raise BadCiphertext(f"messages of {' and '.join(map(str, counts))} ciphertexts cannot be added")
        return tuple(self._add(column) for column in zip(*messages, strict=True))

    def decrypt(self, ciphertexts: Ciphertexts, length: int) -> Tensor:
        """The first ``length`` numbers of a vector or of a sum; float32, shape ``(length,)``.

        Raises:
            UserError: this context does not hold the secret key.
            BadCiphertext: too few or too many ciphertexts for ``length``, or one that does not belong to this context.
        """
        if not self.secret:
            raise UserError("a public context cannot decrypt: it holds no secret key")
        wanted = self.parameters.count(length)
        if len(ciphertexts) != wanted:
            raise BadCiphertext(f"{length} numbers stand in {wanted} ciphertexts, not in {len(ciphertexts)}")
        plain = np.zeros((wanted, self.parameters.slots))
        for row, data in zip(plain, ciphertexts, strict=True):
            row[:] = self._open(data).decrypt()
        scale = 1.0 if self.parameters.scheme == "ckks" else 2.0**-self.parameters.fraction_bits
        return torch.from_numpy(plain.reshape(-1)[:length] * scale).float()

    def _add(self, column: Sequence[bytes]) -> bytes:
        total = self._open(column[0])
        for data in column[1:]:
            other = self._open(data)
            try:
                total.add_(other)
            except _REFUSED as error:  # SEAL refuses a sum that would be no encryption any more
                raise BadCiphertext(f"ciphertexts cannot be added: {error}") from error
        return self._close(total)

    def _close(self, vector: Any) -> bytes:
        data = ciphertext_of(vector.serialize())
        framed = struct.pack("<I", len(data)) + data
        return framed + bytes(-len(framed) % self._block)

    def _open(self, framed: bytes) -> Any:
        """The vector in a ciphertext, after everything that adding or decrypting it would trust has been checked."""
        data = self._unframe(framed)
        try:
            vector = self._load(self._context, vector_of(data, self.parameters.slots, self._scale))
        except _REFUSED as error:
            raise BadCiphertext(f"{len(data)} bytes are not a ciphertext under this context: {error}") from error
        (inside,) = vector.ciphertext()
        shape = (inside.size(), inside.coeff_modulus_size(), inside.poly_modulus_degree())
        wanted = (2, len(self.parameters.coefficient_bits) - 1, self.parameters.ring_size)
        if shape != wanted:
            raise BadCiphertext(f"a ciphertext of polynomials, primes, degree {shape}, not {wanted}")
        if self._scale is not None and inside.scale != self._scale:
            raise BadCiphertext(f"a ciphertext of scale {inside.scale:g}, not 2^{self.parameters.scale_bits}")
        if inside.is_transparent():
            raise BadCiphertext("a ciphertext that hides nothing: its second polynomial is zero")
        return vector

    def _unframe(self, framed: bytes) -> bytes:
        primes = len(self.parameters.coefficient_bits) - 1
        most = 16 * self.parameters.ring_size * primes + _SERIALISED_HEAD + self._block
        if not self._block <= len(framed) <= most or len(framed) % self._block:
            raise BadCiphertext(
                f"a ciphertext has a multiple of {self._block} bytes, at most {most}, not {len(framed)} bytes"
            )
        (length,) = struct.unpack_from("<I", framed)
        if not len(framed) - self._block < 4 + length <= len(framed) or any(framed[4 + length :]):
            raise BadCiphertext(f"{length} bytes announced in a ciphertext of {len(framed)}, zeros behind them")
        return framed[4 : 4 + length]

    @property
    def _block(self) -> int:
        return self.parameters.ring_size // 8

    def _check_range(self, values: Floats, terms: int, layout: Layout | None) -> None:
        if layout is not None and layout.size != len(values):
            raise ValueError(f"a layout of {layout.size} entries cannot name {len(values)} values")
        bound = self.parameters.bound(terms)
        outside = ~(np.abs(values) <= bound)  # true for NaN
        if not outside.any():
            return
        index = int(outside.argmax())
        value, where = float(values[index]), f"entry {index}"
        if layout is not None:
            name, place = next((n, s) for n, s in layout.slices.items() if s.start <= index < s.stop)
            where = f"layer {name!r}, entry {index - place.start}"
        raise RangeError(
            f"{where}: {value:g} does not fit: under {self.parameters.scheme} a sum of {terms} values holds at most "
            f"{bound:g} each; clip the update, or use fewer scale_bits or fraction_bits"
        )
