"""Representation inference from the gradients of fully connected layers."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from fl_attack_bench.api import Card, HorizontalView, Observation, PassiveAttack, Reconstruction, SkipCell, Streams
from fl_attack_bench.inversion import feature_matching, representations
from fl_attack_bench.inversion.feature_matching import FeatureMatching
from fl_attack_bench.inversion.l2_attack import L2GradientMatching
from fl_attack_bench.inversion.labels import labels_of


@dataclass(frozen=True)
class RepresentationInference(PassiveAttack):
    """Infer each class's representation layer by layer, then images that have it (Sun et al. 2021, sections 3.2, 3.3).

    Args:
        method: ``rows`` picks one row of each layer's gradient for a class, as published; ``least_squares`` solves for
            all classes present at once, with the error that each sends back through the known weights.
        rows: how many rows are averaged in a layer before the last, the best first.
        match: what images are made from: the inferred ``representation`` at the first fully connected layer that was
            reached, the ``whole`` gradient, or the ``convolutional`` layers' (Rep, WG and CLG of the paper's figure 3).
        total_variation: weight of the prior where the representation is matched.
        iterations: L-BFGS iterations of up to 20 steps each.
        restarts: independent starts of each image; the one with the lowest objective is kept.
        adaptive: go by the entries that can be trusted; False takes what is read for the truth, as published.
    """

    card = Card(
        title="Representation inference",
        paper="https://arxiv.org/abs/2012.06043",
        threat="honest-but-curious server",
        assumes="architecture, weights, number of samples, cross entropy, a linear last layer; which entries were sent",
        notes="The published form is method=rows; the paper does not say how many. least_squares uses the weights too. "
        "A high correlation says little where all images have nearly the same representation, as in a fresh network: "
        "probe images without any data score as high there. Of several rounds it reads labels from all, "
        "representations from the last. Images only where a victim takes one step on no more "
        "samples than there are classes; samples of one class then get the same mean representation.",
    )

    method: representations.Approach = "least_squares"
    rows: Annotated[int, Ge(1), Le(65_536)] = 10
    match: Literal["representation", "whole", "convolutional", "none"] = "representation"
    total_variation: Annotated[float, Ge(0)] = 0.01
    iterations: Annotated[int, Ge(1), Le(100_000)] = 300
    restarts: Annotated[int, Ge(1), Le(1_000)] = 1
    adaptive: bool = True

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Infer labels and representations, and for few samples images."""
        view = view if self.adaptive else view.taken_for_true()
        labels = labels_of(view)
        inferred = representations.infer(view, labels, self.method, self.rows)
        if self.match == "none" or view.local.steps > 1 or view.batch_size > view.classes:
            found = _without_images(view, labels)
        elif self.match == "representation":
            found = self._by_representation(view, streams, labels, inferred)
        else:
            matching = _GradientMatching(iterations=self.iterations, restarts=self.restarts)
            part = view if self.match == "whole" else _convolutional(view)
            found = matching.match(part, streams, labels)
        spoilt = ~view.observed.values.isfinite().all(1)
        return replace(found, representations=inferred, diverged=found.diverged | spoilt)

    def _by_representation(
        self, view: HorizontalView, streams: Streams, labels: Tensor, inferred: dict[str, Tensor]
    ) -> Reconstruction:
        layer, wanted = next(iter(inferred.items()))
        picked = wanted.gather(1, labels.unsqueeze(2).expand(-1, -1, wanted.shape[2]))
        objective = FeatureMatching.of(view, layer, picked, self.total_variation, self.restarts)
        found = feature_matching.minimise(objective, view, streams, self.iterations, self.restarts)
        return replace(found, labels=labels)


class _GradientMatching(L2GradientMatching):
    """DLG with the labels known."""

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """By the inferred labels."""
        return self.match(view, streams, labels_of(view))


def _convolutional(view: HorizontalView) -> HorizontalView:
    """The view of an adversary who reads the convolutional layers only."""
    paths = [path for path, module in view.model.named_modules() if isinstance(module, nn.Conv2d)]
    if not paths:
        raise SkipCell(f"{type(view.model).__name__} has no convolutional layer whose gradient could be matched")
    legible = torch.zeros(view.layout.size, dtype=torch.bool, device=view.observed.sent.device)
    for name, place in view.layout.slices.items():
        legible[place] = name.rpartition(".")[0] in paths
    seen = view.observed
    kept = Observation(seen.values * legible, seen.sent & legible, seen.noise.masked_fill(~legible, torch.inf))
    return replace(view, rounds=(replace(view.rounds[-1], observed=kept),))


def _without_images(view: HorizontalView, labels: Tensor) -> Reconstruction:
    values = view.observed.values
    return Reconstruction(
        images=None,
        labels=labels,
        objective=torch.zeros(len(values), dtype=values.dtype, device=values.device),
        iterations=torch.zeros(len(values), dtype=torch.int64, device=values.device),
        diverged=torch.zeros(len(values), dtype=torch.bool, device=values.device),
    )
