"""Shamir's (K, N) secret sharing (Communications of the ACM 22(11), 1979) of whole vectors over a prime field.

A vector's every entry is the value at 0 of a random polynomial of degree below K; holder ``j`` (counted from 0) gets
the values at the point ``j + 1``. Any K shares give the vector, any K-1 say nothing about it. Shares of a sum are the
sums of the shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fl_attack_bench.crypto.field import BLOCK, MERSENNE_61, Elements, PrimeField
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.errors import UserError


class TooFewShares(Exception):  # noqa: N818 - what happened, as the record says it
    """Fewer shares came than reconstruct."""

    def __init__(self, came: int, needed: int) -> None:
        super().__init__(f"{came} shares came, {needed} are needed to reconstruct")
        self.came, self.needed = came, needed


@dataclass(frozen=True)
class Shamir:
    """A (K, N) sharing.

    Args:
        threshold: K, how many shares reconstruct; K-1 say nothing.
        parties: N, how many shares there are.
        field: where the entries live; more elements than parties.

    Raises:
        UserError: fewer than two parties, a threshold outside ``[2, N]``, a field without a point for each party.
    """

    threshold: int
    parties: int
    field: PrimeField = MERSENNE_61

    def __post_init__(self) -> None:
        if self.parties < 2:
            raise UserError(f"Shamir sharing among {self.parties} parties; it needs at least 2")
        if not 2 <= self.threshold <= self.parties:
            raise UserError(f"a threshold of {self.threshold} shares; it must lie in [2, {self.parties}], the parties")
        if self.parties >= self.field.prime:
            raise UserError(
                f"a field too small: {self.parties} parties need a prime above {self.parties}, not {self.field.prime}"
            )

    def share(self, secret: Elements, secrets: Secrets) -> Elements:
        """The N shares of a vector: row ``j`` is ``f(j + 1)``, where ``f(0)`` is the secret.

        The polynomial is drawn in Newton's form, ``f(x) = secret + sum_(k=1..K-1) d_k * binomial(x, k)`` with every
        ``d_k`` uniform. As ``k!`` has an inverse for ``k < K <= N < p``, this is a uniform choice among the polynomials
        of degree below K with that value at 0, exactly as with uniform coefficients of the powers of x. The ``d_k`` are
        the forward differences of f at 0, so the values at 1, 2, ... follow by additions alone.

        Args:
            secret: elements, shape ``(n,)``.
            secrets: where the ``d_k`` are drawn from.

        Returns:
            shape ``(N, n)``.
        """
        shares = np.empty((self.parties, len(secret)), dtype=np.uint64)
        for start in range(0, len(secret), BLOCK):
            columns = slice(start, start + BLOCK)
            known = secret[None, columns]
            drawn = secrets.below(self.field.prime, (self.threshold - 1, known.shape[1]))
            differences = np.concatenate([known, drawn])
            for holder in range(self.parties):
                # A difference of order k reaches the values k steps later: the last steps need fewer of them.
                wanted = min(self.threshold - 1, self.parties - holder)
                differences[:wanted] = self.field.add(differences[:wanted], differences[1 : wanted + 1])
                shares[holder, columns] = differences[0]
        return shares

    def reconstruct(self, shares: Elements, holders: Sequence[int]) -> Elements:
        """The secret, from the first K of the shares: ``sum_j f(x_j) * prod_(m != j) x_m / (x_m - x_j)`` (Lagrange).

        An altered share among these K makes the result wrong, and nothing tells so: see
        :mod:`fl_attack_bench.crypto.decoding`.

        Args:
            shares: shape ``(R, n)``, at least K rows; a value above the prime counts as its remainder.
            holders: whose they are, distinct, each in ``[0, N)``.

        Returns:
            shape ``(n,)``.

        Raises:
            TooFewShares: fewer than K rows.
        """
        self.points(holders, len(shares))
        used = self.field.reduced(shares[: self.threshold])
        return self.field.dot(self.weights(holders[: self.threshold]), used)

    def points(self, holders: Sequence[int], rows: int) -> list[int]:
        """Where the polynomials were evaluated for these holders, of whom as many ``rows`` came.

        Raises:
            TooFewShares: fewer than K.
            ValueError: a holder twice, or one that there is not, or not one for each row.
        """
        if len(set(holders)) < rows or len(holders) != rows or not set(holders) <= set(range(self.parties)):
            raise ValueError(f"{rows} shares of the holders {list(holders)}, of which there are {self.parties}")
        if rows < self.threshold:
            raise TooFewShares(rows, self.threshold)
        return [holder + 1 for holder in holders]

    def weights(self, holders: Sequence[int]) -> list[int]:
        """What each holder's share is multiplied by in the value at 0 (Lagrange)."""
        prime = self.field.prime
        weights = []
        for holder in holders:
            above = below = 1
            for other in holders:
                if other != holder:
                    above = above * (other + 1) % prime
                    below = below * (other - holder) % prime
            weights.append(above * self.field.inverse(below) % prime)
        return weights
