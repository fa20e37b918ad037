"""Deep leakage from gradients."""

from dataclasses import dataclass

from fl_attack_bench.api import Card, HorizontalView, Reconstruction, Streams
from fl_attack_bench.inversion.l2_attack import L2GradientMatching


@dataclass(frozen=True)
class DLG(L2GradientMatching):
    """Find images and soft labels whose gradient is closest to the observed one (Zhu et al. 2019, algorithm 1)."""

    card = Card(
        title="DLG",
        paper="https://arxiv.org/abs/1906.08935",
        threat="honest-but-curious server",
        assumes="architecture, weights, number of samples, which entries were sent; a twice-differentiable network",
        notes="As published: line_search=none, restarts=1, relative=false, sent_only=false. By default it is adaptive: "
        "where a defense sends part of the update, it matches that part.",
    )

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Match gradients with the labels unknown."""
        return self.match(view, streams, labels=None)
