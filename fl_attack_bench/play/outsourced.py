"""Plays the jobs of an outsourced task: learning and predicting under the protocol, and its timing."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from fl_attack_bench import hardware
from fl_attack_bench.api import Plan
from fl_attack_bench.jobs import Job, Kind, Settings
from fl_attack_bench.link import Link
from fl_attack_bench.models import stack
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.play.outsourced_attack import attack
from fl_attack_bench.play.outsourced_stage import (
    INFERENCE,
    SETUP,
    TESTING,
    TRAINING,
    WEIGHTS,
    OutsourcedStage,
    predict,
    reveal,
    train,
)
from fl_attack_bench.scenarios.outsourced import OFFLINE, Gathering
from fl_attack_bench.wire import Phase, Wire

# Samples of the test set that are predicted at a time; what an inference costs is told of batches of the task's size.
_TEST_BATCH = 4096
_PRICED_BATCHES = 2
_TIMED = 4  # batches that a timing plays: one to warm up, the rest measured
_LONG = 10.0  # seconds of a batch after which one is enough


def players(job: Job, settings: Settings) -> Mapping[Kind, Callable[[Path], dict[str, Any]]]:
    """What does each kind of job of an outsourced task, given its result folder."""
    stage = OutsourcedStage(job, settings)
    return {
        "training": partial(_training, stage),
        "timing": partial(_timing, stage),
        "attack": partial(attack, stage),
    }


def _training(stage: OutsourcedStage, folder: Path) -> dict[str, Any]:
    """Learn under the protocol, predict the test set under it, and hold both against the clear."""
    training, test, wire = stage.task.training, stage.features["test"], Wire()
    trains = stage.defense.trains
    plan = stage.plan(len(stage.features["train"]) if trains else 0)
    gathering = stage.gathering(plan, stage.initial() if trains else stage.plain(plan), wire, "training")
    reference = stage.plain(Plan(stage.layers, plan.samples, plan.batch_size, plan.learning_rate))
    if trains:
        for number, rows in enumerate(stage.batches()):
            train(gathering, number, rows)
        weights = reveal(gathering)
    else:
        weights = stage.plain(plan)
    size = max(stage.task.inference_batch, _TEST_BATCH)
    outputs = [predict(gathering, TESTING, number, batch) for number, batch in enumerate(test.split(size))]
    for number in range(_PRICED_BATCHES):
        predict(gathering, INFERENCE, number, test[stage.cycled(stage.task.inference_batch)])
    save_file({str(number): weight.contiguous() for number, weight in enumerate(weights)}, folder / WEIGHTS)
    predicted, wanted = torch.cat(outputs), stage.wanted["test"]
    batch = min(training.batch_size, max(plan.samples, 1))
    priced = partial(stage_cost, wire, gathering.names, stage.settings.links)
    spent = sum(bytes_of(phases_of(wire, topic)) for topic in (SETUP, TRAINING))
    return {
        "learned": {
            "accuracy": stack.accuracy(predicted, wanted),
            "plain_accuracy": stack.accuracy(stack.forward(stage.layers, reference, test), wanted),
            "steps": training.steps if trains else 0,
            "diverged": not all(bool(tensor.isfinite().all()) for tensor in (predicted, *weights)),
            **(_apart(weights, reference) if trains else {}),
        },
        "cost": {
            "setup": priced(SETUP, max(plan.samples, 1)),
            "training": priced(TRAINING, batch) if trains else None,
            "inference": priced(INFERENCE, stage.task.inference_batch),
            "bytes_total": spent,
        },
        "dataset_fingerprint": stage.dataset.fingerprint,
    }


def _apart(weights: Weights, reference: Weights) -> dict[str, float]:
    """How far the protocol's weights are from the plain ones; nothing where they are infinite."""
    difference = torch.cat([(one - other).flatten() for one, other in zip(weights, reference, strict=True)])
    if not bool(difference.isfinite().all()):
        return {}
    rms = float(difference.square().mean().sqrt())
    return {"weight_difference": float(difference.abs().max()), "weight_rms_difference": rms}


def phases_of(wire: Wire, topic: str, *, offline: bool | None = None) -> list[Phase]:
    """The phases of a stage: online, offline, or both."""
    names = {None: (topic, topic + OFFLINE), False: (topic,), True: (topic + OFFLINE,)}[offline]
    return [phase for phase in wire.phases if phase.topic in names]


def bytes_of(phases: Sequence[Phase]) -> int:
    """Sent by all parties."""
    return sum(traffic.sent for phase in phases for traffic in phase.traffic.values())


def stage_cost(wire: Wire, names: Sequence[str], links: Sequence[Link], topic: str, samples: int) -> dict[str, Any]:
    """Bytes, trips and modelled seconds of one batch at a stage, from what the wire metered.

    Args:
        wire: with the stage's phases.
        names: the parties.
        links: that seconds are modelled for.
        topic: the stage.
        samples: in a batch.
    """
    online, offline = phases_of(wire, topic, offline=False), phases_of(wire, topic, offline=True)
    batches = len({phase.round for phase in online}) or 1
    parties = {}
    for name in names:
        sent = [sum(p.traffic[name].sent for p in phases if name in p.traffic) for phases in (online, offline)]
        got = [sum(p.traffic[name].received for p in phases if name in p.traffic) for phases in (online, offline)]
        labels = ("sent", "offline_sent", "received", "offline_received")
        parties[name] = {label: count / batches for label, count in zip(labels, (*sent, *got), strict=True)}
    return {
        "batches": batches,
        "samples": samples,
        "rounds": len(online) // batches,
        "parties": parties,
        "network": {link.name: sum(phase.seconds(link) for phase in online) / batches for link in links},
    }


def _timing(stage: OutsourcedStage, folder: Path) -> dict[str, Any]:
    """Median seconds of computing, of one batch at each stage."""
    del folder
    trains = stage.defense.trains
    plan = stage.plan(len(stage.features["train"]) if trains else 0)
    gathering = stage.gathering(plan, stage.initial(), Wire(), "timing")
    found = {SETUP: _seconds(gathering, SETUP, [0])}
    if trains:
        steps = [rows for rows, _ in zip(stage.batches(), range(_TIMED), strict=False)]
        for number, rows in enumerate(steps):
            train(gathering, number, rows)
        found[TRAINING] = _seconds(gathering, TRAINING, range(min(1, len(steps) - 1), len(steps)))
    clock = hardware.clock("cpu")
    batch, played = stage.features["test"][stage.cycled(stage.task.inference_batch)], 0
    for played in range(1, _TIMED + 1):
        began = clock()
        predict(gathering, INFERENCE, played, batch)
        if clock() - began > _LONG:
            break
    found[INFERENCE] = _seconds(gathering, INFERENCE, range(min(2, played), played + 1))
    return found


def _seconds(gathering: Gathering, topic: str, rounds: Sequence[int]) -> dict[str, Any]:
    spent = [gathering.spent[topic, number] for number in rounds]
    return {
        "seconds": statistics.median(one.online for one in spent),
        "offline_seconds": statistics.median(one.ahead for one in spent),
        "party_seconds": {name: statistics.median(one.parties[name] for one in spent) for name in spent[0].parties},
    }
