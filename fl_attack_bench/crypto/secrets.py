"""Unpredictable numbers, fast: the keystream of AES-256 in counter mode (NIST SP 800-38A, section 6.5).

Byte ``i`` of a stream is byte ``i mod 16`` of ``AES_key(floor(i / 16))``, the counter being a 128-bit big-endian number
that begins at 0. The stream can therefore be read from any position, and what is read does not depend on how the work
is divided among threads. Without the key the bytes cannot be told from uniform ones.
"""

import os
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fl_attack_bench.errors import UserError

Bytes = npt.NDArray[np.uint8]

KEY_BYTES = 32
LARGEST_BOUND = 2**61
_AES_BLOCK = 16
_LABEL = b"fl-attack-bench keystream "
# The cipher encrypts zeros, block by block, so that the zeros stay in the cache and only the output moves memory.
_ZEROS = memoryview(bytes(2**18))
_WORDS = 2**16  # numbers that `below` tests while they are still in the cache


class Keystream:
    """A place in a stream of keystream bytes, from which one reader reads on. Not to be shared between threads.

    Args:
        key: 16 bytes (AES-128) or 32 bytes (AES-256).
        position: how many bytes of the stream lie before the first one that is read.
    """

    def __init__(self, key: bytes, position: int = 0) -> None:
        counter, inside = divmod(position, _AES_BLOCK)
        cipher = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(_AES_BLOCK, "big")))
        self._cipher = cipher.encryptor()
        self.position = position
        if inside:
            self._cipher.update(bytes(inside))

    def fill(self, out: Bytes) -> None:
        """Write the next ``out.size`` bytes of the stream into ``out``.

        Args:
            out: uint8, any shape, C-contiguous and writable.

        Raises:
            ValueError: ``out`` is of another type or has gaps.
        """
        if out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"keystream needs contiguous uint8, not {out.dtype} of strides {out.strides}")
        flat = out.reshape(-1)
        for start in range(0, flat.size, len(_ZEROS)):
            piece = flat[start : start + len(_ZEROS)]
            self._cipher.update_into(_ZEROS[: piece.size], piece.data)
        self.position += flat.size


class Secrets:
    """A stream of unpredictable numbers, each handed out once.

    A key must be used for one stream only: two objects made from one key or one seed give the same numbers, and two
    secrets masked by the same numbers reveal their difference. Where several streams must come of one seed (a mask in
    each round), give each a ``purpose`` of its own. Not to be shared between threads.

    Args:
        key: 32 bytes that nobody else can guess. :meth:`fresh`, :meth:`seeded` and :meth:`from_generator` make one.

    Raises:
        UserError: the key does not have 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise UserError(f"a key has {KEY_BYTES} bytes, not {len(key)}; use Secrets.seeded for other lengths")
        self._key = key
        self._stream = Keystream(key)

    @classmethod
    def fresh(cls) -> "Secrets":
        """A stream under a key of the operating system: never the same twice."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def seeded(cls, seed: bytes, purpose: bytes = b"") -> "Secrets":
        """The stream that belongs to a seed and a purpose: the same each time.

        The key is HKDF-SHA256 (RFC 5869) of the seed, so a seed may have any length; the numbers are as hard to guess
        as the seed is.

        Args:
            seed: at least one byte; 32 unpredictable ones (a shared secret) for full strength.
            purpose: tells apart the streams of one seed. It need not be secret.

        Raises:
            UserError: the seed is empty.
        """
        if not seed:
            raise UserError("a seed needs at least one byte: an empty one gives everybody the same secrets")
        return cls(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_LABEL + purpose).derive(seed))

    @classmethod
    def from_generator(cls, generator: torch.Generator) -> "Secrets":
        """Reproducible secrets: the seed is the next 32 bytes of a torch generator, which is not cryptographic."""
        drawn = torch.randint(0, 256, (KEY_BYTES,), generator=generator, device=generator.device, dtype=torch.uint8)
        return cls.seeded(drawn.cpu().numpy().tobytes())

    def fill(self, out: Bytes) -> None:
        """Write the next ``out.size`` bytes into ``out`` (uint8, C-contiguous); see :meth:`Keystream.fill`."""
        self._stream.fill(out)

    def words(self, count: int) -> npt.NDArray[np.int64]:
        """``count`` elements of Z_2^64, uniform, as int64 in two's complement; shape ``(count,)``."""
        out = np.empty(count, dtype=np.int64)
        self.fill(out.view(np.uint8))
        return out

    def below(self, bound: int, shape: int | tuple[int, ...]) -> npt.NDArray[np.uint64]:
        """Uniform integers in ``[0, bound)``.

        Rejection sampling: of each 64-bit word the low ``k`` bits are kept, ``2^(k-1) < bound <= 2^k``, and the word is
        drawn again while they are not below ``bound``. Every value is equally likely, and fewer than two draws a number
        are needed on average; about one for a prime just below a power of two.

        Args:
            bound: from 1 to 2^61.
            shape: of the result.

        Raises:
            UserError: the bound is out of range.
        """
        if not 1 <= bound <= LARGEST_BOUND:
            raise UserError(f"cannot draw below {bound}: the bound must lie in [1, 2^61]")
        size = shape if isinstance(shape, int) else prod(shape)
        out = np.empty(size, dtype=np.uint64)
        mask = np.uint64((1 << (bound - 1).bit_length()) - 1)
        for start in range(0, size, _WORDS):
            self._draw_below(bound, mask, out[start : start + _WORDS])
        return out.reshape(shape)

    def _draw_below(self, bound: int, mask: np.uint64, out: npt.NDArray[np.uint64]) -> None:
        self.fill(out.view(np.uint8))
        out &= mask
        rejected = np.flatnonzero(out >= np.uint64(bound))
        while rejected.size:
            again = self.words(rejected.size).view(np.uint64) & mask
            out[rejected] = again
            rejected = rejected[again >= np.uint64(bound)]

    def reserve(self, count: int) -> int:
        """Set the next ``count`` bytes aside for readers made with :meth:`reader`; returns where they begin."""
        start = self._stream.position
        self._stream = Keystream(self._key, start + count)
        return start

    def reader(self, position: int) -> Keystream:
        """A reader of its own, for one thread, at a position that :meth:`reserve` set aside."""
        return Keystream(self._key, position)

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        out = np.empty(count, dtype=np.uint8)
        self.fill(out)
        return out.tobytes()
