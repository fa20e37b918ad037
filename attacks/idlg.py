"""Improved deep leakage from gradients."""

from dataclasses import dataclass

from fl_attack_bench.api import Card, HorizontalView, Reconstruction, Streams
from fl_attack_bench.inversion.l2_attack import L2GradientMatching
from fl_attack_bench.inversion.labels import last_layer_sign


@dataclass(frozen=True)
class IDLG(L2GradientMatching):
    """Read the label off the last layer's gradient, then match gradients over the image alone (Zhao et al. 2020)."""

    card = Card(
        title="iDLG",
        paper="https://arxiv.org/abs/2001.02610",
        threat="honest-but-curious server",
        assumes="what DLG assumes, one sample a victim, and cross entropy",
        notes="The label comes from the bias gradient where it was sent, else from the weight gradient's row sums. "
        "Adaptive by default, as DLG is here; line_search=none, relative=false, adaptive=false is the published form.",
    )

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Match gradients with the label known."""
        return self.match(view, streams, labels=last_layer_sign(view))
