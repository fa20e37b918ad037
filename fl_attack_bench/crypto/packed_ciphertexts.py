"""Many samples in one ciphertext: the k-th slot of every ciphertext belongs to the k-th sample.

The layout of CryptoNets (Gilad-Bachrach et al. 2016, section 3): one ciphertext a feature, so that a layer is applied
to all samples at once and no slot ever moves. CKKS (Cheon et al. 2017) over Microsoft SEAL, through the low-level
binding of TenSEAL 0.3.18, whose tensors rescale after every single product and take five times as long.

Whoever holds the secret key encrypts under it: such a ciphertext is stored as a seed and one polynomial, half the bytes
of one under a public key. The binding reads and writes files only, so ciphertexts and evaluation keys, which may be
seen by everybody, pass through a temporary file; the secret key never leaves the process.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from math import ldexp
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_attack_bench.crypto.homomorphic import BadCiphertext
from fl_attack_bench.crypto.homomorphic_parameters import MOST_COEFFICIENT_BITS, tenseal
from fl_attack_bench.errors import UserError

LAST_PRIME = 60  # bits of the prime that is never dropped: what the answer has room in
_SPECIAL_PRIME = (40, 60)  # bits of the prime that relinearisation works under
_LINEAR_PRIME = 30  # bits of the prime that is dropped after a layer that is not squared
_BLOCK_SHARE = 8  # a ciphertext is padded to a multiple of N/8 bytes
_REFUSED = (RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError)


class NotEvaluable(UserError):  # noqa: N818 - says what was asked for
    """A network that ciphertexts of this size cannot carry; the message names the layer or the bits."""


@dataclass(frozen=True)
class Packing:
    """Parameters of CKKS for a network of linear layers of which some are squared.

    A number x is encrypted as ``x a`` with ``a = 2^number_bits`` and meets weights ``w b``, ``b = 2^weight_bits``. The
    square of a sum has the scale ``(a b)^2``; dropping one prime ``p = a b^2`` brings it back to a. One prime a squared
    layer is thus enough; the last layer needs none.

    Args:
        squares: of each layer before the last, whether it is squared.
        ring_size: N, degree of the polynomial modulus: 4096, 8192, 16384 or 32768. N/2 samples fit a ciphertext.
        number_bits: of the scale of an encrypted number.
        weight_bits: of the scale of a weight.

    Raises:
        UserError: another ring size, or scales that no prime has room for.
        NotEvaluable: more layers than 128-bit security leaves room for at this size.
    """

    squares: tuple[bool, ...]
    ring_size: int = 8192
    number_bits: int = 26
    weight_bits: int = 16

    def __post_init__(self) -> None:
        if self.ring_size not in MOST_COEFFICIENT_BITS:
            legal = ", ".join(map(str, MOST_COEFFICIENT_BITS))
            raise UserError(f"ring_size must be one of {legal}, not {self.ring_size!r}")
        prime = self.number_bits + 2 * self.weight_bits
        if not (self.number_bits >= 16 and self.weight_bits >= 8 and prime <= 60):
            raise UserError(
                f"number_bits + 2 weight_bits is {prime}: at most 60, with number_bits >= 16 and weight_bits >= 8"
            )
        if self._special < _SPECIAL_PRIME[0]:
            most = MOST_COEFFICIENT_BITS[self.ring_size]
            raise NotEvaluable(
                f"{len(self.squares) + 1} layers need a modulus of {sum(self._primes) + _SPECIAL_PRIME[0]} bits; at "
                f"ring_size {self.ring_size} more than {most} fall short of 128-bit security: use a larger ring"
            )

    @property
    def slots(self) -> int:
        """Samples that one ciphertext holds: N/2."""
        return self.ring_size // 2

    @property
    def relinearised(self) -> bool:
        """Whether the evaluating party needs keys: squares are brought back to two polynomials with them."""
        return any(self.squares)

    @property
    def coefficient_bits(self) -> tuple[int, ...]:
        """Sizes of the primes: the one that stays, those that are dropped (the first layer's last), the special one."""
        return (*self._primes, self._special)

    @property
    def _primes(self) -> tuple[int, ...]:
        dropped = [self.number_bits + 2 * self.weight_bits if square else _LINEAR_PRIME for square in self.squares]
        return (LAST_PRIME, *reversed(dropped))

    @property
    def _special(self) -> int:
        return min(_SPECIAL_PRIME[1], MOST_COEFFICIENT_BITS[self.ring_size] - sum(self._primes))

    @property
    def bound(self) -> float:
        """The largest magnitude of an answer, at 8 weight bits in the last layer: ``2^(58 - number_bits - 8)``."""
        return ldexp(1, LAST_PRIME - 2 - self.number_bits - 8)

    @property
    def inner_bounds(self) -> tuple[float, ...]:
        """The largest magnitude z that each layer before the last can have, so that it fits the primes that are left.

        Of their B bits one is for the sign and one to spare: ``(z a b)^2 <= 2^(B - 2)`` of a layer that is squared, and
        ``z a p <= 2^(B - 2)`` of another, whose weights have the scale p of the prime that is dropped.
        """
        found, left = [], sum(self._primes)
        for square, dropped in zip(self.squares, reversed(self._primes[1:]), strict=True):
            if square:
                found.append(2.0 ** ((left - 2) / 2 - self.number_bits - self.weight_bits))
            else:
                found.append(2.0 ** (left - 2 - self.number_bits - dropped))
            left -= dropped
        return tuple(found)

    def answer_scale(self, largest: float) -> float:
        """The scale of the last layer's weights, ``2^20`` or what answers of magnitude ``largest`` leave room for."""
        room = LAST_PRIME - 2 - self.number_bits
        return next((ldexp(1, bits) for bits in range(20, 8, -1) if largest <= ldexp(1, room - bits)), ldexp(1, 8))

    @cached_property
    def context(self) -> Any:
        """SEAL's context: the parameters, checked for 128-bit security by SEAL itself. No key is in it."""
        tenseal()
        seal = import_module("tenseal.sealapi")
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(self.ring_size)
        parameters.set_coeff_modulus(seal.CoeffModulus.Create(self.ring_size, list(self.coefficient_bits)))
        context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        if not context.parameters_set():
            raise UserError(f"SEAL refuses {self}: {context.parameters_error_message()}")
        return context


class PackedOwner:
    """The party with the secret key: encrypts batches and opens answers. Each object has a fresh key of its own.

    Args:
        packing: the parameters.
    """

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self._context = packing.context
        self._seal = import_module("tenseal.sealapi")
        self._keys = self._seal.KeyGenerator(self._context)
        secret = self._keys.secret_key()
        self._encoder = self._seal.CKKSEncoder(self._context)
        self._encryptor = self._seal.Encryptor(self._context, secret)
        self._decryptor = self._seal.Decryptor(self._context, secret)

    def evaluation_keys(self) -> Tensor:
        """Relinearisation keys, uint8, shape ``(1, size)``; shape ``(0, 0)`` where nothing is squared.

        There are no Galois keys: nothing rotates the slots.
        """
        keys = [_saved(self._keys.create_relin_keys())] if self.packing.relinearised else []
        return _framed(keys, self.packing)

    def encrypt(self, numbers: Tensor) -> Tensor:
        """One ciphertext a column.

        Args:
            numbers: shape ``(samples, n)``, at most :attr:`Packing.slots` samples, finite.

        Returns:
            uint8, shape ``(n, size)``: a row is ``length (4 bytes, little-endian) | SEAL's bytes | zeros``.

        Raises:
            UserError: too many samples, or a number that is not finite or beyond [-2^16, 2^16].
        """
        if not 1 <= len(numbers) <= self.packing.slots:
            raise UserError(f"a ciphertext holds 1 to {self.packing.slots} samples, not {len(numbers)}")
        exact = numbers.detach().cpu().double()
        if not bool((exact.abs() <= 2.0**16).all()):  # false for NaN
            raise UserError("only finite numbers from -2^16 to 2^16 can be encrypted")
        plain = self._seal.Plaintext()
        ciphertexts = []
        for column in exact.T.numpy():
            self._encoder.encode(column.tolist(), ldexp(1, self.packing.number_bits), plain)
            ciphertexts.append(_saved(self._encryptor.encrypt_symmetric(plain)))
        return _framed(ciphertexts, self.packing)

    def decrypt(self, rows: Tensor, samples: int, outputs: int) -> Tensor:
        """What the answers hold, float64, shape ``(samples, outputs)``.

        Raises:
            BadCiphertext: another number of ciphertexts, or one that is none under these parameters.
        """
        columns = []
        plain = self._seal.Plaintext()
        for data in _unframed(rows, outputs, self.packing):
            answer = _ciphertext(self._seal, self._context, data)
            _check(answer, self.packing, primes=1, scale=None)
            self._decryptor.decrypt(answer, plain)
            columns.append(self._encoder.decode_double(plain)[:samples])
        return torch.tensor(columns, dtype=torch.float64).T.contiguous()


class PackedEvaluator:
    """The party without the secret key: computes on ciphertexts.

    Args:
        packing: the parameters.
        keys: what :meth:`PackedOwner.evaluation_keys` gave. They may come from a stranger.

    Raises:
        BadCiphertext: not evaluation keys of these parameters.
    """

    def __init__(self, packing: Packing, keys: Tensor) -> None:
        self.packing = packing
        self._context = packing.context
        self._seal = import_module("tenseal.sealapi")
        self._evaluator = self._seal.Evaluator(self._context)
        self._encoder = self._seal.CKKSEncoder(self._context)
        self._plain = self._seal.Plaintext()
        self._product = self._seal.Ciphertext(self._context)
        self._keys = self._seal.RelinKeys()
        for data in _unframed(keys, int(packing.relinearised), packing):
            _load(self._keys, self._context, data)
            if self._keys.size() != 1 or not self._keys.has_key(2):
                raise BadCiphertext(f"{self._keys.size()} evaluation keys, not the one for squares")

    def open(self, rows: Tensor, count: int) -> list[Any]:
        """Fresh ciphertexts from their bytes.

        Raises:
            BadCiphertext: another number of ciphertexts, or one that is none under these parameters.
        """
        found = []
        for data in _unframed(rows, count, self.packing):
            ciphertext = _ciphertext(self._seal, self._context, data)
            primes = len(self.packing.coefficient_bits) - 1
            _check(ciphertext, self.packing, primes, ldexp(1, self.packing.number_bits))
            found.append(ciphertext)
        return found

    def close(self, ciphertexts: Sequence[Any]) -> Tensor:
        """The bytes of ciphertexts, uint8, shape ``(n, size)``."""
        return _framed([_saved(each) for each in ciphertexts], self.packing)

    def combine(self, inputs: Sequence[Any], weights: Sequence[float], bias: float, scale: float) -> Any:
        """``sum_i weights_i inputs_i + bias``, its weights rounded to multiples of ``1/scale``.

        Args:
            inputs: ciphertexts of one level and scale, at least one.
            weights: one for each.
            bias: added to every slot.
            scale: of the weights.
        """
        level = inputs[0].parms_id()
        total: Any = None
        kept = [(each, weight) for each, weight in zip(inputs, weights, strict=True) if abs(weight) * scale >= 0.5]
        # A sum without any term would be a ciphertext that hides nothing, which SEAL refuses: the least weight then.
        for each, weight in kept or [(inputs[0], 1 / scale)]:
            self._encoder.encode(float(weight), level, scale, self._plain)
            if total is None:
                total = self._seal.Ciphertext(self._context)
                self._evaluator.multiply_plain(each, self._plain, total)
                continue
            self._evaluator.multiply_plain(each, self._plain, self._product)
            self._evaluator.add_inplace(total, self._product)
        self._encoder.encode(float(bias), level, total.scale, self._plain)
        self._evaluator.add_plain_inplace(total, self._plain)
        return total

    def square(self, ciphertext: Any) -> None:
        """Square every slot, in place, and drop one prime."""
        self._evaluator.square_inplace(ciphertext)
        self._evaluator.relinearize_inplace(ciphertext, self._keys)
        self._evaluator.rescale_to_next_inplace(ciphertext)

    def rescale(self, ciphertext: Any) -> None:
        """Divide the scale by one prime, which is dropped; in place."""
        self._evaluator.rescale_to_next_inplace(ciphertext)

    def dropped_next(self, ciphertext: Any) -> int:
        """The prime that :meth:`rescale` divides by."""
        moduli = self._context.get_context_data(ciphertext.parms_id()).parms().coeff_modulus()
        return int(moduli[-1].value())


def _check(ciphertext: Any, packing: Packing, primes: int, scale: float | None) -> None:
    shape = (ciphertext.size(), ciphertext.coeff_modulus_size(), ciphertext.poly_modulus_degree())
    if shape != (2, primes, packing.ring_size):
        raise BadCiphertext(
            f"a ciphertext of polynomials, primes, degree {shape}, not {(2, primes, packing.ring_size)}"
        )
    if scale is not None and ciphertext.scale != scale:
        raise BadCiphertext(f"a ciphertext of scale {ciphertext.scale:g}, not {scale:g}")
    if not 1 <= ciphertext.scale < ldexp(1, LAST_PRIME):  # false for NaN
        raise BadCiphertext(f"a ciphertext of scale {ciphertext.scale:g}: from 1 to 2^{LAST_PRIME}")
    if ciphertext.is_transparent():
        raise BadCiphertext("a ciphertext that hides nothing: its second polynomial is zero")


def _ciphertext(seal: Any, context: Any, data: bytes) -> Any:
    return _load(seal.Ciphertext(context), context, data)


def _load(empty: Any, context: Any, data: bytes) -> Any:
    """SEAL reads the bytes, and refuses what is not valid for the context."""
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            empty.load(context, file.name)
        except _REFUSED as error:
            raise BadCiphertext(f"{len(data)} bytes are not of this encryption: {error}") from error
    return empty


def _saved(thing: Any) -> bytes:
    with NamedTemporaryFile() as file:
        thing.save(file.name)
        return file.read()


def _framed(pieces: Sequence[bytes], packing: Packing) -> Tensor:
    """One row each; SEAL compresses, so that lengths vary a little, and zeros hide that."""
    block = packing.ring_size // _BLOCK_SHARE
    size = max((-(-(4 + len(piece)) // block) * block for piece in pieces), default=0)
    rows = np.zeros((len(pieces), size), dtype=np.uint8)
    for row, piece in zip(rows, pieces, strict=True):
        row[: 4 + len(piece)] = np.frombuffer(struct.pack("<I", len(piece)) + piece, dtype=np.uint8)
    return torch.from_numpy(rows)


def _unframed(rows: Tensor, count: int, packing: Packing) -> list[bytes]:
    if rows.dtype != torch.uint8 or rows.ndim != 2 or len(rows) != count:
        raise BadCiphertext(f"{count} rows of bytes are expected, not {tuple(rows.shape)} of {rows.dtype}")
    found = []
    for row in rows.numpy():
        framed = row.tobytes()
        (length,) = struct.unpack_from("<I", framed) if len(framed) >= 4 else (len(framed),)
        if 4 + length > len(framed) or any(framed[4 + length :]):
            raise BadCiphertext(f"{length} bytes announced in a row of {len(framed)}, zeros behind them")
        found.append(framed[4 : 4 + length])
    return found
