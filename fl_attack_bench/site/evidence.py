"""What a task page shows of single attacks: the gate, what they infer besides images, bounds, and papers' figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fl_attack_bench import score
from fl_attack_bench.score.papers import Beside
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.triple import MOMENTS, AttackScore, Certification, Moment

Column = tuple[str, str]  # an attack's label and what it infers: a layer, or nothing
CLASSES = "classes found"
Cells = tuple[float | None, ...]  # one figure a moment
Quantities = Callable[[AttackScore], Mapping[str, float | None]]


@dataclass(frozen=True)
class Gate:
    """How each attack fares against the undefended federation: by attack, one score a moment, None where there is none.

    Args:
        moments: at which any attack was played.
        lines: the attacks by label.
    """

    moments: tuple[Moment, ...]
    lines: tuple[tuple[str, tuple[AttackScore | None, ...]], ...]


@dataclass(frozen=True)
class Grid:
    """One quantity that attacks reach, defenses by attacks.

    Args:
        moments: at which it was reached.
        columns: what each column holds.
        lines: a row of the board with one cell a column.
    """

    moments: tuple[Moment, ...]
    columns: tuple[Column, ...]
    lines: tuple[tuple[Row, tuple[Cells, ...]], ...]


@dataclass(frozen=True)
class Bounds:
    """Certified bounds beside the measured distances.

    Args:
        moments: at which bounds are stated.
        lines: an attack under a defense that states bounds, one cell a moment.
        images: with a bound, over all lines.
        reproducing: of them, those that the bound speaks of.
        kept: of those, the ones whose distance is not below it.
    """

    moments: tuple[Moment, ...]
    lines: tuple[tuple[Row, str, tuple[Certification | None, ...]], ...]
    images: int
    reproducing: int
    kept: int


def gate(undefended: Row | None) -> Gate:
    """Every attack on the undefended federation; two attacks of one label, from different files, have a line each."""
    scores = undefended.attacks if undefended else ()
    moments = tuple(moment for moment in MOMENTS if any(one.moment == moment for one in scores))
    lines: list[tuple[str, dict[Moment, AttackScore]]] = []
    for one in scores:
        if not lines or lines[-1][0] != one.attack or one.moment in lines[-1][1]:
            lines.append((one.attack, {}))
        lines[-1][1][one.moment] = one
    return Gate(moments, tuple((label, tuple(found.get(at) for at in moments)) for label, found in lines))


def errors(rows: Sequence[Row]) -> Grid | None:
    """Mean MSE of each attack by itself under each defense; None where no attack returns images."""
    return _grid(rows, lambda one: {"": one.mean}, min)


def labels(rows: Sequence[Row]) -> Grid | None:
    """Share of labels that each attack infers under each defense; None where no attack infers any."""
    return _grid(rows, lambda one: {"": one.label_accuracy})


def representations(rows: Sequence[Row]) -> Grid | None:
    """Correlation at each layer beside a blind guess's, and the share of classes found; None where there is none."""
    return _grid(rows, _representations)


def _representations(one: AttackScore) -> dict[str, float | None]:
    if not one.correlations:
        return {}
    guessed: dict[str, float | None] = {f"{layer}, blind guess": value for layer, value in one.blind.items()}
    return {**one.correlations, **guessed, CLASSES: one.classes_found}


def bounds(rows: Sequence[Row]) -> Bounds | None:
    """Every certified bound; None where no defense states one."""
    held = {
        (place, one.attack, one.moment): one.certified
        for place, row in enumerate(rows)
        for one in row.attacks
        if one.certified
    }
    if not held:
        return None
    moments = tuple(moment for moment in MOMENTS if any(at == moment for *_, at in held))
    lines = dict.fromkeys((place, attack) for place, attack, _ in held)
    return Bounds(
        moments,
        tuple((rows[place], attack, tuple(held.get((place, attack, at)) for at in moments)) for place, attack in lines),
        sum(found.images for found in held.values()),
        sum(found.reproducing for found in held.values()),
        sum(found.kept for found in held.values()),
    )


def published(rows: Sequence[Row]) -> tuple[Beside, ...]:
    """Papers' figures beside ours."""
    return score.published(rows)


def _grid(rows: Sequence[Row], quantities: Quantities, worse: Callable[[float, float], float] = max) -> Grid | None:
    """Of two attacks of one label, from different files, the figure that is worse for the defense."""
    held: dict[tuple[int, str, str, Moment], float] = {}
    for place, row in enumerate(rows):
        for one in row.attacks:
            for what, value in quantities(one).items():
                if value is not None:
                    where = place, one.attack, what, one.moment
                    held[where] = worse(value, held.get(where, value))
    if not held:
        return None
    columns = sorted({(attack, what) for _, attack, what, _ in held}, key=lambda c: (c[0], c[1] == CLASSES, c[1]))
    moments = tuple(moment for moment in MOMENTS if any(at == moment for *_, at in held))
    lines = tuple(
        (row, tuple(tuple(held.get((place, *column, moment)) for moment in moments) for column in columns))
        for place, row in enumerate(rows)
        if any(at == place for at, *_ in held)
    )
    return Grid(moments, tuple(columns), lines)
