"""Ridge regression whose strength is chosen by the exact leave-one-out error, in closed form and in float64.

Of a penalised least squares fit with a free intercept, the error at row i of the fit without row i is
``(y_i - f_i) / (1 - h_ii)``, f and h from the fit to all rows (Allen 1974, "The relationship between variable
selection and data augmentation and a method for prediction"). Nothing is fitted twice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Relative to the mean eigenvalue. The smallest solves exactly what can be solved exactly.
PENALTIES = tuple(10.0**power for power in range(-12, 4))


class KernelRidge:
    """Kernel ridge regression from T known rows to M others; the cost grows with T, not with the kernel's features.

    With an orthonormal basis Q of what is orthogonal to ``(1, ..., 1)``, ``Q^T K Q = U diag(s) U^T`` and ``B = Q U``:
    the coefficients are ``a = B diag(1 / (s + p)) B^T Y``, the leave-one-out error of row i is
    ``a_i / sum_j B_ij^2 / (s_j + p)``, and another row's prediction is ``mean(Y) + (k - mean(K)) a``.

    Args:
        gram: K, shape ``(T, T)``, positive semidefinite, of the known rows, T >= 2.
        cross: k, shape ``(M, T)``, between the others and the known rows.
    """

    def __init__(self, gram: Tensor, cross: Tensor) -> None:
        gram, cross = gram.double(), cross.double()
        count = len(gram)
        # A Householder reflection that takes the first axis to (1, ..., 1): its other columns are the basis Q.
        mirror = gram.new_full((count,), count**-0.5)
        mirror[0] -= 1
        mirror = mirror / mirror.norm()
        basis = (torch.eye(count, dtype=gram.dtype, device=gram.device) - 2 * mirror.outer(mirror))[:, 1:]
        values, vectors = torch.linalg.eigh(basis.T @ gram @ basis)
        self._values = values.clamp(min=0)
        self._basis = basis @ vectors
        self._cross = (cross - gram.mean(0)) @ self._basis
        mean = float(self._values.mean())
        # Rows that are all alike teach nothing: with any strength the prediction is the mean.
        self._scale = mean if mean > 0 else 1.0

    def errors(self, targets: Tensor, penalties: Sequence[float] = PENALTIES) -> Tensor:
        """The mean squared leave-one-out error of each column of ``(T, D)`` targets, shape ``(len(penalties), D)``."""
        projected = self._basis.T @ targets.double()
        found = []
        for penalty in penalties:
            damped = self._values + penalty * self._scale
            missed = self._basis @ (projected / damped.unsqueeze(1))
            leverage = (self._basis.square() / damped).sum(1, keepdim=True)
            found.append((missed / leverage).square().mean(0))
        return torch.stack(found)

    def predict(self, targets: Tensor, penalty: float) -> Tensor:
        """The others' targets, shape ``(M, D)``."""
        targets = targets.double()
        damped = self._values + penalty * self._scale
        predicted: Tensor = targets.mean(0) + self._cross @ (self._basis.T @ targets / damped.unsqueeze(1))
        return predicted

    def best(self, targets: Tensor, penalties: Sequence[float] = PENALTIES) -> tuple[float, float]:
        """The penalty with the lowest leave-one-out error over all columns, and that error."""
        errors = self.errors(targets, penalties).mean(1)
        chosen = int(errors.argmin())
        return penalties[chosen], float(errors[chosen])


def held_out(features: Tensor, targets: Tensor, penalties: Sequence[float] = PENALTIES[4:]) -> Tensor:
    """Every row's target as linear ridge regression on all the other rows predicts it.

    The strength is the one with the lowest mean squared error. The cost is linear in the number of rows.

    Args:
        features: shape ``(N, p)``, N >= 2.
        targets: shape ``(N, D)``.
        penalties: relative to the mean eigenvalue of the features' scatter matrix.

    Returns:
        Shape ``(N, D)``, float64.
    """
    centred, targets = features.double(), targets.double()
    centred = centred - centred.mean(0)
    mean = targets.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    rotated = centred @ vectors
    projected = rotated.T @ (targets - mean)
    scale = float(values.clamp(min=0).mean()) or 1.0
    best, lowest = targets, float("inf")
    for penalty in penalties:
        damped = values.clamp(min=0) + penalty * scale
        fitted = mean + rotated @ (projected / damped.unsqueeze(1))
        leverage = (rotated.square() / damped).sum(1, keepdim=True) + 1 / len(targets)
        # A row that alone decides its own fit would be divided by zero.
        predicted = targets - (targets - fitted) / (1 - leverage).clamp(min=1e-9)
        error = float((predicted - targets).square().mean())
        if error < lowest:
            best, lowest = predicted, error
    return best
