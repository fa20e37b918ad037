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
        assumes="architecture, weights, number of samples, the defense and its parameters; a network that is "
        "twice differentiable",
        notes="As published: line_search=none, restarts=1, relative=false, adaptive=false. By default it "
        "weighs every entry by what is known of the defense, and matches all rounds in which it saw a victim.",
    )

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Match gradients with the labels unknown."""
        return self.match(view, streams, labels=None)
