"""The first linear layer of a network, from what comes out of it: its weights, and the images that went in.

A layer is ``z = x W + b``; of a convolution the same holds for every patch p of an image: ``z_p = x_p W + b``. So one
known image gives a convolution ``H' W'`` equations for the ``C k k + 1`` unknowns of each filter, and a dense layer one
equation for the ``n + 1`` unknowns of each unit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.models.stack import PlannedLayer, linear

_ROUNDS = 100
# Of the values' power, where there are no more equations than unknowns to tell: their noise to begin with.
_DOUBT = 1e-8


@dataclass(frozen=True)
class FirstLayer:
    """A first layer as an adversary knows it.

    Args:
        planned: its sizes.
        matrix: W, shape ``(rows, F)``, float64.
        bias: b, shape ``(F,)``.
        noise: variance of the values z around what W and b make of an image: by the values' last digits, and because
            W and b are not quite right.
    """

    planned: PlannedLayer
    matrix: Tensor
    bias: Tensor
    noise: float = 0.0

    @property
    def operator(self) -> Tensor:
        """A, shape ``(d, q)``: the layer as one matrix from all features to all its values, in their order."""
        basis = torch.eye(_size(self.planned.inputs), dtype=torch.float64).unflatten(1, self.planned.inputs)
        return linear(self.planned, basis, self.matrix, torch.zeros_like(self.bias)).flatten(1)

    @property
    def offset(self) -> Tensor:
        """The bias at each value, shape ``(q,)``."""
        return self.bias.repeat_interleave(_size(self.planned.outputs) // len(self.bias))

    def apply(self, images: Tensor) -> Tensor:
        """``z`` of images, shape ``(N, *outputs)``."""
        return linear(self.planned, images.double(), self.matrix, self.bias)

    def invert(self, values: Tensor, prior: GaussianPrior) -> Tensor:
        """The expectation of the images that have these values, ``(V, *outputs)`` to ``(V, *inputs)``."""
        return prior.given(self.operator, self.offset, values.flatten(1), self.noise)


def patches(planned: PlannedLayer, images: Tensor) -> Tensor:
    """What each value is a product of, with a 1 for the bias: shape ``(N, places, rows + 1)``, float64."""
    images = images.double()
    if planned.layer.kernel is None:
        found = images.flatten(1).unsqueeze(1)
    else:
        found = functional.unfold(images, planned.layer.kernel, stride=planned.layer.stride).mT
    return torch.cat([found, torch.ones_like(found[..., :1])], dim=-1)


def by_place(planned: PlannedLayer, values: Tensor) -> Tensor:
    """Values ``(N, *outputs)`` with the filters last: shape ``(N, places, F)``, float64."""
    return values.double().reshape(len(values), planned.layer.outputs, -1).mT


def fit(planned: PlannedLayer, images: Tensor, values: Tensor, prior: GaussianPrior) -> FirstLayer:
    """The layer by least squares from known pairs.

    With fewer equations than unknowns, or where they say nothing of some direction, the shortest solution; and where
    the values are noisy, the expectation with weights ``N(0, t)``: ``(P^T P + (s / t) I)^-1 P^T z``. The noise s and
    the weights' variance t are those of the largest likelihood, by expectation maximisation.

    Args:
        planned: the layer's sizes.
        images: shape ``(m, *inputs)``, m >= 1.
        values: theirs, shape ``(m, *outputs)``.
        prior: of the images to which the layer will be applied: ``noise`` counts what is not known of the weights in
            proportion to it.
    """
    rows = patches(planned, images).flatten(0, 1)
    wanted = by_place(planned, values).flatten(0, 1)
    left, singular, right = torch.linalg.svd(rows, full_matrices=False)
    rank = int((singular > singular[0] * max(rows.shape) * torch.finfo(torch.float64).eps).sum())
    left, singular, right = left[:, :rank], singular[:rank], right[:rank]
    projected = left.T @ wanted
    missed = float((wanted - left @ projected).square().mean(1).sum())
    size, noise = _variances(planned, singular, projected, missed, len(rows))
    damped = singular.square() + noise / size
    solved = right.T @ (projected * (singular / damped).unsqueeze(1))
    doubt = size * torch.eye(rows.shape[1], dtype=torch.float64)
    doubt -= right.T @ ((size - noise / damped).unsqueeze(1) * right)
    uncertain = float((doubt * second_moment(planned, prior)).sum())
    return FirstLayer(planned, solved[:-1], solved[-1], noise + max(uncertain, 0.0))


def _variances(
    planned: PlannedLayer, singular: Tensor, projected: Tensor, missed: float, count: int
) -> tuple[float, float]:
    """The variances of a weight and of the noise, from least squares in its own axes.

    Args:
        planned: the layer's sizes.
        singular: s_i of the patches, all positive, shape ``(rank,)``.
        projected: the values on the left axes, ``s_i w_i`` and noise, shape ``(rank, F)``.
        missed: the sum of squares off these axes, mean over filters.
        count: of equations.
    """
    size, spare = 1 / (3 * planned.matrix[0]), count - len(singular)
    power = float(projected.square().mean(1).sum()) / count
    noise = max(missed / spare if spare else _DOUBT * power, torch.finfo(torch.float64).tiny)
    for _ in range(_ROUNDS):
        damped = singular.square() + noise / size
        weights = projected * (singular / damped).unsqueeze(1)
        left = noise / damped
        off = (projected - weights * singular.unsqueeze(1)).square().mean(1)
        size = max(float((weights.square().mean(1) + left).mean()), torch.finfo(torch.float64).tiny)
        noise = (missed + float((off + left * singular.square()).sum())) / count
        noise = max(noise, torch.finfo(torch.float64).tiny)
    return size, noise


def link(planned: PlannedLayer, images: Tensor, values: Tensor, tried: int = 16) -> Tensor:
    """Which of n rows of values belong to known images of a convolution.

    The values of a known image are a combination of the columns of its patches, a wrong row's are not: what the best
    combination leaves over tells the right row, one image at a time. That are m n small least squares problems, not
    one for each of the ``n! / (n - m)!`` assignments. The clearest link gives the filters, and these the other links.

    Args:
        planned: the layer's sizes.
        images: shape ``(m, *inputs)``.
        values: shape ``(n, *outputs)``, n >= 1.
        tried: of how many images each row is tested; the first ones.

    Returns:
        The row of each image, shape ``(m,)``, int64.
    """
    left_over = residuals(planned, images[:tried], values)
    lowest = left_over.topk(min(2, len(values)), dim=1, largest=False)
    clearest = int((lowest.values[:, 0] / lowest.values[:, -1].clamp(min=torch.finfo(torch.float64).tiny)).argmin())
    seen = values.double().flatten(1)
    blank = GaussianPrior.of(images, planned.inputs)
    found = fit(planned, images[clearest, None], values[lowest.indices[clearest, 0], None], blank)
    for _ in range(2):
        distance = torch.cdist(found.apply(images).flatten(1), seen)
        nearest, rows = distance.min(1)
        # Half of the images, those that fit best: a wrong link among the others does no harm.
        sure = nearest.argsort()[: (len(images) + 1) // 2]
        found = fit(planned, images[sure], values[rows[sure]], blank)
    return torch.cdist(found.apply(images).flatten(1), seen).argmin(1)


def residuals(planned: PlannedLayer, images: Tensor, values: Tensor) -> Tensor:
    """The share of each row's variance that no filter explains on each image, shape ``(m, n)``, in [0, 1]."""
    wanted = by_place(planned, values).permute(1, 0, 2)  # (places, n, F)
    spread = (wanted - wanted.mean(0)).square().sum((0, 2))
    found = []
    for rows in patches(planned, images):
        left, singular, _ = torch.linalg.svd(rows, full_matrices=False)
        basis = left[:, singular > singular[0] * 1e-9]
        missed = wanted - torch.einsum("pr,rnf->pnf", basis, torch.einsum("pr,pnf->rnf", basis, wanted))
        found.append(missed.square().sum((0, 2)) / spread.clamp(min=torch.finfo(torch.float64).tiny))
    return torch.stack(found)


def features_of(planned: PlannedLayer) -> Tensor:
    """Which feature of an image stands where in each patch: shape ``(places, rows)``, int64."""
    numbers = torch.arange(_size(planned.inputs), dtype=torch.float64).reshape(1, *planned.inputs)
    return patches(planned, numbers)[0, :, :-1].round().long()


def second_moment(planned: PlannedLayer, prior: GaussianPrior) -> Tensor:
    """The mean of ``p p^T`` over patches p of the prior's images, each with its 1: ``(rows + 1, rows + 1)``."""
    whole = prior.covariance + prior.mean.outer(prior.mean)
    places = features_of(planned)
    moment = torch.ones(places.shape[1] + 1, places.shape[1] + 1, dtype=torch.float64)
    moment[:-1, :-1] = torch.stack([whole[place][:, place] for place in places]).mean(0)
    moment[:-1, -1] = moment[-1, :-1] = prior.mean[places].mean(0)
    return moment


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
