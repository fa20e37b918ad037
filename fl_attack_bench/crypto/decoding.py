"""Which Shamir shares are wrong: Reed-Solomon decoding (Reed and Solomon 1960; McEliece and Sarwate, CACM 24(9), 1981).

The R shares of one entry are the values of a polynomial of degree below K at R points, a word of a Reed-Solomon code.
Two such words differ in at least ``R - K + 1`` places, so a word with up to ``E = floor((R - K) / 2)`` wrong values has
one nearest polynomial, which is the right one. With R = N - lost this reads ``2 * altered + lost <= N - K``.

Tampering that is random and goes beyond E leaves a word that is near no polynomial, and is reported. Tampering that is
coordinated (:func:`coordinated`) can move the word next to another polynomial: no decoder of this code can tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from fl_attack_bench.crypto.field import Elements
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir
from fl_attack_bench.errors import UserError

Polynomial = list[int]  # coefficients from the constant up; the last is not 0, and the zero polynomial is empty


class Undecodable(Exception):  # noqa: N818 - what happened, as the record says it
    """Shares are wrong, and which ones cannot be said."""


@dataclass(frozen=True)
class Codeword:
    """The polynomial nearest to a received word.

    Args:
        coefficients: from the constant up, as many as the polynomial may have.
        errors: the positions in the received word that do not lie on it, in order.
    """

    coefficients: tuple[int, ...]
    errors: tuple[int, ...]


def decode(points: Sequence[int], values: Sequence[int], degree_below: int, prime: int) -> Codeword | None:
    """The polynomial of degree below K that all but ``floor((R - K) / 2)`` of R values lie on, or None.

    Gao's algorithm (A new algorithm for decoding Reed-Solomon codes, 2003): Euclid's algorithm on the product of all
    ``x - point`` and the polynomial through all values, stopped halfway.

    Args:
        points: R, distinct modulo the prime.
        values: one for each point.
        degree_below: K, from 1 to R.
        prime: of the field.

    Raises:
        ValueError: fewer than K values, not one for each point, or a point twice.
    """
    received = len(points)
    if len(values) != received or not 1 <= degree_below <= received or len({x % prime for x in points}) < received:
        raise ValueError(f"{len(values)} values at the points {list(points)} for a degree below {degree_below}")
    before, now = _vanishing(points, prime), interpolate(points, values, prime)
    locator_before: Polynomial = []
    locator: Polynomial = [1]
    while 2 * (len(now) - 1) >= received + degree_below:
        quotient, rest = _divide(before, now, prime)
        before, now = now, rest
        locator_before, locator = locator, _subtract(locator_before, _multiply(quotient, locator, prime), prime)
    found, _ = _divide(now, locator, prime)  # it is the answer if there is one, which is checked
    if len(found) > degree_below:
        return None
    errors = [i for i, (x, y) in enumerate(zip(points, values, strict=True)) if (_at(found, x, prime) - y) % prime]
    if 2 * len(errors) > received - degree_below:
        return None
    return Codeword(tuple(found + [0] * (degree_below - len(found))), tuple(errors))


def wrong_holders(
    shamir: Shamir, shares: Elements, holders: Sequence[int], secrets: Secrets, checks: int = 2
) -> frozenset[int]:
    """The holders whose shares are altered, up to ``floor((R - K) / 2)`` of them.

    Decoding each of n entries would take n decodings. Here the entries are first combined with random coefficients:
    ``w_j = sum_t c_t * share_j[t]``. The right shares of a linear combination are that combination of the right shares,
    so ``w`` is a word of the same code, and holder j's error in it is ``<c, e_j>`` where ``e_j`` is what was added to
    j's shares. For ``e_j != 0`` this is uniform over the field, since some entry ``e_j[t]`` has an inverse and ``c_t``
    is uniform and was not known when ``e_j`` was chosen: the error vanishes with probability ``1 / p`` for a check, and
    remains with probability ``1 - 1 / p``. A holder is missed by all checks with probability ``p ** -checks``.

    With ``lost = N - R`` shares that did not come, the holders are named whenever ``2 * altered + lost <= N - K``; the
    secret is then reconstructed exactly from the others. See the module for what happens beyond that.

    Args:
        shamir: how the secret was shared.
        shares: shape ``(R, n)``; a value above the prime counts as its remainder.
        holders: whose they are.
        secrets: where the coefficients are drawn from, after the shares came; not to be foreseen by a holder.
        checks: how many combinations are decoded, at least 1.

    Raises:
        TooFewShares: R is below K.
        Undecodable: more shares are wrong than R can correct.
    """
    if checks < 1:
        raise UserError(f"{checks} checks find nothing; at least 1 is needed")
    coefficients = secrets.below(shamir.field.prime, (checks, shares.shape[1]))
    return located(shamir, shamir.field.combination(coefficients, shamir.field.reduced(shares)), holders)


def located(shamir: Shamir, words: Elements, holders: Sequence[int]) -> frozenset[int]:
    """The holders that are wrong in any of some received words, each of which is decoded.

    Args:
        shamir: whose code it is.
        words: shape ``(R, checks)``, a word in each column.
        holders: R, one for each row.

    Raises:
        TooFewShares: R is below K.
        Undecodable: a word is near no polynomial, or the words together name more than the code can correct.
    """
    points = shamir.points(holders, len(words))
    correctable = (len(words) - shamir.threshold) // 2
    wrong: set[int] = set()
    for word in words.T.tolist():
        found = decode(points, word, shamir.threshold, shamir.field.prime)
        wrong |= set(range(len(words)) if found is None else found.errors)
    if len(wrong) > correctable:
        raise Undecodable(
            f"{len(words)} shares came, {shamir.threshold} are needed to reconstruct: at most {correctable} wrong ones "
            "can be corrected, and more are wrong"
        )
    return frozenset(holders[position] for position in wrong)


def coordinated(shamir: Shamir, corrupt: Sequence[int], honest: Sequence[int], shift: int) -> list[int]:
    """What corrupt holders add to every entry of their shares so that a decoder accepts a wrong secret.

    ``d(x) = shift * prod_h (h - x) / h`` over the points h of K-1 honest holders has degree K-1, is 0 at these holders
    and ``shift`` at 0. Where the corrupt holders add ``d`` at their points, the received word lies on the polynomial
    ``f + d``, whose secret is off by ``shift``, at the corrupt and the K-1 chosen holders; it is wrong only at the
    other honest ones, who are then named in place of the corrupt. A decoder corrects ``E = floor((R - K) / 2)`` errors,
    so ``R - E - K + 1`` corrupt holders suffice: ``N - E - K + 1`` of N, which is 3 for N=10 and K=6.

    Args:
        shamir: how the secret was shared.
        corrupt: the holders that collude.
        honest: the others, at least K-1, of whom the first K-1 are chosen.
        shift: what the decoded secret is to be off by, modulo the prime, in every entry.

    Returns:
        an element for each of ``corrupt``, in order.

    Raises:
        ValueError: too few honest holders, or one who is in both lists.
    """
    chosen = honest[: shamir.threshold - 1]
    if len(set(chosen)) < shamir.threshold - 1 or set(chosen) & set(corrupt):
        raise ValueError(
            f"{shamir.threshold - 1} honest holders apart from {list(corrupt)} are needed, not {list(honest)}"
        )
    prime = shamir.field.prime
    added = []
    for holder in corrupt:
        value = shift
        for other in chosen:
            value = value * (other - holder) * shamir.field.inverse(other + 1) % prime
        added.append(value % prime)
    return added


def interpolate(points: Sequence[int], values: Sequence[int], prime: int) -> Polynomial:
    """The polynomial through all values (Lagrange): its coefficients from the constant up, without zeros at the end."""
    vanishing = _vanishing(points, prime)
    total = [0] * len(points)
    for x, y in zip(points, values, strict=True):
        basis, _ = _divide(vanishing, [-x % prime, 1], prime)
        scale = y * pow(_at(basis, x, prime), -1, prime)
        total = [(a + scale * b) % prime for a, b in zip(total, basis, strict=True)]
    return _trimmed(total)


def _vanishing(points: Sequence[int], prime: int) -> Polynomial:
    product: Polynomial = [1]
    for x in points:
        product = _multiply(product, [-x % prime, 1], prime)
    return product


def _at(polynomial: Polynomial, x: int, prime: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % prime
    return value


def _trimmed(coefficients: Polynomial) -> Polynomial:
    while coefficients and not coefficients[-1]:
        coefficients.pop()
    return coefficients


def _subtract(a: Polynomial, b: Polynomial, prime: int) -> Polynomial:
    return _trimmed([(x - y) % prime for x, y in zip_longest(a, b, fillvalue=0)])


def _multiply(a: Polynomial, b: Polynomial, prime: int) -> Polynomial:
    product = [0] * (len(a) + len(b))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] = (product[i + j] + x * y) % prime
    return _trimmed(product)


def _divide(a: Polynomial, b: Polynomial, prime: int) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder; ``b`` is not zero."""
    rest, quotient = list(a), [0] * max(len(a) - len(b) + 1, 0)
    leading = pow(b[-1], -1, prime)
    for shift in reversed(range(len(quotient))):
        quotient[shift] = factor = rest[shift + len(b) - 1] * leading % prime
        for i, y in enumerate(b):
            rest[shift + i] = (rest[shift + i] - factor * y) % prime
    return _trimmed(quotient), _trimmed(rest)
