"""What one share says about a number."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.api import COMPUTE, Card, OutsourcedAttack, OutsourcedView, SkipCell, Streams
from fl_attack_bench.inversion.sightings import estimated
from fl_attack_bench.sharing import observation
from fl_attack_bench.sharing.arithmetic import Float


@dataclass(frozen=True)
class OneShare(OutsourcedAttack):
    """The best linear estimate of features from one party's share (rtas-2021, section 4.1, "Sharing").

    In floating point P0's share is the mask r and P1's is ``s = x - r`` with ``r ~ N(0, v)``: with images of mean m and
    covariance C the estimate is ``m + (s - m) (C + v I)^-1 C``; of a sample that was shared out T times s is the mean
    share and v / T its variance. In the ring a share is uniform, and so is P0's everywhere: the estimate is the mean of
    the samples that are known.

    Args:
        party: whose view: ``compute/0`` or ``compute/1``.
    """

    card = Card(
        title="One share alone",
        paper="https://arxiv.org/abs/2008.07758",
        threat="curious compute party",
        assumes="public samples of the same distribution; the standard deviation of masks",
        notes="The paper asks for masks of larger variance than the data's, and says nothing of what is left.",
    )

    party: Literal["compute/0", "compute/1"] = "compute/1"
    auxiliary: Annotated[int, Ge(0), Le(100_000)] = 1000

    @property
    def adversary(self) -> str:
        """Who holds the share."""
        return self.party

    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """The victims' features, given the share."""
        del streams
        held, seen = observation.numbers(view), observation.own_share(view)
        if seen is None:
            raise SkipCell(f"{view.party} holds no share of the features")
        if not isinstance(held, Float) or view.party == COMPUTE[0]:
            return estimated(view, [], 0.0)
        return estimated(view, [seen], held.mask_std**2)  # a sample that is predicted again is shared out anew
