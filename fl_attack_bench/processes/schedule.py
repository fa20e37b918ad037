"""What all parties play, in order, and what each of them is told before it begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import LABELS, OWNER, Holding, Plan
from fl_attack_bench.errors import UserError
from fl_attack_bench.models.stack import PlannedLayer
from fl_attack_bench.processes.pipe import Note
from fl_attack_bench.schema import Document
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks.outsourced import Layer

SETUP, TRAINING, WEIGHTS, INFERENCE = "setup", "training", "weights", "inference"
TOPICS = (SETUP, TRAINING, WEIGHTS, INFERENCE)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Setup, training steps, weights where there was one, and predictions, in this order.

    Args:
        batches: of each training step the ids of its samples, shape ``(B,)``, int64; all parties know them.
        predicted: of each prediction how many samples.
    """

    batches: tuple[Tensor, ...]
    predicted: tuple[int, ...]

    @property
    def stages(self) -> list[tuple[str, int]]:
        """Topic and round of each stage."""
        training = [(TRAINING, number) for number in range(len(self.batches))]
        inference = [(INFERENCE, number) for number in range(len(self.predicted))]
        return [(SETUP, 0), *training, *([(WEIGHTS, 0)] if training else []), *inference]

    def of(self, topic: str) -> tuple[int, int]:
        """The first stage of a topic, and the first one behind it."""
        places = [place for place, (name, _) in enumerate(self.stages) if name == topic]
        return (places[0], places[-1] + 1) if places else (0, 0)

    @property
    def named(self) -> list[str]:
        """The stages in words: ``training 3``."""
        return [f"{topic} {round}" if topic in (TRAINING, INFERENCE) else topic for topic, round in self.stages]


class PlannedLayerDocument(Document):
    """A layer with its sizes, as plain data."""

    layer: Layer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Brief(Document):
    """What one party is told, beside the tensors that it holds.

    Args:
        party: who it is.
        defense: the protocol.
        layers: of the network.
        samples: of the training set.
        batch_size: of the training.
        learning_rate: of the training.
        steps: sizes of the batches.
        predicted: samples of each prediction.
        root: seed of a reproducible run; None for unpredictable secrets.
        seconds: how long it waits for another party.
        threads: for torch's operations.
        speaks: the token that it shows to each other party.
        hears: the token that each other party shows to it.
    """

    party: str
    defense: MethodSpec
    layers: tuple[PlannedLayerDocument, ...]
    samples: int
    batch_size: int
    learning_rate: float
    steps: tuple[int, ...]
    predicted: tuple[int, ...]
    root: int | None
    seconds: float
    threads: int
    speaks: dict[str, str]
    hears: dict[str, str]

    @property
    def plan(self) -> Plan:
        """What all parties know of the task."""
        layers = tuple(PlannedLayer(each.layer, each.inputs, each.outputs) for each in self.layers)
        return Plan(layers, self.samples, self.batch_size, self.learning_rate)


def layers_of(plan: Plan) -> list[dict[str, Any]]:
    """A network's layers as plain data."""
    return [
        {"layer": each.layer.model_dump(), "inputs": list(each.inputs), "outputs": list(each.outputs)}
        for each in plan.layers
    ]


def told(holding: Holding, schedule: Schedule, features: Sequence[Tensor]) -> dict[str, Tensor]:
    """The tensors that a party gets: its holding, the batches' ids and, the owner alone, the samples to predict."""
    found = {"rows": torch.cat((*schedule.batches, torch.zeros(0, dtype=torch.int64)))}
    found |= {f"weights/{place}": values for place, values in enumerate(holding.weights or ())}
    found |= {"features": holding.features} if holding.features is not None else {}
    found |= {"targets": holding.targets} if holding.targets is not None else {}
    return found | ({"predicted": torch.cat(list(features))} if features else {})


def held(note: Note, brief: Brief) -> tuple[Holding, Schedule, tuple[Tensor, ...]]:
    """What :func:`told` put into a note: the holding, the schedule and the samples to predict (the owner's)."""
    tensors = note.tensors
    weights = [tensors[f"weights/{place}"] for place in range(2 * len(brief.layers)) if f"weights/{place}" in tensors]
    holding = Holding(tensors.get("features"), tensors.get("targets"), tuple(weights) or None)
    schedule = Schedule(tensors["rows"].split(list(brief.steps)) if brief.steps else (), brief.predicted)
    features = tensors["predicted"].split(list(brief.predicted)) if "predicted" in tensors else ()
    return holding, schedule, tuple(features)


def check(
    plan: Plan, names: Sequence[str], holdings: Mapping[str, Holding], batches: Sequence[Tensor], new: Sequence[Tensor]
) -> None:
    """Refuse what does not fit before any process starts.

    Raises:
        UserError: names what does not match, with both shapes.
    """
    if OWNER not in names or len(names) < 2:
        raise UserError(f"a protocol has an {OWNER!r} and somebody else; this one has {', '.join(names) or 'nobody'}")
    strangers = sorted(set(holdings) - set(names))
    if strangers:
        raise UserError(f"{strangers[0]!r} holds something and is no party; there are {', '.join(names)}")
    owner, labels = holdings.get(OWNER, Holding()), holdings.get(LABELS, Holding())
    _same("features", owner.features, (plan.samples, *plan.inputs))
    if batches and LABELS in names:
        _same("targets", labels.targets, (plan.samples, plan.outputs))
    shapes = [shape for layer in plan.layers for shape in (layer.matrix, layer.matrix[1:])]
    for name, holding in holdings.items():
        if holding.weights is None:
            continue
        if len(holding.weights) != len(shapes):
            raise UserError(f"{name} holds {len(holding.weights)} weights; the network has {len(shapes)}")
        for place, (values, shape) in enumerate(zip(holding.weights, shapes, strict=True)):
            _same(f"weights {place}", values, shape)
    for step, rows in enumerate(batches):
        if rows.ndim != 1 or not len(rows) or int(rows.min()) < 0 or int(rows.max()) >= plan.samples:
            raise UserError(f"training {step}: samples are numbers from 0 to {plan.samples - 1}, at least one of them")
    for number, features in enumerate(new):
        _same(f"inference {number}", features, (max(1, len(features)), *plan.inputs))


def _same(what: str, values: Tensor | None, shape: Sequence[int]) -> None:
    if values is None or tuple(values.shape) != tuple(shape):
        got = "nothing" if values is None else f"shape {tuple(values.shape)}"
        raise UserError(f"{what}: {got}, and shape {tuple(shape)} is wanted")
