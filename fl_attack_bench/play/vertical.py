"""Plays the jobs of a vertical task: the honest training, its timing, and the same training under attack."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_attack_bench import hardware, inference
from fl_attack_bench.aggregation import Stopwatch
from fl_attack_bench.api import (
    ACTIVE,
    ActiveView,
    BackdoorAttack,
    FeatureAttack,
    Foothold,
    LabelAttack,
    PassiveView,
    VerticalDefense,
)
from fl_attack_bench.chain import VerticalChain
from fl_attack_bench.data import features, trigger
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import PICTURES, Job, Kind, Settings
from fl_attack_bench.link import Link
from fl_attack_bench.play.stage import Stage, pixels
from fl_attack_bench.scenarios import vertical, vertical_observation
from fl_attack_bench.scenarios.vertical import Aligned, Collaboration, Trained
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks import VerticalTask
from fl_attack_bench.wire import Wire

# Epochs that a timing plays: one to warm up, the rest measured.
_TIMED_EPOCHS = 4
_NOTHING_SEEN = "the training ran off in its first epoch: no epoch was seen to its end"


def players(job: Job, settings: Settings) -> Mapping[Kind, Callable[[Path], dict[str, Any]]]:
    """What does each kind of job of a vertical task, given its result folder."""
    stage = _Stage(job, settings)
    return {
        "training": partial(_training, stage),
        "timing": partial(_timing, stage),
        "corrupted": partial(_corrupted, stage),
    }


class _Stage(Stage):
    """A job of a vertical task: who holds what, and which samples are poisoned."""

    def __init__(self, job: Job, settings: Settings) -> None:
        super().__init__(job, settings)
        if not isinstance(job.cell.task, VerticalTask):
            raise TypeError(f"task {job.cell.task.name!r} is no vertical one")
        self.task = job.cell.task
        if self.dataset.y_train.is_floating_point():
            raise UserError(f"task {self.task.name!r}: the targets of {self.dataset.name} are numbers, no classes")
        try:
            self.places, self.poisoned = features.deal(self.task, self.dataset, self.seed)
        except UserError as error:
            raise UserError(f"task {self.task.name!r}: {error}") from None
        images = self.dataset.x_train if self.poisoned is None else self.poisoned.images
        self.train = self._aligned(images, self.dataset.y_train)
        self.test = self._aligned(self.dataset.x_test, self.dataset.y_test)
        self.triggered = None
        if self.poisoned is not None:
            self.triggered = self._aligned(self.poisoned.triggered, self.poisoned.triggered_labels)
        self.images = images

    def _aligned(self, images: Tensor, labels: Tensor) -> Aligned:
        return Aligned.split(images.to(self.device), labels.to(self.device), self.places)

    def defense(self) -> VerticalDefense:
        """The cell's defense.

        Raises:
            SkipCell: it is for another scenario.
        """
        made = self.made("defense")
        links = made if isinstance(made, list) else [made]
        for link in links:
            if not isinstance(link, VerticalDefense):
                raise SkipCell(f"{link.card.title} is not for vertical tasks")
        found: VerticalDefense = VerticalChain(tuple(links)) if isinstance(made, list) else made
        return found

    def collaboration(self, streams: Streams, wire: Wire) -> Collaboration:
        """The honest parties before their first step."""
        task = self.task
        return Collaboration(
            self.train, self.dataset.classes, task.bottom, task.training, self.defense(), streams, wire
        )

    def trained(self, collaboration: Collaboration) -> Trained:
        """Play all epochs."""
        target = self.task.backdoor.target if self.task.backdoor else 0
        return vertical.train(collaboration, self.test, self.triggered, target)


def _training(stage: _Stage, folder: Path) -> dict[str, Any]:
    """The training in which everybody follows the protocol."""
    del folder
    collaboration = stage.collaboration(stage.seed.child("training"), Wire())
    trained = stage.trained(collaboration)
    return {
        "honest": _learned(stage, trained),
        "cost": traffic(trained, 2 * len(collaboration.batches(0)), list(stage.places), stage.settings.links),
        "dataset_fingerprint": stage.dataset.fingerprint,
    }


def _learned(stage: _Stage, trained: Trained) -> dict[str, Any]:
    if not trained.curve:
        raise UserError(
            "the predictions before the first epoch are infinite or NaN: what the attack's party sends, "
            "or the defense's top model"
        )
    triggered = None
    if stage.triggered is not None:
        triggered = {
            "samples": len(stage.triggered.labels),
            "success": trained.successes[-1][1],
            "curve": trained.successes,
            "scores": trained.scores,
        }
    return {
        "accuracy": trained.curve[-1][1],
        "curve": trained.curve,
        "losses": trained.losses,
        "diverged": trained.diverged,
        "triggered": triggered,
    }


def traffic(trained: Trained, exchanges: int, parties: list[str], links: list[Link]) -> dict[str, Any] | None:
    """Bytes and modelled seconds from what the wires metered; None where no epoch was played to its end.

    Args:
        trained: with the wires.
        exchanges: one-way trips of a whole epoch; one that ended early would make an epoch look cheaper.
        parties: the passive ones.
        links: that seconds are modelled for.
    """
    counts = Counter(phase.round for phase in trained.wire.phases)
    whole = {epoch for epoch, count in counts.items() if count == exchanges}
    if not whole:
        return None
    phases = [phase for phase in trained.wire.phases if phase.round in whole]
    played, names = len(whole), [*parties, ACTIVE]
    sent = {name: sum(phase.traffic[name].sent for phase in phases if name in phase.traffic) for name in names}
    received = {name: sum(phase.traffic[name].received for phase in phases if name in phase.traffic) for name in names}
    inferred = sum(traffic.sent for phase in trained.inference.phases for traffic in phase.traffic.values())
    return {
        "epochs": played,
        "exchanges": exchanges,
        "parties": {name: {"sent": sent[name] / played, "received": received[name] / played} for name in names},
        "bytes_total": sum(sent.values()),
        "inference_bytes": inferred / trained.predicted,
        "network": {link.name: sum(phase.seconds(link) for phase in phases) / played for link in links},
    }


def _timing(stage: _Stage, folder: Path) -> dict[str, Any]:
    """Median seconds of one epoch: of a passive party, of the active one, and of the defense's part in it."""
    del folder
    collaboration = stage.collaboration(stage.seed.child("timing"), Wire())
    seconds: dict[str, list[float]] = {"passive_seconds": [], "active_seconds": [], "defense_seconds": []}
    for epoch in range(_TIMED_EPOCHS):
        watch = Stopwatch(hardware.clock(stage.settings.device))
        if not collaboration.epoch(epoch, watch):
            break
        if epoch:
            # They compute side by side: the slowest decides.
            seconds["passive_seconds"].append(max(watch.total[name] for name in stage.places))
            seconds["active_seconds"].append(watch.total[ACTIVE])
            seconds["defense_seconds"].append(watch.speaking[ACTIVE])
    return {name: statistics.median(values) for name, values in seconds.items() if values}


