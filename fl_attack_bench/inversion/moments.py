"""The filters of a convolution from the distribution of its values alone: no value is known to belong to an image.

If images have mean m and covariance C, the values of one filter w with bias b have mean ``P(m) (w, b)`` and covariance
``S(w)``, of which entry (p, q) is ``w^T C_pq w`` with the covariance C_pq of patches p and q. Both are fitted to the
values' own mean and covariance by the likelihood of a normal distribution, by Fisher scoring: with
``D_k = dS / dw_k`` and the mean's slope ``P_k``, the information on the weights is
``F_kl = n (tr(S^-1 D_k S^-1 D_l) / 2 + P_k^T S^-1 P_l)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.inversion.first_layer import FirstLayer, by_place, features_of, patches, second_moment
from fl_attack_bench.inversion.gaussian_prior import GaussianPrior
from fl_attack_bench.models.stack import PlannedLayer

# Images are not normal, and their covariance is an estimate: values are taken to have this much more variance each.
_FLOOR = 1e-2
# And the weights are about so much further off, in variance, than the likelihood says (measured on MNIST).
_TAILS = 30.0
_STEPS = 40
_PLACES = 196  # of a filter, evenly chosen: neighbours say the same, and the cost grows with the cube
_DONE = 1e-7


@dataclass(frozen=True)
class _Seen:
    """What the fit of one filter goes by.

    Args:
        rows: P(m), shape ``(places, K)`` with K = C k k + 1.
        covariance: of patches, shape ``(places, K - 1, places, K - 1)``.
        mean: of the filter's values, shape ``(places,)``.
        spread: their covariance, shape ``(places, places)``.
        count: of samples that the moments come from.
        size: variance of a weight, as known before.
    """

    rows: Tensor
    covariance: Tensor
    mean: Tensor
    spread: Tensor
    count: float
    size: float

    def at(self, weights: Tensor) -> tuple[float, Tensor, Tensor]:
        """The negative logarithm of the likelihood, its slope, and the information on the weights."""
        half = torch.einsum("pkql,l->kpq", self.covariance, weights[:-1])
        floor = _FLOOR * float(self.spread.diagonal().mean()) * torch.eye(len(self.mean), dtype=torch.float64)
        model = torch.einsum("kpq,k->pq", half, weights[:-1]) + floor
        root = torch.linalg.cholesky((model + model.T) / 2)
        missed = self.mean - self.rows @ weights
        found = self.spread + floor + missed.outer(missed)
        slopes = torch.cholesky_solve((half + half.mT).permute(1, 0, 2).flatten(1), root)
        slopes = slopes.unflatten(1, half.shape[::2]).permute(1, 0, 2)  # S^-1 D_k
        ratio = torch.cholesky_solve(found, root)
        along = torch.cholesky_solve(self.rows, root)
        loss = root.diagonal().log().sum() + ratio.trace() / 2
        slope = -(along.T @ missed)
        slope[:-1] += (slopes.diagonal(dim1=1, dim2=2).sum(1) - torch.einsum("kpq,qp->k", slopes, ratio)) / 2
        known = self.rows.T @ along
        known[:-1, :-1] += torch.einsum("kpq,lqp->kl", slopes, slopes) / 2
        prior = torch.full_like(weights, 1 / (self.size * self.count))
        value = float(loss + (prior * weights.square()).sum() / 2)
        return value, slope + prior * weights, known + prior.diag()

    def fit(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest weights near some others, and their covariance."""
        weights, damping = start, 1e-3
        loss, slope, known = self.at(weights)
        for _ in range(_STEPS):
            step = torch.linalg.solve(known + damping * known.diagonal().diag(), slope)
            value, *there = self.at(weights - step)
            if value < loss:
                gained, weights, loss, damping = loss - value, weights - step, value, damping / 4
                slope, known = there
                if gained < _DONE:
                    break
            elif damping > 1e6:
                break
            else:
                damping *= 8
        return weights, torch.linalg.inv(known) / self.count


def fit_moments(planned: PlannedLayer, prior: GaussianPrior, images: int, values: Tensor) -> FirstLayer:
    """A convolution from its values on many unknown images.

    Args:
        planned: the layer's sizes; a convolution.
        prior: the distribution of such images.
        images: how many it was taken from.
        values: shape ``(n, *outputs)``, n >= 2.
    """
    places = features_of(planned)
    chosen = torch.linspace(0, len(places) - 1, min(len(places), _PLACES), dtype=torch.float64).round().long()
    seen, places = by_place(planned, values)[:, chosen], places[chosen]
    covariance = prior.covariance[places.flatten()][:, places.flatten()]
    covariance = covariance.reshape(*places.shape, *places.shape)
    rows = patches(planned, prior.mean.reshape(1, *planned.inputs))[0, chosen]
    count = 1 / (1 / len(values) + 1 / max(images, 1))
    size = 1 / (3 * planned.matrix[0])  # of uniform weights as a network begins with
    moment = second_moment(planned, prior)
    found, uncertain = [], 0.0
    for number in range(planned.layer.outputs):
        mine = seen[:, :, number]
        about = _Seen(rows, covariance, mean := mine.mean(0), torch.cov(mine.T, correction=0), count, size)
        noise = float(about.spread.diagonal().mean()) / count
        start = torch.linalg.solve(rows.T @ rows + noise / size * torch.eye(rows.shape[1]), rows.T @ mean)
        weights, doubt = about.fit(start)
        uncertain += float((doubt * moment).sum()) / planned.layer.outputs
        found.append(weights)
    solved = torch.stack(found, dim=1)
    return FirstLayer(planned, solved[:-1], solved[-1], _TAILS * uncertain)
