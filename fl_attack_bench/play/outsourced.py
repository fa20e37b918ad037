"""Plays the jobs of an outsourced task: learning and predicting under the protocol, its timing, attacks on a view."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fl_attack_bench import hardware, inference
from fl_attack_bench.api import LABELS, OWNER, Holding, OutsourcedAttack, OutsourcedDefense, OutsourcedView, Plan
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import PICTURES, Job, Kind, Settings
from fl_attack_bench.link import Link
from fl_attack_bench.models import stack
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.play.stage import Stage, pixels
from fl_attack_bench.scenarios.outsourced import OFFLINE, Gathering
from fl_attack_bench.tasks import OutsourcedTask
from fl_attack_bench.wire import Phase, Wire

WEIGHTS = "weights.safetensors"
SETUP, TRAINING, INFERENCE, TESTING = "setup", "training", "inference", "testing"
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
        "attack": partial(_attack, stage),
    }


class OutsourcedStage(Stage):
    """A job of an outsourced task: its network and who holds what."""

    def __init__(self, job: Job, settings: Settings) -> None:
        super().__init__(job, settings)
        if not isinstance(job.cell.task, OutsourcedTask):
            raise TypeError(f"task {job.cell.task.name!r} is no outsourced one")
        self.task = job.cell.task
        self.defense = self._defense()
        if self.dataset.y_train.is_floating_point():
            raise UserError(f"task {self.task.name!r}: the targets of {self.dataset.name} are numbers, no classes")
        try:
            self.layers = stack.fitted(self.task, self.dataset.image_shape, self.dataset.classes)
        except UserError as error:
            raise UserError(f"task {self.task.name!r}: {error}") from None
        self.wanted = {
            name: stack.targets(labels, self.dataset.classes, self.task.target)
            for name, labels in (("train", self.dataset.y_train), ("test", self.dataset.y_test))
        }
        self.features = {"train": self._shaped(self.dataset.x_train), "test": self._shaped(self.dataset.x_test)}

    def _shaped(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), *self.layers[0].inputs)

    def _defense(self) -> OutsourcedDefense:
        made = self.made("defense")
        if isinstance(made, list):
            raise SkipCell("protocols of outsourced tasks cannot be chained")
        if not isinstance(made, OutsourcedDefense):
            raise SkipCell(f"{made.card.title} is not for outsourced tasks")
        return made

    def plan(self, samples: int) -> Plan:
        """What all parties know, of the network that the protocol computes."""
        layers = stack.plan(self.defense.layers(self.task.layers), self.dataset.image_shape)
        training = self.task.training
        return Plan(layers, samples, training.batch_size, training.learning_rate)

    def initial(self) -> Weights:
        """The seed's first weights; the same for every protocol."""
        return stack.initial(self.layers, self.seed.generator("weights"))

    def batches(self) -> Iterator[Tensor]:
        """The samples of each training step, shuffled anew whenever too few are left for a batch."""
        training, rng = self.task.training, self.seed.generator("batches")
        size = min(training.batch_size, len(self.features["train"]))
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(training.steps):
            if len(order) < size:
                order = torch.randperm(len(self.features["train"]), generator=rng)
            yield order[:size]
            order = order[size:]

    def plain(self, plan: Plan) -> Weights:
        """The network as it is learned in the clear."""
        weights = self.initial()
        for rows in self.batches():
            features, wanted = self.features["train"][rows], self.wanted["train"][rows]
            weights = stack.descend(plan.layers, weights, features, wanted, plan.learning_rate)
        return weights

    def gathering(self, plan: Plan, weights: Weights, wire: Wire, *axes: str) -> Gathering:
        """The parties, after their setup; with a plan of no samples for predictions only."""
        count = plan.samples
        holdings = {OWNER: Holding(features=self.features["train"][:count])}
        holdings[LABELS] = Holding(targets=self.wanted["train"][:count])
        holder = self.defense.model_holder
        before = holdings.get(holder, Holding())
        holdings[holder] = Holding(before.features, before.targets, weights)
        streams = self.seed.child("secrets", *axes) if self.defense.from_seed else None
        clock = hardware.clock("cpu")  # the protocols' numbers live in main memory
        gathering = Gathering(self.defense.parties(plan), holdings, wire, clock, streams)
        gathering.run(SETUP, 0, {name: party.setup() for name, party in gathering.parties.items()})
        return gathering

    def cycled(self, count: int) -> Tensor:
        """Ids of so many test samples, from the beginning again where there are fewer."""
        return torch.arange(count) % len(self.features["test"])


def train(gathering: Gathering, number: int, rows: Tensor) -> None:
    """One training step of all parties."""
    gathering.run(TRAINING, number, {name: party.step(rows) for name, party in gathering.parties.items()})


def reveal(gathering: Gathering) -> Weights:
    """The network as the owner reconstructs it."""
    found = gathering.run("weights", 0, {name: party.weights() for name, party in gathering.parties.items()})
    weights: Weights = found[OWNER]
    return weights


