"""An outsourced task on digits, played in process, and what one party saw of it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from fl_attack_bench.api import LABELS, OWNER, Holding, OutsourcedDefense, OutsourcedView, Plan
from fl_attack_bench.data import datasets
from fl_attack_bench.models import stack
from fl_attack_bench.scenarios.outsourced import Gathering
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.wire import Wire

CONVOLUTION = (
    Layer(kind="convolution", outputs=4, kernel=3, stride=1, activation="relu"),
    Layer(kind="dense", outputs=10, activation="sigmoid"),
)
DENSE = (Layer(kind="dense", outputs=40, activation="sigmoid"), Layer(kind="dense", outputs=10, activation="sigmoid"))
VICTIMS = 8


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images of 14 by 14, float32, and their labels, in no order."""
    with TemporaryDirectory() as folder:
        data = datasets.load("digits", Path(folder))
    small = torch.nn.functional.avg_pool2d(data.x_train, 2)
    return small, data.y_train


def play(
    defense: OutsourcedDefense,
    party: str,
    batches: Sequence[Tensor],
    *,
    training: bool = False,
    layers: tuple[Layer, ...] = CONVOLUTION,
    features: Tensor | None = None,
) -> OutsourcedView:
    """What a party saw of the training or prediction of these batches.

    Victims are the first samples; nothing else is known, and 400 other samples are public.
    """
    images, labels = digits()
    planned = stack.plan(layers, tuple(images.shape[1:]))  # type: ignore[arg-type]
    shape = planned[0].inputs
    held = (images[:400] if features is None else features).reshape(-1, *shape)
    weights = stack.initial(planned, torch.Generator().manual_seed(0))
    plan = Plan(planned, 32, len(batches[0]), 0.1)
    wire = Wire([party])
    holdings = {
        OWNER: Holding(features=held[:32], weights=weights),
        LABELS: Holding(targets=stack.targets(labels[:32], 10, None)),
    }
    gathering = Gathering(defense.parties(plan), holdings, wire, time.perf_counter, Streams(3))
    parties = gathering.parties
    gathering.run("setup", 0, {name: each.setup() for name, each in parties.items()})
    for number, rows in enumerate(batches):
        if training:
            calls = {name: each.step(rows) for name, each in parties.items()}
            gathering.run("training", number, calls)
        else:
            given = {name: held[rows] if name == OWNER else None for name in parties}
            calls = {name: each.predict(len(rows), given[name]) for name, each in parties.items()}
            gathering.run("inference", number, calls)
    nobody = torch.zeros(0, dtype=torch.int64)
    return OutsourcedView(
        party,
        wire.view(),
        plan,
        tuple(batches),
        torch.arange(VICTIMS),
        nobody,
        held[nobody],
        images[400:800].reshape(-1, *shape),
        labels[400:800],
        None,
        type(defense).__name__,
        defense.parameters,
    )


def knowing(view: OutsourcedView, ids: Sequence[int], *, public: bool = True) -> OutsourcedView:
    """The same view of a party that knows the features of some samples; ``public``: and has public ones."""
    images = digits()[0].reshape(-1, *view.plan.inputs)
    known = torch.tensor(ids, dtype=torch.int64)
    auxiliary = view.auxiliary if public else view.auxiliary[:0]
    return replace(
        view,
        known=known,
        known_features=images[known],
        auxiliary=auxiliary,
        auxiliary_labels=view.auxiliary_labels[: len(auxiliary)],
    )


def truth(view: OutsourcedView) -> Tensor:
    """The victims' features."""
    return digits()[0][view.victims].double().reshape(-1, *view.plan.inputs)


def error(found: Tensor, view: OutsourcedView) -> float:
    """The mean squared error of a reconstruction, clipped."""
    wanted = truth(view)
    assert found.shape == wanted.shape
    assert found.isfinite().all()
    return float((found.clamp(0, 1) - wanted).square().mean())


def blind(view: OutsourcedView) -> float:
    """The error of the mean of the public and the known samples."""
    mean = torch.cat([view.auxiliary.double(), view.known_features.double()]).mean(0)
    return error(mean.expand(len(view.victims), *view.plan.inputs), view)
