"""Which of two rows of a vertical task is better on all that an attack reaches, on utility and on cost."""

from fl_attack_bench.score.pareto import ACCURACY_TOLERANCE, MSE_TOLERANCE, outdoes, steps
from fl_attack_bench.score.vertical.row import VerticalRow

SHARE_TOLERANCE = 0.01  # of backdoor success and labels inferred: one point


def dominates(a: VerticalRow, b: VerticalRow) -> bool:
    """Whether ``a`` is at least as good as ``b`` on every measure and better on one. Both rows must compete.

    Measures: backdoor success (down), of all attacks and of those planted in the training, and labels inferred (down)
    within a point, the features' MSE (up) within 1%, each
    where an attack of its kind counts on the task; honest accuracy (up) within 0.1 points; bytes an epoch (down),
    exactly. Equality within a tolerance is treated as on the horizontal track.
    """
    if not (a.competes and b.competes and a.cost and b.cost):
        return False
    gains = [mine - other for mine, other in zip(_levels(a), _levels(b), strict=True)]
    return outdoes(a.cost.bytes_epoch, b.cost.bytes_epoch, gains)


def _levels(row: VerticalRow) -> list[float]:
    """The measured figures in units of their tolerances, all higher for better; competing rows have the same ones."""
    found = [row.utility.accuracy / ACCURACY_TOLERANCE] if row.utility else []
    for backdoor in (row.backdoor, row.planted or row.backdoor):
        if backdoor:
            found.append(-backdoor.figures.success.mean / SHARE_TOLERANCE)
    if row.labels:
        found.append(-row.labels.figures.accuracy.mean / SHARE_TOLERANCE)
    if row.features:
        found.append(steps(row.features.figures.mse.mean, MSE_TOLERANCE))
    return found
