"""Plays the jobs of a horizontal task: the federation, its centralised counterpart, its timing, attacks on it."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fl_attack_bench import hardware, metrics, models, reconstruction
from fl_attack_bench.aggregation import Stopwatch
from fl_attack_bench.api import ActiveAttack, Certificate, HorizontalDefense, LocalStep, PassiveAttack
from fl_attack_bench.chain import Chain
from fl_attack_bench.data import partition
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.jobs import PICTURES, Job, Kind, Settings
from fl_attack_bench.link import Link
from fl_attack_bench.play.stage import Stage, pixels
from fl_attack_bench.reconstruction import Truth
from fl_attack_bench.record import MOST_NOTES
from fl_attack_bench.scenarios import horizontal, observation
from fl_attack_bench.scenarios.horizontal import Adversary, Client, LocalWork, Samples, Server, Snapshot, Trained
from fl_attack_bench.tasks import HorizontalTask
from fl_attack_bench.tasks.horizontal import Training, Victims
from fl_attack_bench.wire import SERVER, Wire, client

TENSORS = "federation.safetensors"
_NOTE = 500  # characters of one failure or incident
# Rounds that a timing plays: one to warm up, the rest measured.
_TIMED_ROUNDS = 4


def players(job: Job, settings: Settings) -> Mapping[Kind, Callable[[Path], dict[str, Any]]]:
    """What does each kind of job of a horizontal task, given its result folder."""
    stage = _Stage(job, settings)
    found = {
        "centralised": _centralised,
        "training": _training,
        "timing": _timing,
        "attack": _attack,
        "corrupted": _corrupted,
    }
    return {kind: partial(does, stage) for kind, does in found.items()}  # type: ignore[misc]


class _Stage(Stage):
    """A job of a horizontal task."""

    def __init__(self, job: Job, settings: Settings) -> None:
        super().__init__(job, settings)
        if not isinstance(job.cell.task, HorizontalTask):
            raise TypeError(f"task {job.cell.task.name!r} is no horizontal one")
        self.task = job.cell.task
        models.fits(self.task.model, self.dataset.name, numbers=self.dataset.y_train.is_floating_point())

    def model(self) -> FlatModel:
        """The task's network with the seed's first weights."""
        weights = self.seed.generator("weights")
        network = models.build(self.task.model, self.dataset.image_shape, self.dataset.classes, weights)
        return FlatModel(network, self.device)

    def samples(self, split: str) -> Samples:
        """All samples of a split, on the device."""
        return Samples(*self.split(split))

    def devices(self) -> list[Samples]:
        """Each device's samples under the task's partition."""
        whole = self.samples("train")
        return [whole.pick(rows.to(self.device)) for rows in self.hands()]

    def hands(self) -> list[Tensor]:
        """The training samples that the task's partition deals to each device."""
        return partition.deal(self.training.partition, self.dataset.y_train, self.seed.generator("partition"))

    def defense(self) -> HorizontalDefense:
        """The cell's defense.

        Raises:
            SkipCell: it is for another scenario.
        """
        made = self.made("defense")
        for link in made if isinstance(made, list) else [made]:
            if not isinstance(link, HorizontalDefense):
                raise SkipCell(f"{link.card.title} is not for horizontal tasks")
        return Chain(tuple(made)) if isinstance(made, list) else cast(HorizontalDefense, made)

    def attack(self) -> PassiveAttack | ActiveAttack:
        """The cell's attack.

        Raises:
            SkipCell: it is for another scenario.
        """
        made = self.made("attack")
        if not isinstance(made, PassiveAttack | ActiveAttack):
            raise SkipCell(f"{made.card.title} is not for horizontal tasks")
        return made

    @property
    def training(self) -> Training:
        """The task's training."""
        if self.task.training is None:
            raise UserError(f"task {self.task.name!r} has no training")
        return self.task.training

    @property
    def asked(self) -> Victims:
        """The task's victims, as the suite names them."""
        if self.task.victims is None:
            raise UserError(f"task {self.task.name!r} has no victims")
        return self.task.victims

    @property
    def victims_work(self) -> LocalWork:
        """A device's work is the training's; other victims take full steps unless the task says otherwise."""
        task, asked = self.task, self.asked
        if asked.devices is not None:
            return LocalWork.of(self.training)
        rate = task.learning_rate or (task.training.learning_rate if task.training else 1.0)
        return LocalWork(rate, asked.local_epochs, asked.local_batch)

    def victims(self) -> tuple[list[Samples], list[str], list[int]]:
        """Each victim's samples and party name, and the ids of all their samples."""
        asked = self.asked
        if asked.samples is None:
            hands = self.hands()[: asked.devices]
            if len(hands) != asked.devices or len({len(hand) for hand in hands}) > 1:
                raise UserError(
                    f"task {self.task.name!r}: {asked.devices} victims must be devices with as many samples each; "
                    f"take at most {self.training.partition.devices}, dealt iid or by shards"
                )
            names = [client(f"device-{number}") for number in range(len(hands))]
        else:
            hands = list(torch.tensor(asked.samples).split(asked.batch))
            names = [client(f"victim-{int(hand[0])}") for hand in hands]
        split = "train" if asked.samples is None else asked.split
        whole, ids = self.samples(split), torch.cat(hands).tolist()
        if max(ids) >= len(whole):
            raise UserError(
                f"task {self.task.name!r}: victim {max(ids)} does not exist; "
                f"{self.dataset.name} has {len(whole)} {split} samples"
            )
        return [whole.pick(hand.to(self.device)) for hand in hands], names, ids


