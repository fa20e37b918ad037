"""Damped Gauss-Newton steps: the last digits of a least-squares problem that L-BFGS finds badly conditioned.

Where a few directions of the image hardly move the gradient, L-BFGS creeps along them for thousands of iterations. The
whole Jacobian knows them at once: with ``n`` residuals and ``d`` unknowns a step costs ``d`` evaluations, a product of
``n d^2`` and a factorisation of ``d^3 / 3``, and from nearby the steps converge quadratically (Levenberg 1944; the
damping in proportion to the objective is that of Yamashita and Fukushima 2001).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Residual = Callable[[Tensor], Tensor]

# The Jacobian is by far the largest thing that is kept.
MOST_BYTES = 1 << 30
# Of the forward difference: rounding and curvature then both stay below a millionth.
_WIDTH = 1e-7
_COLUMNS = 32
_DAMPING = 1e-2
_TRIALS = 8
# A step that lowers the objective by less than a fifth does not pay for its Jacobian.
_PAYS = 0.8


def polish(residual: Residual, start: Tensor, steps: int, stop_below: float) -> tuple[Tensor, float]:
    """Lower ``|r(x)|^2`` from a point that is already near a minimum.

    Args:
        residual: points ``(A, d)`` to residuals ``(A, n)``, row by row; in double precision.
        start: shape ``(d,)``, double.
        steps: at most so many; the steps end sooner where they no longer pay.
        stop_below: an objective that is low enough.

    A problem whose Jacobian would not fit into ``MOST_BYTES`` is left as it is.

    Returns:
        The point that was reached, shape ``(d,)``, and its objective, no higher than at the start.
    """
    point, here = start, residual(start.unsqueeze(0))[0]
    value = here.dot(here)
    if here.numel() * start.numel() * start.element_size() > MOST_BYTES:
        return start, float(value)
    for _ in range(steps):
        if not value > stop_below:
            break
        jacobian = _jacobian(residual, point, here)
        found = _step(residual, point, value, jacobian @ jacobian.T, jacobian @ here)
        if found is None:
            break
        was = value
        point, here = found
        value = here.dot(here)
        if value > _PAYS * was:
            break
    return point, float(value)


def _jacobian(residual: Residual, point: Tensor, here: Tensor) -> Tensor:
    """Shape ``(d, n)``, by forward differences: enough for a direction, whose end is judged by exact residuals."""
    jacobian = here.new_empty(len(point), len(here))
    shifts = torch.eye(len(point), dtype=point.dtype, device=point.device).mul_(_WIDTH)
    for rows, some in zip(jacobian.split(_COLUMNS), shifts.split(_COLUMNS), strict=True):
        rows.copy_(residual(point + some)).sub_(here).div_(_WIDTH)
    return jacobian


def _step(
    residual: Residual, point: Tensor, value: Tensor, curvature: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor] | None:
    """A lower point and its residual, damped as strongly as it takes; None where no damping helps."""
    damping = _DAMPING * float(value)
    for _ in range(_TRIALS):
        damped = curvature.clone()
        damped.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(damped)
        damping *= 10
        if failed:
            continue
        there = point - torch.cholesky_solve(slope.unsqueeze(1), factor).squeeze(1)
        after = residual(there.unsqueeze(0))[0]
        if after.dot(after) < value:
            return there, after
    return None
