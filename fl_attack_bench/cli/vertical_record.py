"""What a record holds of a vertical task, as rows of text."""

import statistics
from collections.abc import Iterator

from fl_attack_bench.vertical_record import (
    FeaturesReconstructed,
    LabelsInferred,
    VerticalCost,
    VerticalLearned,
    VerticalResult,
)

Row = tuple[str, str]
_MOST = 8  # parties or classes that are written out


def shown(result: VerticalResult) -> Iterator[Row]:
    """Everything that a reader asks of a vertical result, a row each."""
    if result.honest is not None:
        yield from _learned("", result.honest)
    if result.attacked is not None:
        yield from _learned(" attacked", result.attacked)
    if result.labels is not None:
        yield "labels", _labels(result.labels)
    if result.features is not None:
        yield "features", _features(result.features)
    if result.cost is not None:
        yield from _cost(result.cost)


def _learned(suffix: str, learned: VerticalLearned) -> Iterator[Row]:
    epoch = max((turn for turn, _ in learned.curve), default=0)
    note = f" (diverged after epoch {epoch})" if learned.diverged else f" after epoch {epoch}"
    yield f"accuracy{suffix}", f"{learned.accuracy:.4f}{note}"
    triggered = learned.triggered
    if triggered is not None:
        scores = ", ".join(f"{value:.3f}" for value in triggered.scores[:_MOST])
        more = ", ..." if len(triggered.scores) > _MOST else ""
        yield (
            f"trigger{suffix}",
            f"{triggered.success:.1%} of {triggered.samples} samples are taken for the target; "
            f"mean prediction by class: {scores}{more}",
        )


def _labels(labels: LabelsInferred) -> str:
    return (
        f"{labels.accuracy:.1%} of {labels.samples:,} found, {labels.known} known; "
        f"the most frequent class is {labels.majority:.1%}"
    )


def _features(features: FeaturesReconstructed) -> str:
    errors = [one.mse for one in features.victims]
    blind = statistics.fmean(one.blind for one in features.victims)
    return (
        f"MSE mean {statistics.fmean(errors):.3g}, lowest {min(errors):.3g} over {len(errors)} samples, "
        f"{features.known} known; a blind guess {blind:.3g}"
    )


def _cost(cost: VerticalCost) -> Iterator[Row]:
    yield "bytes", f"{cost.bytes_total:,} in {cost.epochs} epochs; {cost.inference_bytes:,.0f} a prediction"
    for name, party in list(cost.parties.items())[: _MOST + 1]:
        yield f"party {name}", f"{party.sent:,.0f} bytes sent and {party.received:,.0f} received, an epoch"
    network = ", ".join(f"{seconds:.4g} on {link}" for link, seconds in cost.network.items())
    yield (
        "seconds",
        f"network: {network or 'none'}; passive party {duration(cost.passive_seconds)}; "
        f"active party {duration(cost.active_seconds)}, of it the defense {duration(cost.defense_seconds)}; an epoch",
    )


def duration(value: float | None) -> str:
    """Seconds, or that they were not measured."""
    return "unknown" if value is None else f"{value:.4g}"
