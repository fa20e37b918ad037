"""Views of real victims, as an attack gets them, and attacks made small enough for a test."""

import copy
from dataclasses import fields, replace

import torch

from fl_attack_bench import models, registry
from fl_attack_bench.api import HorizontalDefense, HorizontalView, PassiveAttack, SeenRound
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.method import build
from fl_attack_bench.scenarios.horizontal import LocalWork, Samples, Snapshot
from fl_attack_bench.scenarios.observation import observe
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.wire import client


def view_of(
    victims: Samples,
    defense: str = "none",
    *,
    network: str = "lenet_dlg",
    batch: int = 1,
    rounds: int = 1,
    epochs: int = 1,
    ids: list[int] | None = None,
    options: dict[str, object] | None = None,
    **parameters: object,
) -> HorizontalView:
    """What a server sees of victims with ``batch`` consecutive samples each; the model stands still over rounds."""
    shape, first = victims.images.shape[1:], torch.Generator().manual_seed(1)
    module = models.build(Model.model_validate({"name": network, "options": options or {}}), tuple(shape), 10, first)
    flat = FlatModel(module, torch.device("cpu"))
    protect = build(registry.find("defense", defense).cls, parameters)
    assert isinstance(protect, HorizontalDefense)
    hands = [victims.pick(rows) for rows in torch.arange(len(victims)).split(batch)]
    names = [client(f"victim-{number}") for number in ids or range(len(hands))]
    snapshots = [Snapshot(flat.weights.clone(), flat.statistics.clone())] * rounds
    return observe(flat, snapshots, hands, names, protect, defense, LocalWork(0.1, epochs), Streams(3))


def attack(name: str, **parameters: object) -> PassiveAttack:
    """An attack with those of the parameters that it has."""
    cls = registry.find("attack", name).cls
    known = {field.name for field in fields(cls)}
    made = build(cls, {key: value for key, value in parameters.items() if key in known})
    assert isinstance(made, PassiveAttack)
    return made


def precise(view: HorizontalView) -> HorizontalView:
    """The same view in double precision, where rounding does not grow into another path within a few steps."""
    like = torch.zeros(0, dtype=torch.float64)
    return _each(
        view, lambda seen: replace(seen, model=copy.deepcopy(seen.model).double(), observed=seen.observed.to(like))
    )


def only(view: HorizontalView, row: int) -> HorizontalView:
    """The view of one victim."""
    rows = slice(row, row + 1)

    def pick(seen: SeenRound) -> SeenRound:
        kept = type(seen.observed)(seen.observed.values[rows], seen.observed.sent[rows], seen.observed.noise[rows])
        return replace(seen, messages=seen.messages[rows], observed=kept)

    return _each(view, pick)


def spoilt(view: HorizontalView, row: int, value: float) -> HorizontalView:
    """The view with one victim's update filled with a number that is none."""

    def fill(seen: SeenRound) -> SeenRound:
        values = seen.observed.values.clone()
        values[row] = value
        return replace(seen, observed=replace(seen.observed, values=values))

    return _each(view, fill)


def _each(view: HorizontalView, change) -> HorizontalView:
    return replace(view, rounds=tuple(change(seen) for seen in view.rounds))
