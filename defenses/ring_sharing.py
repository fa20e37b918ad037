"""Generic secret sharing in a ring: two compute parties, activations by comparison or polynomial, no third party."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from fl_attack_bench.api import Card, Entering, OutsourcedDefense, Plan
from fl_attack_bench.sharing.activations import ACTIVATING, Sigmoid
from fl_attack_bench.sharing.arithmetic import Ring
from fl_attack_bench.sharing.network import Masks
from fl_attack_bench.sharing.parties import learners


@dataclass(frozen=True)
class RingSharing(OutsourcedDefense):
    """Share everything between two parties, activations too; nobody sees a number (in the way of SecureNN, Rosetta).

    ReLU and its slope by comparison: the bits of the shares are added by a parallel prefix tree of six levels, and the
    sign bit multiplies the number. It takes eight messages and 38.5 bytes a number each way, and as much ahead of time.

    Args:
        fraction_bits: of the ring.
        sigmoid: what stands for it. ``tangent``: 0, x/4 + 1/2, 1, by two comparisons at a time; ``piecewise``: 0,
            x + 1/2, 1; ``polynomial``: of degree 3, by least squares on [-8, 8], useless far outside, and wrong beyond
            ``2^(27 - fraction_bits)``.
        masks: ``fixed``: a training sample's features are opened once under one mask; ``fresh``: under a new one in
            every step.
        reproducible: draw shares and masks from the cell's seed in place of the operating system, so that the last
            digits too are the same each time; not for use on real data.
    """

    card = Card(
        title="Ring sharing",
        paper="https://eprint.iacr.org/2018/442",
        threat="each party by itself, following the protocol; no two of them collude",
        assumes="a helper that deals out random numbers ahead of time and hears nothing",
        notes="Stands for generic secret sharing in the way of SecureNN (Wagh et al. 2019) and Rosetta: arithmetic "
        "shares in Z_2^64, multiplication triples from a helper, comparison on shares. It is neither's protocol. "
        "SecureNN's third party takes part online and compares by shares of bits modulo 67; here the helper only deals "
        "out, ahead of time, and two parties add up bits under and-triples. Sigmoid is three pieces, those of "
        "SecureML (Mohassel and Zhang 2017) or wider ones, or a polynomial, as Rosetta approximates, so that what is "
        "learned differs from what the exact sigmoid gives. Shares that can be drawn from a seed are not sent.",
    )

    fraction_bits: Annotated[int, Ge(8), Le(18)] = 16
    sigmoid: Sigmoid = "tangent"
    masks: Masks = "fixed"
    reproducible: bool = False

    @property
    def from_seed(self) -> bool:
        """As the parameter says."""
        return self.reproducible

    def parties(self, plan: Plan) -> Mapping[str, Entering]:
        """Owners, two compute parties and a helper."""
        return learners(plan, Ring(self.fraction_bits), self.masks, ACTIVATING[self.sigmoid])
