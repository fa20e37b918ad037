"""Plays an attack on an outsourced task: lets the adversary watch, hands it its view, scores what it makes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fl_attack_bench import hardware, inference
from fl_attack_bench.api import OutsourcedAttack, OutsourcedView, Plan
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.jobs import PICTURES
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.play.outsourced_stage import (
    INFERENCE,
    TRAINING,
    WEIGHTS,
    OutsourcedStage,
    predict,
    reveal,
    train,
)
from fl_attack_bench.play.stage import pixels
from fl_attack_bench.wire import Wire


def attack(stage: OutsourcedStage, folder: Path) -> dict[str, Any]:
    """Let the adversary watch, hand it what it saw, score what it makes of it."""
    chosen = stage.made("attack")
    if not isinstance(chosen, OutsourcedAttack):
        raise SkipCell(f"{chosen.card.title} is not for outsourced tasks")
    names = stage.defense.parties(stage.plan(0))
    if chosen.adversary not in names:
        raise SkipCell(f"no such view: under {stage.cell.defense.label} there is no party {chosen.adversary!r}")
    view, truth, public = _watched(stage, chosen)
    clock = hardware.clock("cpu")
    began = clock()
    found = chosen.reconstruct(view, stage.random("attack"))
    seconds = clock() - began
    flat = found.flatten(1) if isinstance(found, Tensor) and found.shape == truth.shape else found
    scored = inference.score_features(chosen, flat, truth.flatten(1), public.flatten(1))
    if min(stage.dataset.image_shape[1:]) > 1:
        shape = (len(truth), *stage.dataset.image_shape)
        pictures = {"originals": pixels(truth.view(shape)), chosen.moment: pixels(found.cpu().reshape(shape))}
        np.savez_compressed(folder / PICTURES, allow_pickle=False, **pictures)
    inputs = {
        "party": chosen.adversary,
        "moment": chosen.moment,
        "victims": scored,
        "known": chosen.known,
        "auxiliary": chosen.auxiliary,
        "knows_model": chosen.knows_model,
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
