"""A paper's figures of a vertical task beside ours."""

from collections.abc import Sequence

from fl_attack_bench.score.papers import Beside, Ours
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.tasks.base import Published


def published(rows: Sequence[VerticalRow]) -> tuple[Beside, ...]:
    """The published figures of one task, in its order, beside what its rows on one machine hold; means over seeds.

    ``accuracy`` is that of the honest training, or of the main task under the attack that is named. The others are
    those of the attack that is named, else of the one that is worst for the defense, whether or not it counts.
    """
    if not rows:
        return ()
    by_label = {row.defense: row for row in reversed(rows)}
    return tuple(
        Beside(figure, () if value is None else (Ours(value, None),))
        for figure in rows[0].task.published
        for row in (by_label.get(figure.defense),)
        for value in (_ours(figure, row) if row else None,)
    )


def _ours(figure: Published, row: VerticalRow) -> float | None:
    if figure.quantity == "accuracy" and figure.attack is None:
        return row.utility.accuracy if row.utility else None
    if figure.quantity == "accuracy":
        return max((one.figures.accuracy.mean for one in row.backdoors if one.attack == figure.attack), default=None)
    if figure.quantity == "backdoor":
        return max((one.figures.success.mean for one in row.backdoors if _meant(figure, one.attack)), default=None)
    if figure.quantity == "label_accuracy":
        return max((one.figures.accuracy.mean for one in row.inferences if _meant(figure, one.attack)), default=None)
    if figure.quantity == "mse":
        return min((one.figures.mse.mean for one in row.inversions if _meant(figure, one.attack)), default=None)
    return None


def _meant(figure: Published, attack: str) -> bool:
    return figure.attack in (None, attack)
