"""What the defenses that share numbers have in common."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from fl_attack_bench.api.outsourced import OutsourcedDefense
from fl_attack_bench.sharing.arithmetic import Arithmetic, ArithmeticName, arithmetic
from fl_attack_bench.sharing.network import Masks


@dataclass(frozen=True)
class SharingDefense(OutsourcedDefense):
    """A protocol on shares in the ring or in floating point.

    Args:
        arithmetic: ``ring``: fixed point in Z_2^64; ``float32`` and ``float64``: Gaussian shares, as rtas-2021 has it.
        fraction_bits: of the ring.
        mask_std: standard deviation of floating-point masks.
        masks: ``fixed``: a training sample's features are opened once under one mask; ``fresh``: under a new one in
            every step. In floating point neither is safe for ever: of fresh masks the openings average out, and a fixed
            one shows in the second compute party's shares of its products, use by use.
        reproducible: draw shares and masks from the cell's seed in place of the operating system, so that the last
            digits too are the same each time; not for use on real data.
    """

    arithmetic: ArithmeticName = "ring"
    fraction_bits: Annotated[int, Ge(8), Le(18)] = 16
    mask_std: Annotated[float, Gt(0), Le(1e6)] = 100.0
    masks: Masks = "fixed"
    reproducible: bool = False

    @property
    def from_seed(self) -> bool:
        """As the parameter says."""
        return self.reproducible

    @property
    def numbers(self) -> Arithmetic:
        """How they are held."""
        return arithmetic(self.arithmetic, self.fraction_bits, self.mask_std)
