"""Clipping of the gradients that the active party returns."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from fl_attack_bench.api import Card, Exchange, Returned, VerticalDefense


@dataclass(frozen=True)
class GradientClipping(VerticalDefense):
    """Scale each sample's gradient down to a largest L2 norm (Liu et al. 2020, section 6.3).

    ``g_i min(1, norm / ||g_i||_2)``, for each sample i and each receiver by itself. A shorter gradient, zero among
    them, stays as it is.

    Args:
        norm: the largest L2 norm, in units of a sample's own gradient ``dl_i/dH_i``.
    """

    card = Card(
        title="Gradient clipping",
        paper="https://arxiv.org/abs/2007.03608",
        threat="malicious or curious passive party",
        notes="The paper finds it less effective than noise and gives no figures. The active party clips what it "
        "returns; what a malicious party amplifies in its own step never comes back to be clipped. The direction "
        "of a sample's gradient and the signs of its entries stay.",
    )
    norm: Annotated[float, Gt(0)] = 1.0

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        """The clipped gradients."""
        del exchange
        lengths = returned.values.norm(dim=1, keepdim=True)
        # A length of zero gives an infinite ratio, which is cut to 1 like that of any other short gradient.
        return Returned(returned.values * (self.norm / lengths).clamp(max=1), returned.sent)
