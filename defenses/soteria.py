"""Soteria: perturb the representation that a fully connected layer's gradient gives away."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from annotated_types import Gt, Lt
from torch import Tensor

from fl_attack_bench import representation
from fl_attack_bench.api import (
    Card,
    Certificate,
    HorizontalDefense,
    Layout,
    LocalPlan,
    LocalStep,
    Observation,
    SkipCell,
    Update,
)


@dataclass(frozen=True)
class Soteria(HorizontalDefense):
    """Zero the features that a reconstruction hangs on most, in one layer's gradient (Sun et al. 2021, algorithm 2).

    With r = f(X) what enters the defended layer and d the loss's gradient at what leaves it, the layer's weight
    gradient ``mean over the batch of d r^T`` becomes ``mean of d r'^T``. ``r'`` is r without the ``round(prune * L)``
    features, at least one, of the largest score ``||r_i (grad_X r_i)^-1||_2 = |r_i| / ||grad_X r_i||_2``.

    Args:
        prune: fraction of the L features that are zeroed, in (0, 1).
        layer: the defended fully connected layer, as the model names it; None for the first.
        formula: score every sample's features as the paper does, or a whole batch's as the released code does.
    """

    card = Card(
        title="Soteria",
        paper="https://arxiv.org/abs/2012.06043",
        threat="honest-but-curious server",
        assumes=(
            "A fully connected layer that is called once a pass. By default the first one is defended, as in the "
            "released code: its input lies nearest to the image."
        ),
        notes=(
            "Per sample and local step; every other gradient, the layer's own bias included, stays as it is. "
            "formula=released: the authors' code scores norm / (r + 0.1), summed over the batch, and zeroes columns "
            "below the prune quantile: the paper's r / norm turned over, with one mask a batch. On ReLU networks dead "
            "features (r and norm are 0) score lowest there and go first, which changes nothing; in the paper's "
            "formula they score 0 and go last. Batch statistics of batch norm count as constants in the Jacobian. The "
            "upload stays dense: the paper's saving in bytes needs a sparse encoding of the zero columns, as a chain "
            "with compression has it. The certified bound is the paper's theorem 1, of first order: it takes the "
            "Jacobian at the image for that along the way, and assumes that f can be inverted around it."
        ),
    )
    prune: Annotated[float, Gt(0), Lt(1)] = 0.5
    layer: str | None = None
    formula: Literal["paper", "released"] = "paper"

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        """The gradient with the defended layer's weights computed from the perturbed representations."""
        weight = self._weight(gradient.layout, type(step.model).__name__)
        found, keep = self._keep(step, weight)
        flat = gradient.flat.clone()
        own = gradient.layout.views(flat)[weight]
        if self.formula == "released":
            own.mul_(keep[0])
        else:
            layer = weight.removesuffix(".weight")
            arriving = representation.arriving(
                step.model, layer, step.images, lambda logits: F.cross_entropy(logits, step.labels)
            )
            # Taken away from the gradient at hand, which another defense may have changed before.
            own.sub_(arriving.T @ found.representation.masked_fill(keep, 0))
            own[:, ~keep.any(0)] = 0
        return gradient.with_flat(flat)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """Which entries of the defended layer's weights say nothing of the true gradient.

        After a single step on a single sample, or with one mask for the batch, exactly the columns that are zero were
        destroyed, or were zero anyway, which looks the same. Otherwise, or under another defense's noise, any entry of
        the layer may have been changed.
        """
        weight = self._weight(layout, "the model")
        noise = observation.noise.clone()
        own = layout.views(noise)[weight]
        one_mask = local.steps == 1 and (local.samples == 1 or self.formula == "released")
        exact = (own == 0) | own.isinf()
        zero = (layout.views(observation.values)[weight] == 0).all(-2, keepdim=True)
        lost = (
            zero | ~exact.flatten(-2).all(-1)[..., None, None] if one_mask else torch.ones_like(own, dtype=torch.bool)
        )
        own.masked_fill_(lost.expand_as(own), torch.inf)
        return replace(observation, noise=noise)

    def certify(self, step: LocalStep) -> Certificate:
        """Theorem 1: ``||X - X'||_2 >= ||r - r'||_2 / ||grad_X f||_2``, with the spectral norm of the Jacobian at X.

        It holds to first order, and under the paper's assumption 1: that f can be inverted at r, at r' and between
        them. Where f bends, the Jacobian at X may be smaller than further on, and the true distance below the bound.
        """
        weight = self._weight(Layout.of(step.model), type(step.model).__name__)
        layer = weight.removesuffix(".weight")
        found, keep = self._keep(step, weight)
        perturbed = found.representation * keep
        change = (found.representation - perturbed).norm(dim=1)
        steepest = representation.spectral_norm(step.model, layer, step.images)
        shape = (step.images.shape[1], step.images.shape[2], step.images.shape[3])
        return Certificate(
            layer=layer,
            bound=torch.where(change > 0, change / steepest, change),
            representation=perturbed,
            change=change,
            extract=representation.extractor(representation.steady(step.model, step.images), layer, shape),
        )

    def _weight(self, layout: Layout, model: str) -> str:
        """The defended layer's weight in the layout."""
        shapes = zip(layout.names, layout.shapes, strict=True)
        legal = [name for name, shape in shapes if name.endswith(".weight") and len(shape) == 2]
        if not legal:
            raise SkipCell(f"{model} has no fully connected layer, which Soteria defends")
        if self.layer is None:
            return legal[0]
        if f"{self.layer}.weight" not in legal:
            names = ", ".join(name.removesuffix(".weight") for name in legal)
            raise SkipCell(f"{model} has no fully connected layer {self.layer!r} for Soteria to defend; legal: {names}")
        return f"{self.layer}.weight"

    def _keep(self, step: LocalStep, weight: str) -> tuple[representation.RowNorms, Tensor]:
        """The features with their gradients' norms, and which of them stay, shape ``(B, L)`` or ``(1, L)``."""
        found = representation.row_norms(step.model, weight.removesuffix(".weight"), step.images)
        if self.formula == "released":
            return found, released_keep(found.representation, found.norms, self.prune)
        return found, paper_keep(found.representation, found.norms, self.prune)


def paper_keep(features: Tensor, norms: Tensor, prune: float) -> Tensor:
    """Which features stay by algorithm 1, a mask a sample.

    Args:
        features: r, shape ``(B, L)``.
        norms: ``||grad_X r_i||_2``, shape ``(B, L)``.
        prune: fraction of features that go.

    Returns:
        Shape ``(B, L)``, bool.
    """
    size = features.abs()
    # A feature that is zero loses nothing; one that no pixel moves, but is not zero, has an infinite inverse.
    scores = torch.where(size > 0, size / norms, 0)
    count = max(1, round(prune * features.shape[1]))
    return torch.ones_like(features, dtype=torch.bool).scatter(1, scores.topk(count, dim=1).indices, value=False)


def released_keep(features: Tensor, norms: Tensor, prune: float) -> Tensor:
    """Which features stay by the authors' released code, one mask for the batch.

    Args:
        features: r, shape ``(B, L)``.
        norms: ``||grad_X r_i||_2``, shape ``(B, L)``.
        prune: the quantile of the scores ``sum over the batch of norm / (r + 0.1)`` below which a feature goes.

    Returns:
        Shape ``(1, L)``, bool.
    """
    scores = (norms / (features + 0.1)).sum(0)
    return ~(scores.abs() < scores.quantile(prune)).unsqueeze(0)
