"""Update poisoning: malicious clients contribute wrong updates and follow the protocol otherwise."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le

from fl_attack_bench.api import ActiveAttack, Card, Contribution


@dataclass(frozen=True)
class UpdatePoisoning(ActiveAttack):
    """Contribute a multiple of the honest update, or random numbers (Blanchard et al. 2017, section 4 and 5).

    Args:
        mode: ``scale`` sends ``factor`` times the honest update, ``random`` independent normal numbers.
        factor: of ``scale``; a negative one leads uphill.
        deviation: standard deviation of ``random``, in gradient units.
    """

    card = Card(
        title="Update poisoning",
        paper="https://arxiv.org/abs/1703.02757",
        threat="malicious clients",
        assumes="its own clients' data only",
        notes="No protocol that hides single updates can tell: what is sent is a well-formed contribution. The paper's "
        "omniscient adversary scales the opposite of the true gradient, this one that of its own; the paper's Gaussian "
        "one has deviation 200. Sample counts and running statistics of batch norm stay honest.",
    )
    mode: Literal["scale", "random"] = "scale"
    factor: Annotated[float, Ge(-1e6), Le(1e6)] = -10.0
    deviation: Annotated[float, Gt(0), Le(1e6)] = 1.0

    def poison(self, contribution: Contribution, rng: torch.Generator) -> Contribution:
        """The poisoned update in place of the honest one."""
        update = contribution.update
        if self.mode == "scale":
            return replace(contribution, update=update.with_flat(self.factor * update.flat))
        numbers = self.deviation * torch.randn(update.layout.size, generator=rng)
        return replace(contribution, update=update.with_flat(numbers.to(update.flat)))
