"""A paper's figures beside ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fl_attack_bench.score.row import Row
from fl_attack_bench.score.triple import AttackScore, Moment
from fl_attack_bench.tasks.base import Published


@dataclass(frozen=True)
class Ours:
    """Our figure, a mean over seeds; the moment is None for one of the whole training."""

    value: float
    moment: Moment | None


@dataclass(frozen=True)
class Beside:
    """A published figure beside ours.

    Args:
        published: as the task names it.
        ours: one for each moment that it is about; empty where the records hold none.
    """

    published: Published
    ours: tuple[Ours, ...]


def published(rows: Sequence[Row]) -> tuple[Beside, ...]:
    """The published figures of one task, in its order, beside what its rows on one machine hold.

    An MSE is that of the moment which is worse for the defense: of the attack that is named, else the worst case over
    attacks. An inferred label or representation is given at both moments, of the strongest attack where none is named.
    """
    if not rows:
        return ()
    return tuple(Beside(figure, _ours(figure, _row(figure, rows))) for figure in rows[0].task.published)


def _row(figure: Published, rows: Iterable[Row]) -> Row | None:
    return next((row for row in rows if row.defense == figure.defense), None)


def _ours(figure: Published, row: Row | None) -> tuple[Ours, ...]:
    if row is None:
        return ()
    if figure.quantity == "accuracy" and figure.attack is not None and row.integrity is not None:
        played = [one for one in row.integrity.attacks if one.attack == figure.attack and one.learned is not None]
        known = row.integrity.quantity == "accuracy"
        return tuple(Ours(one.learned.mean, None) for one in played[:1] if one.learned) if known else ()
    if figure.quantity == "accuracy":
        return (Ours(row.utility.accuracy, None),) if row.utility else ()
    if figure.quantity == "mse" and figure.attack is None:
        return (Ours(row.privacy.mean.value, row.privacy.moment),) if row.privacy else ()
    found = [
        Ours(value, score.moment)
        for score in row.attacks
        if figure.attack in (None, score.attack) and (value := _value(figure, score)) is not None
    ]
    if figure.quantity == "mse":
        return (min(found, key=lambda ours: ours.value),) if found else ()
    strongest: dict[Moment | None, Ours] = {}
    for ours in found:
        other = strongest.get(ours.moment)
        if other is None or ours.value > other.value:
            strongest[ours.moment] = ours
    return tuple(strongest[moment] for moment in sorted(strongest, key=str))


def _value(figure: Published, score: AttackScore) -> float | None:
    """What an attack reached in the figure's quantity; a correlation without a layer is that of the only one."""
    if figure.quantity == "mse":
        return score.mean
    if figure.quantity == "label_accuracy":
        return score.label_accuracy
    if figure.quantity != "correlation":
        return None
    if figure.layer is None:
        return next(iter(score.correlations.values())) if len(score.correlations) == 1 else None
    return score.correlations.get(figure.layer)
