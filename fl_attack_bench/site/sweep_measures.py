"""What sweeps and variants of a defense are measured in, track by track: each figure with its unit and better way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.score.learned import Spread
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site.style import FLOOR, drawable, words

ROOM = 14  # letters of a link's name


@dataclass(frozen=True)
class Measure:
    """One figure of a row.

    Args:
        title: what it is called.
        unit: what stands behind the title on an axis.
        high: whether higher is better.
        read: the figure with the ends of its interval; None where the row has none.
        protects: whether it says what the defense keeps from the adversary, and not what that takes.
        share: whether it is in per cent.
    """

    title: str
    unit: str
    high: bool
    read: Callable[[Any], Estimate | None]
    protects: bool = False
    share: bool = False

    def upright(self) -> str:
        """The label of a vertical axis."""
        return f"{self._told()}   ({'↑' if self.high else '↓'} better)"

    def lying(self) -> str:
        """The label of a horizontal axis."""
        return f"{self._told()}   ({'→' if self.high else '←'} better)"

    def _told(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title


def horizontal(rows: Sequence[Row]) -> tuple[Measure, ...]:
    """Worst-case MSE and accuracy; what is learned under attack and from honest clients where clients attack."""
    numbers = any(row.utility and row.utility.rmse for row in rows)
    learned = Measure("test R²", "", True, _r2) if numbers else ACCURACY
    if all(row.task.adversary == "server" for row in rows):
        return (Measure("worst-case MSE", "pixels in [0, 1]", True, _pixels, True), learned)
    if any(row.integrity and row.integrity.quantity == "rmse" for row in rows):
        return (Measure("RMSE under the worst attack", "", False, _attacked, True), learned)
    under = Measure("accuracy under the worst attack", "%", True, lambda row: _scaled(_attacked(row)), True, True)
    return (under, learned)


def vertical(_: Sequence[VerticalRow]) -> tuple[Measure, ...]:
    """Backdoor success, labels found and features' MSE, each under the strongest attack; the main task's accuracy."""
    return (
        Measure("backdoor success", "%", False, _backdoor, True, True),
        Measure("labels found", "%", False, _labels, True, True),
        Measure("features' MSE", "in [0, 1]", True, _features, True),
        Measure("main task's accuracy", "%", True, _accuracy, share=True),
    )


def outsourced(rows: Sequence[OutsourcedRow]) -> tuple[Measure, ...]:
    """Worst-case MSE, the seconds over the slowest link, or bytes where no clock ran, and accuracy.

    Of a training step, or of an inference batch where some protocol does not train.
    """
    paid = [row.cost for row in rows if row.cost]
    trains = all(cost.training is not None for cost in paid)
    what = "training step" if trains else "inference batch"
    stages = [stage for cost in paid if (stage := cost.training if trains else cost.inference) is not None]
    links = sorted({link for stage in stages for link in stage.seconds})
    slowest = max(links, key=lambda link: max(stage.seconds.get(link, 0.0) for stage in stages), default="")
    seconds = Measure(f"{what}, {words(slowest, ROOM)}", "seconds", False, lambda row: _seconds(row, trains, slowest))
    sent = Measure(f"{what}, all parties", "MB", False, lambda row: _megabytes(row, trains))
    return (
        Measure("worst-case MSE", "features in [0, 1]", True, _pixels, True),
        seconds if slowest else sent,
        ACCURACY,
    )


def _pixels(row: Row | OutsourcedRow) -> Estimate | None:
    return _floored(row.privacy.mean) if row.privacy else None


def _accuracy(row: Row | VerticalRow | OutsourcedRow) -> Estimate | None:
    return _scaled(_r2(row))


def _r2(row: Row | VerticalRow | OutsourcedRow) -> Estimate | None:
    if row.utility is None:
        return None
    value, sd = row.utility.accuracy, row.utility.sd or 0.0
    return _drawable(Estimate(value, value - sd, value + sd))


def _attacked(row: Row) -> Estimate | None:
    worst = row.integrity.worst if row.integrity else None
    return _estimate(worst.learned if worst else None)


def _backdoor(row: VerticalRow) -> Estimate | None:
    return _scaled(_estimate(row.backdoor.figures.success)) if row.backdoor else None


def _labels(row: VerticalRow) -> Estimate | None:
    return _scaled(_estimate(row.labels.figures.accuracy)) if row.labels else None


def _features(row: VerticalRow) -> Estimate | None:
    return _floored(_estimate(row.features.figures.mse)) if row.features else None


def _seconds(row: OutsourcedRow, trains: bool, link: str) -> Estimate | None:
    stage = (row.cost.training if trains else row.cost.inference) if row.cost else None
    value = stage.seconds.get(link) if stage else None
    return _drawable(Estimate(value, value, value)) if value is not None else None


def _megabytes(row: OutsourcedRow, trains: bool) -> Estimate | None:
    stage = (row.cost.training if trains else row.cost.inference) if row.cost else None
    return _drawable(Estimate(*[stage.bytes / 1e6] * 3)) if stage else None


def _estimate(found: Spread | None) -> Estimate | None:
    """The range over seeds takes the place of an interval."""
    return _drawable(Estimate(found.mean, found.low, found.high)) if found else None


def _drawable(found: Estimate) -> Estimate | None:
    """None where an axis cannot hold it: infinity is no point of a figure."""
    return found if all(drawable(end) for end in (found.value, found.low, found.high)) else None


def _scaled(found: Estimate | None) -> Estimate | None:
    """A fraction in per cent."""
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high) if found else None


def _floored(found: Estimate | None) -> Estimate | None:
    """An error that has a place on a logarithmic axis."""
    ends = [max(end, FLOOR) for end in (found.value, found.low, found.high)] if found else []
    return _drawable(Estimate(*ends)) if ends else None


ACCURACY = Measure("test accuracy", "%", True, _accuracy, share=True)
