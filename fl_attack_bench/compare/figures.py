"""What is compared: the figures of the triple, each with its unit, which way is better, and its samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fl_attack_bench.compare.paired import Pair, over_seeds
from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.estimates import Estimate, mean

Axis = Literal["privacy", "utility", "cost"]
Unit = Literal["mse", "share", "rmse", "bytes", "seconds"]


@dataclass(frozen=True)
class Measure:
    """One figure of the triple.

    Args:
        name: what is measured.
        axis: of which part of the triple.
        unit: ``mse`` of values in [0, 1], ``share`` in [0, 1], ``rmse`` in the target's unit, ``bytes``, ``seconds``.
        higher: whether higher is better for the defense.
    """

    name: str
    axis: Axis
    unit: Unit
    higher: bool


@dataclass(frozen=True)
class Figure:
    """One measure of one defense on one task.

    Args:
        value: as the board shows it, in the measure's unit.
        low: lower end of its 95% interval; None where it has none.
        high: upper end.
        samples: by seed, or by seed and victim; empty for seconds, which are timed once.
        by: which attack reached it and when; empty where that is no question.
    """

    value: float
    low: float | None = None
    high: float | None = None
    samples: Mapping[Pair, float] = field(default_factory=dict)
    by: str = ""


@dataclass(frozen=True)
class Side:
    """One defense on one task: its row of the board, the figures, and the records they come from."""

    row: BoardRow
    figures: Mapping[Measure, Figure]
    records: tuple[Record, ...]


def estimated(estimate: Estimate, samples: Mapping[Pair, float], by: str) -> Figure:
    """A figure with the board's bootstrap interval."""
    return Figure(estimate.value, estimate.low, estimate.high, samples, by)


def seeded(by_seed: Mapping[int, float], by: str = "") -> Figure:
    """A mean over seeds with Student's interval."""
    samples: dict[Pair, float] = {(seed,): value for seed, value in by_seed.items()}
    low, high = over_seeds(samples)
    return Figure(mean(list(samples.values())), low, high, samples, by)
