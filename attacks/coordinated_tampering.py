"""Coordinated tampering: holders of Shamir shares who agree on what to add, so that a decoder accepts a wrong sum."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le

from fl_attack_bench.api import SERVER, UPDATE, ActiveAttack, Card, Dense, Party, Payload, Round, Said, SkipCell
from fl_attack_bench.crypto.decoding import coordinated
from fl_attack_bench.crypto.field import FIELDS, PrimeField
from fl_attack_bench.crypto.shamir import Shamir


@dataclass(frozen=True)
class CoordinatedTampering(ActiveAttack):
    """Add the values of one polynomial to the shares of the sum (McEliece and Sarwate 1981; decoding.coordinated).

    With N holders, a threshold K and ``E = floor((N - K) / 2)``, ``N - E - K + 1`` clients suffice to make a decoder
    accept a mean that is off by ``shift`` in every entry and blame honest holders; fewer are corrected.

    Args:
        shift: what each entry of the mean is to be off by, in gradient units.
    """

    card = Card(
        title="Coordinated tampering",
        paper="https://doi.org/10.1145/358746.358762",
        threat="malicious clients who collude",
        assumes="the defense's parameters, and that every client of the round takes part; no other's share",
        notes="For defenses by Shamir's sharing whose clients send the server their shares of the sum as `shares`. "
        "Of more than N-K+1 clients the others stay honest: they are not needed.",
    )
    clients: Annotated[int, Ge(1), Le(1024)] = 3
    shift: Annotated[float, Ge(-1e6), Le(1e6)] = 1.0

    def corrupt(
        self, parties: Mapping[str, Party], round: Round, defense: Mapping[str, Any], rng: torch.Generator
    ) -> Mapping[str, Party]:
        """The honest parties, whose shares of the sum are moved on their way out.

        Raises:
            SkipCell: the defense's parameters name no threshold of Shamir's sharing, or no field.
        """
        del rng
        shamir, unit = _sharing(defense, len(round.members))
        own = [place for place, name in enumerate(round.members) if name in parties]
        others = [place for place, name in enumerate(round.members) if name not in parties]
        used = own[: shamir.parties - shamir.threshold + 1]
        added = coordinated(shamir, used, others + own[len(used) :], int(np.rint(self.shift * unit)))
        moved = {
            round.members[place]: _Moving(parties[round.members[place]], value, shamir.field)
            for place, value in zip(used, added, strict=True)
        }
        return {**parties, **moved}


class _Moving(Party):
    def __init__(self, honest: Party, added: int, field: PrimeField) -> None:
        self._honest, self._added, self._field = honest, added, field

    def say(self, step: str) -> Said:
        for receiver, payload in self._honest.say(step):
            yield receiver, self._moved(payload) if step == UPDATE and receiver == SERVER else payload

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)

    def _moved(self, payload: Payload) -> Payload:
        part = payload.parts.get("shares")
        if not isinstance(part, Dense) or part.values.is_floating_point():
            raise SkipCell("this defense's clients send the server no shares of the sum to add to")
        shares = part.values.numpy().astype(np.uint64)
        moved = self._field.add(shares, np.full_like(shares, self._added))
        numbers = torch.from_numpy(moved.astype(np.int64)).to(part.values.dtype)
        return replace(payload, parts={**payload.parts, "shares": Dense(numbers)})


def _sharing(defense: Mapping[str, Any], members: int) -> tuple[Shamir, int]:
    """How the sum is shared, and what stands for 1 in it."""
    threshold = defense.get("threshold")
    field = FIELDS.get(str(defense.get("field")))
    if not isinstance(threshold, int) or field is None:
        raise SkipCell("coordinated tampering is for Shamir's sharing: this defense has no threshold and field")
    if not 2 <= threshold <= members:
        raise SkipCell(f"a threshold of {threshold} shares among {members} clients")
    return Shamir(threshold, members, field), 10 ** int(defense.get("decimals", 0))
