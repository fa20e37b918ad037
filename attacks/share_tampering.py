"""Share tampering: malicious clients take part in the protocol and send random numbers in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench.api import SERVER, UPDATE, ActiveAttack, Card, Part, Party, Payload, Round, Said
from fl_attack_bench.crypto.field import FIELDS


@dataclass(frozen=True)
class ShareTampering(ActiveAttack):
    """Replace what is sent to the server about updates by random numbers (McEliece and Sarwate 1981).

    Integers are uniform below the field's prime where the defense's parameters name one (``field``), and
    over their whole range otherwise; floats are normal, with the standard deviation of what they replace. Each client
    draws for itself: their numbers do not fit together.

    Args:
        peers: replace what is sent to other clients too, in every step.
    """

    card = Card(
        title="Share tampering",
        paper="https://doi.org/10.1145/358746.358762",
        threat="malicious clients",
        assumes="the defense's parameters",
        notes="Shape, type and sparsity stay as they were, so that only the numbers can give it away. A part of one "
        "number, such as a sample count, stays as it is: that would be a lie about the weight, not about the share. "
        "Bytes (ciphertexts, tags, sealed messages) become random bytes.",
    )
    peers: bool = False

    def corrupt(
        self, parties: Mapping[str, Party], round: Round, defense: Mapping[str, Any], rng: torch.Generator
    ) -> Mapping[str, Party]:
        """The honest parties, whose words are replaced on their way out."""
        del round
        prime = _prime(defense)
        return {name: _Tampering(party, self, prime, rng) for name, party in parties.items()}

    def tampered(self, payload: Payload, prime: int | None, rng: torch.Generator) -> Payload:
        """The payload with other numbers in it."""
        return Payload({name: self._random(part, prime, rng) for name, part in payload.parts.items()})

    def _random(self, part: Part, prime: int | None, rng: torch.Generator) -> Part:
        values = part.values
        if values.numel() < 2:
            return part
        if values.is_floating_point():
            deviation = values.double().std(correction=0).cpu()
            numbers = torch.randn(values.shape, generator=rng, dtype=torch.float64) * deviation
        elif prime is not None and values.dtype != torch.uint8:
            numbers = torch.randint(prime, values.shape, generator=rng)
        else:
            numbers = _uniform(values, rng)
        return replace(part, values=numbers.to(values))


class _Tampering(Party):
    def __init__(self, honest: Party, attack: ShareTampering, prime: int | None, rng: torch.Generator) -> None:
        self._honest, self._attack, self._prime, self._rng = honest, attack, prime, rng

    def say(self, step: str) -> Said:
        for receiver, payload in self._honest.say(step):
            wanted = step == UPDATE if receiver == SERVER else self._attack.peers
            yield receiver, self._attack.tampered(payload, self._prime, self._rng) if wanted else payload

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        self._honest.hear(step, sender, payload)


def _prime(defense: Mapping[str, Any]) -> int | None:
    """The prime below which the defense's field elements lie, if it names one."""
    field = FIELDS.get(str(defense.get("field")))
    return field.prime if field else None


def _uniform(values: Tensor, rng: torch.Generator) -> Tensor:
    """Uniform over all that the dtype holds."""
    raw = torch.randint(256, (values.numel() * values.element_size(),), generator=rng, dtype=torch.uint8)
    return raw.view(values.dtype).reshape(values.shape)
