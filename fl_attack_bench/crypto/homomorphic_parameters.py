"""Parameters of homomorphic encryption: what fits, how exact a sum is, how secure it is, and the keys."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from math import isqrt, ldexp, sqrt
from typing import Any, Literal, get_args

from fl_attack_bench.crypto.context_bytes import Skeleton, skeleton
from fl_attack_bench.errors import UserError

Scheme = Literal["ckks", "bfv"]

# Homomorphic Encryption Standard (Albrecht et al. 2018), table 1: 128-bit security, ternary secret.
MOST_COEFFICIENT_BITS = {4096: 109, 8192: 218, 16384: 438, 32768: 881}
COARSEST = 1e-4  # the largest error of one number under CKKS that a context is made for
PLAIN_BITS = (20, 40)
_MOST_SCALE_BITS = 60
_PRIME_BITS = (30, 60)  # SEAL's primes have at most 60 bits
_SLOT_DEVIATIONS = 24  # the noise of a CKKS slot follows a Laplace law: P(beyond) = exp(-24 sqrt 2) = 2e-15
_COEFFICIENT_DEVIATIONS = 9  # the noise of a coefficient is normal: P(beyond) = 2e-19


@dataclass(frozen=True)
class KeyPair:
    """Serialised contexts.

    Args:
        secret: for the clients: parameters, public key and secret key.
        public: for the server: parameters and public key. No secret, Galois or relinearisation key.
    """

    secret: bytes = field(repr=False)
    public: bytes = field(repr=False)


@dataclass(frozen=True)
class Homomorphic:
    """Parameters of an additively homomorphic encryption of vectors of real numbers.

    Sizes at the defaults, measured: 61,952 bytes a ciphertext, 30.3 bytes a number under CKKS (2,048 a ciphertext) and
    15.1 under BFV (4,096 a ciphertext), the last ciphertext of a vector being padded with zeros.

    Args:
        scheme: ``ckks`` (approximate) or ``bfv`` (fixed point, exact sums).
        ring_size: N, degree of the polynomial modulus: 4096, 8192, 16384 or 32768.
        coefficient_bits: sizes of the primes of the coefficient modulus, from 30 to 60 bits, at least two. The last is
            used for encryption only and is not in the ciphertext. The sum may not exceed 109 for N = 4096, 218 for
            8192, 438 for 16384 and 881 for 32768 (128-bit security). ``(54, 54)`` leaves no level for a plaintext
            product: weigh before encrypting.
        scale_bits: CKKS: a number x is encoded as ``x * 2^scale_bits``.
        fraction_bits: BFV: x is encoded as ``round(x * 2^fraction_bits)``.
        plain_bits: BFV: size of the plain modulus t, the largest prime below ``2^plain_bits`` with t = 1 mod 2N; from
            20 to 40. It costs no bytes, only room for noise.

    Raises:
        UserError: a value out of its range, named with its bound; parameters under which not even one number in
            [-1, 1] fits, or under which the noise is too large.
    """

    scheme: Scheme = "ckks"
    ring_size: int = 4096
    coefficient_bits: tuple[int, ...] = (54, 54)
    scale_bits: int = 40
    fraction_bits: int = 20
    plain_bits: int = 32

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            raise UserError(f"scheme must be one of {', '.join(get_args(Scheme))}, not {self.scheme!r}")
        if self.ring_size not in MOST_COEFFICIENT_BITS:
            legal = ", ".join(map(str, MOST_COEFFICIENT_BITS))
            raise UserError(f"ring_size must be one of {legal}, not {self.ring_size!r}")
        object.__setattr__(self, "coefficient_bits", tuple(self.coefficient_bits))  # a suite gives a list
        self._check_coefficients()
        if self.scheme == "ckks":
            self._check_ckks()
        else:
            self._check_bfv()

    def _check_coefficients(self) -> None:
        bits = self.coefficient_bits
        if len(bits) < 2:
            raise UserError(f"coefficient_bits needs at least two primes, not {len(bits)}")
        for each in bits:
            _check_whole("a prime of coefficient_bits", each, *_PRIME_BITS)
        most = MOST_COEFFICIENT_BITS[self.ring_size]
        if sum(bits) > most:
            raise UserError(
                f"coefficient_bits sum to {sum(bits)}: at ring_size {self.ring_size} more than {most} bits fall "
                "short of 128-bit security; take smaller primes or a larger ring_size"
            )

    def _check_ckks(self) -> None:
        _check_whole("scale_bits", self.scale_bits, 1, min(_MOST_SCALE_BITS, self._modulus_bits - 2))
        if self.error(1) > COARSEST:
            raise UserError(
                f"scale_bits {self.scale_bits} leaves an error of {self.error(1):.1g} on each number, more than "
                f"{COARSEST:g}; use a larger scale"
            )

    def _check_bfv(self) -> None:
        _check_whole("plain_bits", self.plain_bits, *PLAIN_BITS)
        _check_whole("fraction_bits", self.fraction_bits, 1, self.plain_bits - 2)
        if self.most_terms < 1:
            raise UserError(
                f"plain_bits {self.plain_bits} leaves no room for noise in a modulus of {self._modulus_bits} bits; "
                "use a smaller plain modulus or larger primes"
            )

    @property
    def _modulus_bits(self) -> int:
        """Bits of q, the modulus of a ciphertext; q itself is at least half of ``2^bits``."""
        return sum(self.coefficient_bits[:-1])

    @property
    def _noise(self) -> float:
        """Standard deviation of one coefficient of a fresh ciphertext's noise: ``sqrt((2N/3 + 2) / 12)``.

        SEAL encrypts under all primes and divides by the last one. That makes the noise of encryption vanish and rounds
        both polynomials; the second rounding meets the ternary secret (2N/3 of its N coefficients are not zero). The
        third rounding is that of the encoding.
        """
        return sqrt((2 * self.ring_size / 3 + 2) / 12)

    @property
    def slots(self) -> int:
        """Numbers that one ciphertext holds: N/2 under CKKS, N under BFV."""
        return self.ring_size // 2 if self.scheme == "ckks" else self.ring_size

    @cached_property
    def plain_modulus(self) -> int:
        """BFV: t, the largest prime below ``2^plain_bits`` that is 1 modulo 2N, so that N numbers fit one plaintext."""
        return _batching_prime(self.ring_size, self.plain_bits)

    @property
    def most_terms(self) -> int:
        """How many fresh ciphertexts can be summed before their noise could spoil the sum.

        Nine standard deviations of a coefficient of the summed noise stay below ``q / 2t`` under BFV and ``q / 4``
        under CKKS, where the numbers themselves (see :meth:`bound`) take as much again.
        """
        room = ldexp(1, self._modulus_bits - 1) / (4 if self.scheme == "ckks" else 2 * self.plain_modulus)
        return int((room / (_COEFFICIENT_DEVIATIONS * self._noise)) ** 2)

    def bound(self, terms: int) -> float:
        """The largest magnitude of a number, ``terms`` of which can be summed.

        CKKS: ``2^(b - 2 - scale_bits) / terms`` with b the bits of a ciphertext's modulus. BFV:
        ``floor((t - 1) / 2 / terms) / 2^fraction_bits``.

        Raises:
            UserError: ``terms`` is below 1, or so large that noise (:attr:`most_terms`) or BFV's integers forbid it.
        """
        if not 1 <= terms <= self.most_terms:
            raise UserError(f"cannot sum {terms} ciphertexts under {self.scheme}: from 1 to {self.most_terms}")
        if self.scheme == "ckks":
            return ldexp(1, self._modulus_bits - 2 - self.scale_bits) / terms
        return ldexp((self.plain_modulus - 1) // 2 // terms, -self.fraction_bits)

    def error(self, terms: int) -> float:
        """The absolute error that a decrypted sum of ``terms`` vectors stays within, before it is rounded to float32.

        CKKS: ``24 sqrt(terms N / 2) sigma / 2^scale_bits`` with ``sigma^2 = (2N/3 + 2) / 12``: 24 standard deviations
        of a slot, exceeded with a probability of 2e-15 (the noise of a slot is a normal one times the magnitude of the
        secret there, which together is a Laplace law). BFV: ``terms * 2^-(fraction_bits + 1)``, the rounding to fixed
        point; the sum itself is exact. Rounding to float32 adds at most ``2^-24`` of the sum.
        """
        if self.scheme == "bfv":
            return ldexp(terms, -self.fraction_bits - 1)
        return ldexp(_SLOT_DEVIATIONS * sqrt(terms * self.ring_size / 2) * self._noise, -self.scale_bits)

    def count(self, length: int) -> int:
        """How many ciphertexts a vector of ``length`` numbers takes."""
        return -(-length // self.slots)

    def keys(self) -> KeyPair:
        """A fresh key pair, from the operating system's randomness (SEAL's generator): never the same twice.

        Raises:
            UserError: TenSEAL is not installed.
        """
        context = self._fresh_context()
        extra = {"save_galois_keys": False, "save_relin_keys": False}
        return KeyPair(
            secret=context.serialize(save_secret_key=True, **extra),
            public=context.serialize(save_secret_key=False, **extra),
        )

    @cached_property
    def skeletons(self) -> tuple[Skeleton, Skeleton]:
        """What a public and a secret context of these parameters consist of besides their keys."""
        keys = self.keys()
        return skeleton(keys.public), skeleton(keys.secret)

    def _fresh_context(self) -> Any:
        library = tenseal()
        context = library.context(
            library.SCHEME_TYPE.CKKS if self.scheme == "ckks" else library.SCHEME_TYPE.BFV,
            self.ring_size,
            plain_modulus=None if self.scheme == "ckks" else self.plain_modulus,
            coeff_mod_bit_sizes=list(self.coefficient_bits),
            n_threads=1,
        )
        if self.scheme == "ckks":
            context.global_scale = ldexp(1, self.scale_bits)
        return context


def tenseal() -> Any:
    """The library, loaded when it is first used.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module("tenseal")
    except ImportError as error:
        raise UserError(f"homomorphic encryption needs TenSEAL: pip install 'tenseal>=0.3.18' ({error})") from error


def _check_whole(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"{name} must be a whole number from {least} to {most}, not {value!r}")


@lru_cache(maxsize=32)
def _batching_prime(ring_size: int, bits: int) -> int:
    """The largest prime below ``2^bits`` that is 1 modulo ``2 * ring_size``, by trial division."""
    step = 2 * ring_size
    candidates = range(2**bits - step + 1, 2 ** (bits - 1), -step)
    return next(c for c in candidates if all(c % divisor for divisor in range(3, isqrt(c) + 1, 2)))
