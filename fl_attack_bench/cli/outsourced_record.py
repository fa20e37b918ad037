"""What a record holds of an outsourced task, as rows of text."""

import statistics
from collections.abc import Iterator

from fl_attack_bench.cli.vertical_record import Row, duration
from fl_attack_bench.outsourced_record import (
    InputsReconstructed,
    OutsourcedCost,
    OutsourcedLearned,
    OutsourcedResult,
    StageCost,
)

_MOST = 8  # parties that are written out


def shown(result: OutsourcedResult) -> Iterator[Row]:
    """Everything that a reader asks of an outsourced result, a row each."""
    if result.learned is not None:
        yield from _learned(result.learned)
    if result.inputs is not None:
        yield from _inputs(result.inputs)
    if result.cost is not None:
        yield from _cost(result.cost)


def _learned(learned: OutsourcedLearned) -> Iterator[Row]:
    note = " (diverged)" if learned.diverged else ""
    yield "accuracy", f"{learned.accuracy:.4f}{note} after {learned.steps:,} steps, plain {learned.plain_accuracy:.4f}"
    if learned.weight_difference is not None:
        rms = learned.weight_rms_difference
        tail = "" if rms is None else f", root mean square {rms:.3g}"
        yield "weights", f"largest difference from the plain ones {learned.weight_difference:.3g}{tail}"


def _inputs(inputs: InputsReconstructed) -> Iterator[Row]:
    errors = [one.mse for one in inputs.victims]
    blind = statistics.fmean(one.blind for one in inputs.victims)
    yield "view", f"{inputs.party}, watching the {inputs.moment}{'; knows the weights' * inputs.knows_model}"
    yield (
        "features",
        f"MSE mean {statistics.fmean(errors):.3g}, lowest {min(errors):.3g} over {len(errors)} samples, "
        f"{inputs.known:,} known and {inputs.auxiliary:,} public; a blind guess {blind:.3g}",
    )


def _cost(cost: OutsourcedCost) -> Iterator[Row]:
    yield "bytes", f"{cost.bytes_total:,} in setup and training"
    for name, stage in (("setup", cost.setup), ("training step", cost.training), ("inference", cost.inference)):
        if stage is not None:
            yield from _stage(name, stage)


def _stage(name: str, stage: StageCost) -> Iterator[Row]:
    sent = sum(party.sent for party in stage.parties.values())
    ahead = sum(party.offline_sent for party in stage.parties.values())
    network = ", ".join(f"{seconds:.4g} on {link}" for link, seconds in stage.network.items())
    yield (
        name,
        f"{stage.samples:,} samples, {stage.rounds:,} trips: {sent:,.0f} bytes and {ahead:,.0f} ahead of the data; "
        f"seconds: network {network or 'none'}; computing {duration(stage.seconds)} and "
        f"{duration(stage.offline_seconds)} ahead",
    )
    clock = stage.party_seconds or {}
    for party, traffic in list(stage.parties.items())[:_MOST]:
        yield (
            f"  {party}",
            f"{traffic.sent:,.0f} bytes sent and {traffic.received:,.0f} received; ahead {traffic.offline_sent:,.0f} "
            f"and {traffic.offline_received:,.0f}; {duration(clock.get(party))} seconds",
        )
