"""Papers' figures of an outsourced task: beside ours, and of protocols that nobody here plays."""

from collections.abc import Sequence
from dataclasses import dataclass

from fl_attack_bench.score.outsourced.row import Moment, OutsourcedRow, StageScore
from fl_attack_bench.tasks.base import Published


@dataclass(frozen=True)
class Beside:
    """A published figure beside ours.

    Args:
        published: as the task names it.
        row: of ours, of the same protocol; None where nobody here plays it.
        ours: mean over seeds, in the figure's unit; of bytes those that are sent while the data is there; None where
            the records hold none.
        ahead: of bytes, those that are sent ahead of the data.
    """

    published: Published
    row: OutsourcedRow | None
    ours: float | None
    ahead: float | None = None


@dataclass(frozen=True)
class Elsewhere:
    """A protocol of which there are published figures only."""

    defense: str
    figures: tuple[Published, ...]

    def seconds(self, stage: Moment) -> list[tuple[str, float]]:
        """Link and seconds of one batch."""
        return [(one.link or "", one.value) for one in self.figures if one.quantity == "seconds" and one.stage == stage]

    def bytes(self, stage: Moment) -> list[float]:
        """Of one batch."""
        return [one.value for one in self.figures if one.quantity == "bytes" and one.stage == stage]

    def values(self, quantity: str) -> list[float]:
        """Of a quantity that knows no stage."""
        return [one.value for one in self.figures if one.quantity == quantity]

    @property
    def sources(self) -> list[str]:
        """Where the figures are from."""
        return list(dict.fromkeys(one.source for one in self.figures))


def published(rows: Sequence[OutsourcedRow]) -> tuple[Beside, ...]:
    """The published figures of one task, in its order, beside what its rows on one machine hold; means over seeds."""
    return tuple(_beside(figure, row_of(figure, rows)) for figure in rows[0].task.published) if rows else ()


def elsewhere(rows: Sequence[OutsourcedRow]) -> tuple[Elsewhere, ...]:
    """By protocol, the published figures of which no row of ours is, in the task's order."""
    found: dict[str, list[Published]] = {}
    for figure in rows[0].task.published if rows else ():
        if row_of(figure, rows) is None:
            found.setdefault(figure.defense, []).append(figure)
    return tuple(Elsewhere(defense, tuple(figures)) for defense, figures in found.items())


def row_of(figure: Published, rows: Sequence[OutsourcedRow]) -> OutsourcedRow | None:
    """The row of the same label, else the one of the same method that sets fewest parameters, the first of them."""
    alike = [row for row in rows if figure.defense in (row.defense, row.spec.family)]
    return min(alike, key=lambda row: (row.defense != figure.defense, len(row.spec.parameters)), default=None)


def _beside(figure: Published, row: OutsourcedRow | None) -> Beside:
    if row is None:
        return Beside(figure, None, None)
    stage = row.cost.stage(figure.stage) if row.cost and figure.stage else None
    if figure.quantity == "bytes" and stage is not None:
        return Beside(figure, row, stage.online, stage.offline)
    return Beside(figure, row, _ours(figure, row, stage))


def _ours(figure: Published, row: OutsourcedRow, stage: StageScore | None) -> float | None:
    if figure.quantity == "accuracy":
        return row.utility.accuracy if row.utility else None
    if figure.quantity == "mse" and figure.attack is None:
        return row.privacy.mean.value if row.privacy else None
    if figure.quantity == "mse":
        return min((one.mse.mean for one in row.attacks if one.attack == figure.attack), default=None)
    if figure.quantity == "seconds" and stage is not None and figure.link:
        return {link.casefold(): value for link, value in stage.seconds.items()}.get(figure.link.casefold())
    return None