def _corrupted(stage: _Stage, folder: Path) -> dict[str, Any]:
    """The same training as the honest one, with the attack's party in it."""
    attack = stage.made("attack")
    if isinstance(attack, BackdoorAttack):
        found = _backdoored(stage, attack)
    elif isinstance(attack, LabelAttack):
        found = _inferred(stage, attack)
    elif isinstance(attack, FeatureAttack):
        found = _reconstructed(stage, attack, folder)
    else:
        raise SkipCell(f"{attack.card.title} is not for vertical tasks")
    return found | {"dataset_fingerprint": stage.dataset.fingerprint}


def _backdoored(stage: _Stage, attack: BackdoorAttack) -> dict[str, Any]:
    malicious, backdoor, poisoned = stage.task.malicious, stage.task.backdoor, stage.poisoned
    if malicious is None or backdoor is None or poisoned is None:
        raise SkipCell(f"task {stage.task.name!r} has no backdoor, and {attack.card.title} is after one")
    collaboration = stage.collaboration(stage.seed.child("training"), Wire())
    defense, held = stage.defense(), stage.places[malicious]
    known = features.known_to_attacker(stage.task, stage.dataset, poisoned, attack.known, stage.seed)
    foothold = Foothold(
        party=collaboration.honest[malicious],
        features=stage.train.features[malicious],
        poisoned=poisoned.poisoned.to(stage.device),
        marked=torch.searchsorted(held, trigger.marked(backdoor.trigger, stage.dataset.image_shape)).to(stage.device),
        value=backdoor.trigger.value,
        target=backdoor.target,
        known=known.to(stage.device),
        classes=stage.dataset.classes,
        width=stage.task.bottom.outputs,
        defense=stage.cell.defense.label,
        defense_parameters=defense.parameters,
        streams=stage.random("adversary"),
    )
    collaboration.parties[malicious] = attack.corrupt(foothold)
    return {"attacked": _learned(stage, stage.trained(collaboration))}


