"""What federations learned: a figure over seeds, and what went wrong on the way."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fl_attack_bench.record import Learned, Record
from fl_attack_bench.score.estimates import mean

Quantity = Literal["accuracy", "rmse"]
MOST_TEXTS = 20  # failures or incidents that are kept of one training's seeds


@dataclass(frozen=True)
class Spread:
    """A figure over seeds, in its own unit; infinite where one seed's is.

    Args:
        mean: over seeds.
        low: the least of them.
        high: the greatest.
        seeds: how many there are.
    """

    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Course:
    """What went wrong on the way, over all seeds of one training.

    Args:
        rounds: how many were played.
        failed_rounds: how many of them had no mean; the model stayed as it was.
        failures: why, of the first of them, as the records say it.
        incident_count: how often the server noticed something and went on in spite of it.
        incidents: what, of the first of them.
        diverged: seeds on which the weights became infinite or NaN.
    """

    rounds: int = 0
    failed_rounds: int = 0
    failures: tuple[str, ...] = ()
    incident_count: int = 0
    incidents: tuple[str, ...] = ()
    diverged: int = 0

    @property
    def unnoticed(self) -> bool:
        """Whether no round failed and the server noticed nothing, whatever became of the model."""
        return not (self.failed_rounds or self.incident_count)

    @property
    def smooth(self) -> bool:
        """Whether nothing went wrong."""
        return self.unnoticed and not self.diverged


def quantity(records: Iterable[Record]) -> Quantity:
    """What the records of one task measure: ``rmse`` where its targets are numbers, ``accuracy`` for class labels.

    They should agree; where a stranger's does not, the most of them decide.
    """
    learned = [found for record in records for found in (record.utility, record.integrity) if found is not None]
    return "rmse" if 2 * sum(found.targets == "numbers" for found in learned) > len(learned) else "accuracy"


def figure(learned: Learned, what: Quantity) -> float:
    """A training's figure: its accuracy in [0, 1], or the RMSE ``sqrt(last loss)`` in the target's unit.

    The RMSE is infinite where the loss after the last round was not finite: such a loss is in no record.
    """
    if what == "accuracy":
        return learned.accuracy
    last = max((turn for turn, _ in learned.curve), default=0)
    return math.sqrt(dict(learned.losses).get(last, math.inf))


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and range of one figure a seed; None where there is none."""
    return Spread(mean(values), min(values), max(values), len(values)) if values else None


def course(trainings: Mapping[int, Learned]) -> Course:
    """What went wrong in the trainings of several seeds, by seed."""
    found = [trainings[seed] for seed in sorted(trainings)]
    return Course(
        rounds=sum(max((turn for turn, _ in learned.curve), default=0) for learned in found),
        failed_rounds=sum(learned.failed_rounds for learned in found),
        failures=tuple(text for learned in found for text in learned.failures)[:MOST_TEXTS],
        incident_count=sum(learned.incident_count for learned in found),
        incidents=tuple(text for learned in found for text in learned.incidents)[:MOST_TEXTS],
        diverged=sum(learned.diverged for learned in found),
    )
