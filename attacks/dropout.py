"""Dropout: clients vanish in the middle of a round."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le

from fl_attack_bench.api import ActiveAttack, Card, Party, Payload, Round, Said


@dataclass(frozen=True)
class Dropout(ActiveAttack):
    """Fall silent in every round, after some steps of the protocol (Bonawitz et al. 2017, section 5).

    Args:
        after: in how many steps of a round a client still says what it has to; 0: it never says a word. Steps in which
            it has nothing to say do not count. A client that has fewer to say something in falls silent nowhere: it is
            an honest one.
    """

    card = Card(
        title="Dropout",
        paper="https://doi.org/10.1145/3133956.3133982",
        threat="clients that vanish",
        notes="Its worst moment depends on the protocol: a client that vanishes once it has dealt out shares or agreed "
        "on masks leaves others with something that nobody takes away. Where a round is one upload, only 0 means a "
        "dropout.",
    )
    after: Annotated[int, Ge(0), Le(32)] = 0

    def corrupt(
        self, parties: Mapping[str, Party], round: Round, defense: Mapping[str, Any], rng: torch.Generator
    ) -> Mapping[str, Party]:
        """The honest parties, cut off."""
        del round, defense, rng
        return {name: _Vanishing(party, self.after) for name, party in parties.items()}


class _Vanishing(Party):
    def __init__(self, honest: Party, steps: int) -> None:
        self._honest, self._left = honest, steps

    def say(self, step: str) -> Said:
        if not self._left:
            return
        said = iter(self._honest.say(step))
        first = next(said, None)
        if first is not None:
            self._left -= 1
            yield first
            yield from said

    def hear(self, step: str, sender: str, payload: Payload) -> None:
        if self._left:
            self._honest.hear(step, sender, payload)