def _inferred(stage: _Stage, attack: LabelAttack) -> dict[str, Any]:
    """A passive party that follows the protocol and writes down what it sees."""
    malicious = stage.task.malicious
    if malicious is None:
        raise SkipCell(f"task {stage.task.name!r} has no malicious party")
    wire = Wire(watched={malicious})
    collaboration = stage.collaboration(stage.seed.child("training"), wire)
    curious = vertical_observation.Curious(collaboration.honest[malicious])
    collaboration.parties[malicious] = curious
    stage.trained(collaboration)
    labels, defense = stage.dataset.y_train, stage.defense()
    epochs = vertical_observation.epochs(curious, wire, len(labels), collaboration.width)
    if not epochs:
        raise SkipCell(_NOTHING_SEEN)
    rng = stage.seed.generator("known", "labels")
    known = trigger.labelled(labels, stage.dataset.classes, attack.known, rng)
    view = PassiveView(
        party=malicious,
        features=stage.train.features[malicious],
        epochs=epochs,
        bottom=collaboration.honest[malicious].public(),
        known=known.to(stage.device),
        known_labels=labels[known].to(stage.device),
        classes=stage.dataset.classes,
        learning_rate=stage.task.training.learning_rate,
        batch_size=stage.task.training.batch_size,
        defense=stage.cell.defense.label,
        defense_parameters=defense.parameters,
    )
    clock = hardware.clock(stage.settings.device)
    began = clock()
    found = attack.infer(view, stage.random("attack"))
    seconds = clock() - began
    return {"labels": inference.score_labels(attack, found, labels, known) | {"seconds": seconds}}


def _reconstructed(stage: _Stage, attack: FeatureAttack, folder: Path) -> dict[str, Any]:
    """An active party that follows the protocol and keeps the embeddings."""
    if stage.task.victims + attack.known > len(stage.images):
        raise SkipCell(f"{stage.task.victims} victims and {attack.known} known samples are more than there are")
    wire = Wire(watched={ACTIVE})
    collaboration = stage.collaboration(stage.seed.child("training"), wire)
    stage.trained(collaboration)
    flat = stage.images.flatten(1)
    seen = vertical_observation.embeddings(collaboration, wire, len(flat))
    if not all(seen.values()):
        raise SkipCell(_NOTHING_SEEN)
    victims = torch.arange(stage.task.victims)
    # Known samples are none of the victims.
    order = torch.randperm(len(flat) - len(victims), generator=stage.seed.generator("known", "features"))
    known = order[: attack.known] + len(victims)
    view = ActiveView(
        embeddings=seen,
        labels=stage.train.labels,
        victims=victims.to(stage.device),
        known=known.to(stage.device),
        known_features=flat[known].to(stage.device),
        places={name: held.to(stage.device) for name, held in stage.places.items()},
    )
    clock = hardware.clock(stage.settings.device)
    began = clock()
    found = attack.reconstruct(view, stage.random("attack"))
    seconds = clock() - began
    scored = inference.score_features(attack, found, flat[victims], flat[known])
    if min(stage.dataset.image_shape[1:]) > 1:
        shape = (len(victims), *stage.dataset.image_shape)
        pictures = {"originals": pixels(flat[victims].view(shape)), "trained": pixels(found.cpu().view(shape))}
        np.savez_compressed(folder / PICTURES, allow_pickle=False, **pictures)
    return {"features": {"victims": scored, "known": attack.known, "seconds": seconds}}
