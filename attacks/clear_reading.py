"""Reading features that arrive in the clear."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.api import COMPUTE, Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.sharing import observation


@dataclass(frozen=True)
class ClearReading(OutsourcedAttack):
    """Take down what the owner of the features sends to whoever computes. Exact where nothing is shared or hidden."""

    card = Card(
        title="Reading in the clear",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious compute party",
        assumes="nothing",
        notes="No method: it says what the undefended baseline gives away.",
    )

    @property
    def adversary(self) -> str:
        """The first compute party."""
        return COMPUTE[0]

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """The victims' rows of what arrived."""
        del streams
        seen = observation.clear_features(view)
        if seen is None:
            raise SkipCell(f"{view.party} receives no features in the clear")
        ids, features = seen  # what was predicted comes behind what was trained on
        found = [features[(ids == victim).nonzero()[-1:, 0]] for victim in view.victims]
        if not all(len(row) for row in found):
            raise SkipCell("a victim's features were never sent")
        return torch.cat(found).reshape(-1, *view.plan.inputs)