def predict(gathering: Gathering, topic: str, number: int, features: Tensor) -> Tensor:
    """What the owner is told of new samples."""
    calls = {
        name: party.predict(len(features), features if name == OWNER else None)
        for name, party in gathering.parties.items()
    }
    outputs: Tensor = gathering.run(topic, number, calls)[OWNER]
    return outputs


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


def _attack(stage: OutsourcedStage, folder: Path) -> dict[str, Any]:
    """Let the adversary watch, hand it what it saw, score what it makes of it."""
    attack = stage.made("attack")
    if not isinstance(attack, OutsourcedAttack):
        raise SkipCell(f"{attack.card.title} is not for outsourced tasks")
    names = stage.defense.parties(stage.plan(0))
    if attack.adversary not in names:
        raise SkipCell(f"no such view: {stage.defense.card.title} has no party {attack.adversary!r}")
    view, truth, public = _watched(stage, attack)
    clock = hardware.clock("cpu")
    began = clock()
    found = attack.reconstruct(view, stage.random("attack"))
    seconds = clock() - began
    flat = found.flatten(1) if isinstance(found, Tensor) and found.shape == truth.shape else found
    scored = inference.score_features(attack, flat, truth.flatten(1), public.flatten(1))
    if min(stage.dataset.image_shape[1:]) > 1:
        shape = (len(truth), *stage.dataset.image_shape)
        pictures = {"originals": pixels(truth.view(shape)), attack.moment: pixels(found.cpu().reshape(shape))}
        np.savez_compressed(folder / PICTURES, allow_pickle=False, **pictures)
    inputs = {
        "party": attack.adversary,
        "moment": attack.moment,
        "victims": scored,
        "known": attack.known,
        "auxiliary": attack.auxiliary,
        "knows_model": attack.knows_model,
        "seconds": seconds,
    }
    return {"inputs": inputs, "dataset_fingerprint": stage.dataset.fingerprint}


def _watched(stage: OutsourcedStage, attack: OutsourcedAttack) -> tuple[OutsourcedView, Tensor, Tensor]:
    """The adversary's view, the victims' features, and all public samples."""
    seen, other = ("train", "test") if attack.moment == TRAINING else ("test", "train")
    features, public, wire = stage.features[seen], stage.features[other], Wire(watched={attack.adversary})
    victims = torch.arange(stage.task.victims or 0)
    if len(victims) + attack.known + attack.observed > len(features):
        raise SkipCell(f"{len(victims)} victims, {attack.known} known and {attack.observed} other samples are too many")
    if attack.auxiliary > len(public):
        raise SkipCell(f"{attack.auxiliary} public samples are asked for, and there are {len(public)}")
    others = torch.randperm(len(features) - len(victims), generator=stage.seed.generator("known")) + len(victims)
    known = others[: attack.known]
    drawn = torch.randperm(len(public), generator=stage.seed.generator("public"))[: attack.auxiliary]
    if attack.moment == TRAINING:
        plan, batches, weights = _training_watched(stage, wire)
    else:
        mixed = torch.cat([victims, others[: attack.known + attack.observed]])
        plan, batches, weights = _inference_watched(stage, wire, mixed, others[attack.known + attack.observed :])
    view = OutsourcedView(
        party=attack.adversary,
        messages=wire.view(),
        plan=plan,
        batches=batches,
        victims=victims,
        known=known,
        known_features=features[known],
        auxiliary=public[drawn],
        auxiliary_labels=(stage.dataset.y_test if other == "test" else stage.dataset.y_train)[drawn],
        weights=weights if attack.knows_model else None,
        defense=stage.cell.defense.label,
        defense_parameters=stage.defense.parameters,
    )
    return view, features[victims], public


Watched = tuple[Plan, tuple[Tensor, ...], Weights]


def _training_watched(stage: OutsourcedStage, wire: Wire) -> Watched:
    if not stage.defense.trains:
        raise SkipCell(f"no such view: {stage.defense.card.title} does not train")
    plan = stage.plan(len(stage.features["train"]))
    gathering = stage.gathering(plan, stage.initial(), wire, "watched")
    batches = tuple(stage.batches())
    for number, rows in enumerate(batches):
        train(gathering, number, rows)
    return plan, batches, reveal(gathering)


def _inference_watched(stage: OutsourcedStage, wire: Wire, mixed: Tensor, spare: Tensor) -> Watched:
    """Predict samples in a random order, in whole batches: the last one is filled up with others, cyclically."""
    trained = stage.job.model_copy(update={"kind": "training"}).folder(stage.settings.work) / WEIGHTS
    kept = load_file(trained)
    weights = tuple(kept[str(number)] for number in range(len(kept)))
    size = stage.task.inference_batch
    missing = -len(mixed) % size
    filling = torch.cat([spare, mixed])[torch.arange(missing) % (len(spare) + len(mixed))]
    order = torch.cat([mixed, filling])
    batches = order[torch.randperm(len(order), generator=stage.seed.generator("order"))].split(size)
    plan = stage.plan(0)
    gathering = stage.gathering(plan, weights, wire, "watched")
    for number, rows in enumerate(batches):
        predict(gathering, INFERENCE, number, stage.features["test"][rows])
    return plan, tuple(batches), weights
