"""Tags on Shamir shares, made by the dealers after the fact: they name up to N-K wrong holders that collude at will.

The arithmetic of a check, without its messages. The protocol:

1. Each dealer i shares, behind its n values, one uniform *blinding* value for each check, dealt like the values. Holder
   j has the values' shares ``s_ij`` and the blinding's ``b_ij``.
2. The holders report the sums ``S_j = sum_i s_ij`` and ``B_j = sum_i b_ij``.
3. Only when all reports are in, the server draws a seed, which :func:`challenge` expands to ``checks`` vectors c of n
   coefficients, and sends it to the dealers.
4. Each dealer answers with the tags ``v_ij = <c, s_ij> + b_ij`` of all N holders (:func:`tags`).
5. :func:`judge`: a report is right where ``<c, S_j> + B_j = sum_i v_ij``. A report that is altered by ``(e, f)`` passes
   a check with probability at most ``1 / p``, because c is uniform and was not known when e and f were chosen.

What the server learns: for each dealer and check, ``v_i`` is a polynomial of degree below K. Its value at 0 is hidden
by the blinding value, its other coefficients by those of the blinding's polynomial, so it is uniform whatever the
update, also for somebody who holds K-1 shares. This holds for one challenge: a dealer that answers a second one with
the same blinding gives away ``<c - c', update>``.

A dealer's tags must lie on a polynomial of degree below K over all N holders, else the dealer lied. If a dealer does
not answer, or lied, then ``<c, S_j> + B_j - sum_answered v_ij`` is that dealer's own polynomial plus the holders'
errors. It is decoded, and names wrong holders only within the code's bound (:mod:`fl_attack_bench.crypto.decoding`).

What the check cannot do: a dealer that colludes with holders can answer as if it had dealt what they report. With K-1
honest holders whose reports such a group leaves as they are, it shifts the sum and has the other honest holders named.
It could have shifted the sum by dealing another update as well: what it gains is the false accusation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fl_attack_bench.crypto.decoding import Undecodable, interpolate, located
from fl_attack_bench.crypto.field import Elements, PrimeField
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.crypto.shamir import Shamir


@dataclass(frozen=True)
class Verdict:
    """Who was found out.

    Args:
        wrong_holders: whose report is not the sum of what was dealt to them.
        lying_dealers: whose tags lie on no polynomial of degree below K.
    """

    wrong_holders: frozenset[int]
    lying_dealers: frozenset[int]


def challenge(seed: bytes, checks: int, n: int, field: PrimeField) -> Elements:
    """The coefficients that a seed stands for, uniform, shape ``(checks, n)``."""
    return Secrets.seeded(seed, purpose=b"challenge on shares").below(field.prime, (checks, n))


def tags(shares: Elements, coefficients: Elements, field: PrimeField) -> Elements:
    """``<c, s_j> + b_j`` of every row and check: a dealer's answer, or what a holder's report must add up to.

    Args:
        shares: shape ``(R, n + checks)``, the blinding's columns last.
        coefficients: shape ``(checks, n)``.
        field: where they live.

    Returns:
        shape ``(R, checks)``.
    """
    checks, n = coefficients.shape
    if shares.shape[1] != n + checks:
        raise ValueError(f"shares of {shares.shape[1]} columns for {n} values and {checks} blinding values")
    return field.add(field.combination(coefficients, shares[:, :n]), shares[:, n:])


def judge(
    shamir: Shamir,
    coefficients: Elements,
    reports: Elements,
    holders: Sequence[int],
    dealers: Collection[int],
    answers: Mapping[int, Elements],
) -> Verdict:
    """Who is wrong. The secret is reconstructed from the reports of the others.

    Args:
        shamir: how the values and the blinding were shared.
        coefficients: the challenge, shape ``(checks, n)``.
        reports: the sums that holders reported, shape ``(R, n + checks)``.
        holders: R, whose reports they are.
        dealers: all whose shares are in the sums.
        answers: the tags of the dealers that answered, each of shape ``(N, checks)``.

    Raises:
        TooFewShares: fewer than K reports.
        Undecodable: fewer than K reports agree with the dealers, or a dealer is missing and more reports are wrong than
            the code corrects.
        ValueError: an answer of another shape, or of somebody who is no dealer.
    """
    field = shamir.field
    shamir.points(holders, len(reports))
    expected = np.zeros((shamir.parties, len(coefficients)), dtype=np.uint64)
    lying = set()
    for dealer, answer in answers.items():
        if answer.shape != expected.shape or dealer not in dealers:
            raise ValueError(f"an answer of shape {answer.shape} from {dealer}; {expected.shape} is asked of a dealer")
        if _is_shared(shamir, answer):
            expected = field.add(expected, field.reduced(answer))
        else:
            lying.add(dealer)
    found = tags(field.reduced(reports), coefficients, field)
    residual = field.subtract(found, expected[list(holders)])
    if lying or set(dealers) - set(answers):
        return Verdict(located(shamir, residual, holders), frozenset(lying))
    wrong = [holder for holder, row in zip(holders, residual, strict=True) if row.any()]
    if len(reports) - len(wrong) < shamir.threshold:
        raise Undecodable(
            f"{len(reports)} reports came, of which {shamir.threshold} reconstruct, and {len(wrong)} contradict the "
            "dealers' tags: too many are altered, or a dealer's tags are not those of the shares that it dealt"
        )
    return Verdict(frozenset(wrong), frozenset())


def _is_shared(shamir: Shamir, answer: Elements) -> bool:
    """Whether the rows of all N holders lie on polynomials of degree below K."""
    points = range(1, shamir.parties + 1)
    return all(len(interpolate(points, word, shamir.field.prime)) <= shamir.threshold for word in answer.T.tolist())