def _centralised(stage: _Stage, folder: Path) -> dict[str, Any]:
    """Train the network on all devices' samples in one place, with as many steps as all clients took together."""
    del folder
    training, devices = stage.training, stage.devices()
    pool = Samples(torch.cat([d.images for d in devices]), torch.cat([d.labels for d in devices]))
    typical = len(pool) // len(devices)
    batch = typical * training.sampled if training.algorithm == "fedsgd" else training.batch_size
    local_steps = (
        1 if training.algorithm == "fedsgd" else training.local_epochs * -(-typical // batch) * training.sampled
    )
    model = stage.model()
    model.module.train()
    order = stage.seed.generator("centralised")
    queue: list[Tensor] = []
    for _ in range(training.rounds * local_steps):
        queue = queue or list(torch.randperm(len(pool), generator=order).split(batch))
        rows = queue.pop()
        model.weights.sub_(model.gradient(pool.images[rows], pool.labels[rows]), alpha=training.learning_rate)
    test = stage.samples("test")
    return {"accuracy": model.accuracy(test.images, test.labels)}


def _training(stage: _Stage, folder: Path) -> dict[str, Any]:
    """Train the federation under the defense."""
    training, defense = stage.training, stage.defense()
    devices, test = stage.devices(), stage.samples("test")
    keep = stage.task.victims.rounds if stage.task.victims else 1
    trained = horizontal.train(training, stage.model(), devices, test, defense, stage.seed.child("training"), keep)
    _save({"initial": trained.first, "trained": trained.last}, folder / TENSORS)
    guarantee = defense.guarantee(trained.exposure)
    return {
        "utility": _learned(trained, test),
        "cost": traffic(trained.wire, len(devices), training.sampled, stage.settings.links),
        "privacy": None if guarantee is None else asdict(guarantee),
        "dataset_fingerprint": stage.dataset.fingerprint,
    }


def _learned(trained: Trained, test: Samples) -> dict[str, Any]:
    return {
        "accuracy": trained.curve[-1][1],
        "targets": "numbers" if test.labels.is_floating_point() else "classes",
        "curve": trained.curve,
        "losses": [point for point in trained.losses if math.isfinite(point[1])],
        "diverged": trained.diverged,
        "failed_rounds": len(trained.failures),
        "failures": [text[:_NOTE] for text in trained.failures[:MOST_NOTES]],
        "incident_count": len(trained.incidents),
        "incidents": [text[:_NOTE] for text in trained.incidents[:MOST_NOTES]],
    }


def _corrupted(stage: _Stage, folder: Path) -> dict[str, Any]:
    """Train the same federation as :func:`_training`, with clients among it that the attack controls."""
    del folder
    training, defense, attack = stage.training, stage.defense(), stage.attack()
    if not isinstance(attack, ActiveAttack):
        raise SkipCell(f"{attack.card.title} is a passive attack, and this task's adversary are malicious clients")
    devices, test = stage.devices(), stage.samples("test")
    if attack.clients > len(devices):
        raise SkipCell(f"the attack controls {attack.clients} clients, and the federation has {len(devices)}")
    adversary = Adversary(attack, attack.clients, stage.random("adversary"))
    streams = stage.seed.child("training")
    trained = horizontal.train(training, stage.model(), devices, test, defense, streams, adversary=adversary)
    return {
        "integrity": _learned(trained, test) | {"clients": attack.clients},
        "dataset_fingerprint": stage.dataset.fingerprint,
    }


def traffic(wire: Wire, devices: int, sampled: int, links: Sequence[Link]) -> dict[str, Any]:
    """Bytes and modelled seconds from what the wire metered."""
    rounds = len({phase.round for phase in wire.phases})
    names = {client(number) for number in range(devices)}
    up = down = total = 0
    for phase in wire.phases:
        up += phase.traffic[SERVER].received
        down += phase.traffic[SERVER].sent
        total += sum(traffic.sent for traffic in phase.traffic.values())
    peers = sum(p.traffic[name].sent for p in wire.phases for name in names & p.traffic.keys()) - up
    per = rounds * sampled
    return {
        "rounds": rounds,
        "exchanges": len(wire.phases) // rounds,
        "bytes_up": up / per,
        "bytes_down": down / per,
        "bytes_peers": peers / per,
        "bytes_total": total,
        "network": {link.name: wire.seconds(link) / rounds for link in links},
    }


def _timing(stage: _Stage, folder: Path) -> dict[str, Any]:
    """Median seconds of a client, of the defense's part in it, and of the server, one round each."""
    del folder
    training = stage.training
    clock = hardware.clock(stage.settings.device)
    defense, model = stage.defense(), stage.model()
    server = Server(model, defense, training.learning_rate)
    devices = stage.devices()[: training.sampled]
    members = [Client(client(number), samples, defense) for number, samples in enumerate(devices)]
    work = LocalWork.of(training)
    seconds: dict[str, list[float]] = {"client_seconds": [], "defense_seconds": [], "server_seconds": []}
    for round in range(_TIMED_ROUNDS):
        watch = Stopwatch(clock)
        horizontal.play_round(
            Wire(), server, members, model, work, round, stage.seed.child("timing"), adversary=None, watch=watch
        )
        if round:
            # Means over clients, as for bytes: some have more to do than others, and the federation pays for it.
            seconds["client_seconds"].append(statistics.fmean(watch.total[member.name] for member in members))
            seconds["defense_seconds"].append(statistics.fmean(watch.speaking[member.name] for member in members))
            seconds["server_seconds"].append(watch.total[SERVER])
    return {name: statistics.median(values) for name, values in seconds.items()}


def _save(moments: Mapping[str, Sequence[Snapshot]], path: Path) -> None:
    kept = {}
    for moment, snapshots in moments.items():
        for name in ("weights", "statistics"):
            kept[f"{moment}.{name}"] = torch.stack([getattr(snapshot, name) for snapshot in snapshots])
    save_file(kept, path)


def _load(path: Path) -> dict[str, list[Snapshot]]:
    kept = load_file(path)
    return {
        moment: [Snapshot(*pair) for pair in zip(kept[f"{moment}.weights"], kept[f"{moment}.statistics"], strict=True)]
        for moment in ("initial", "trained")
    }


def _attack(stage: _Stage, folder: Path) -> dict[str, Any]:
    """Let the victims send at each moment, hand the view to the attack, score what it makes of it."""
    cell, attack, defense = stage.cell, stage.attack(), stage.defense()
    if not isinstance(attack, PassiveAttack):
        raise SkipCell(f"{attack.card.title} is an active attack, and this task's adversary is a curious server")
    if stage.dataset.y_test.is_floating_point():
        raise UserError(f"{stage.dataset.name}: its targets are numbers; attacks on privacy are for class labels")
    victims, names, ids = stage.victims()
    truth = Truth.of(victims, ids, stage.dataset.classes)
    if min(truth.images.shape[3:]) < metrics.SMALLEST:
        raise UserError(
            f"{stage.dataset.name}: structural similarity needs images of {metrics.SMALLEST} pixels or more"
        )
    model = stage.model()
    moments = {"initial": [Snapshot(model.weights.cpu().clone(), model.statistics.cpu().clone())]}
    if stage.task.training is not None:
        trained = stage.job.model_copy(update={"kind": "training"})
        moments = _load(trained.folder(stage.settings.work) / TENSORS)
    clock = hardware.clock(stage.settings.device)
    pictures = {"originals": pixels(truth.images.flatten(0, 1))}
    scored = []
    for moment, snapshots in moments.items():
        streams = stage.seed.child("victims", moment)
        view = observation.observe(
            model, snapshots, victims, names, defense, cell.defense.label, stage.victims_work, streams
        )
        began = clock()
        found = attack.reconstruct(view, stage.random("attack", moment))
        seconds = clock() - began
        found = reconstruction.check(found, truth)
        images = reconstruction.ordered(found, truth)
        if images is not None:
            pictures[moment] = pixels(images)
        # After several steps no single representation is what was let through.
        single = view.local.steps == 1
        certificate = _certificate(model, defense, truth, stage.seed.generator("certificate")) if single else None
        scored.append(reconstruction.score(moment, found, truth, model.module, certificate) | {"seconds": seconds})
    np.savez_compressed(folder / PICTURES, allow_pickle=False, **pictures)
    return {"reconstructed": scored, "dataset_fingerprint": stage.dataset.fingerprint}


def _certificate(
    model: FlatModel, defense: HorizontalDefense, truth: Truth, rng: torch.Generator
) -> Certificate | None:
    """What the defense states about the victims' samples, step by step, under the model of the last round."""
    model.module.eval()
    stated = []
    for images, labels in zip(truth.images, truth.labels, strict=True):
        certificate = defense.certify(LocalStep(model.module, images, labels, rng))
        if certificate is None:
            return None
        stated.append(certificate)
    return replace(
        stated[0],
        bound=torch.cat([one.bound for one in stated]),
        representation=torch.cat([one.representation for one in stated]),
        change=torch.cat([one.change for one in stated]),
    )
