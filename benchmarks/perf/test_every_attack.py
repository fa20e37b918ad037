"""One step of every attack that the registry finds, on real digits; a new attack is timed without being named here.

* A passive attack by the server reconstructs 32 victims of one digit each from their gradients on the first network
  that it can play of LeNet-5, LeNet of DLG, MLP. What it searches by takes one iteration and no restart; one iteration
  of L-BFGS is up to 20 evaluations.
* An attack by malicious clients: a whole round of seven clients with 32 digits each on LeNet-5, the attackers' work in
  it, under the first defense that it can play.
* A backdoor of a passive party: an epoch of the vertical training, in batches of 32.
* An attack on labels or features of a vertical training, or on an outsourced protocol: all of it, from the view of the
  party; its searches take one iteration. The view is made beforehand and not timed. These run on the CPU on every
  profile, as does an outsourced task.
"""

from collections.abc import Callable
from dataclasses import replace

import delegated
import pytest
import torch
import worlds
from measured import PROFILE, clock, repeated
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench.api import (
    ActiveAttack,
    BackdoorAttack,
    FeatureAttack,
    LabelAttack,
    OutsourcedAttack,
    PassiveAttack,
    VerticalDefense,
)
from fl_attack_bench.method import Method
from fl_attack_bench.seeds import Streams
from fl_attack_bench.testing import horizontal_attacks, vertical_attacks
from fl_attack_bench.testing.collaboration import MALICIOUS
from fl_attack_bench.wire import Wire

Step = tuple[str, Callable[[], object]]


def passive(cls: type[Method]) -> Step:
    """All victims at once."""
    attack = worlds.short(cls)

    def attempt(network: str) -> Callable[[], object]:
        view = worlds.observed(network, PROFILE.device)
        attack.reconstruct(view, Streams(0))
        return lambda: attack.reconstruct(view, Streams(0))

    place, step = worlds.first((network, lambda network=network: attempt(network)) for network in worlds.NETWORKS)
    return f"{worlds.VICTIMS} victims, {place}", step


def active(cls: type[Method]) -> Step:
    """A round of a federation with its clients in it."""

    def attempt(defense: object) -> Callable[[], object]:
        played = worlds.Federation(defense, PROFILE.device, clock, worlds.short(cls))
        played.play()
        return played.play

    defenses = horizontal_attacks._defenses()
    place, step = worlds.first((one.card.title, lambda one=one: attempt(one)) for one in defenses)
    return f"a round of {worlds.CLIENTS} clients, {place}", step


def backdoor(cls: type[Method]) -> Step:
    """An epoch with its party in the place of an honest one."""
    world = worlds.aligned(10)
    parties = world.parties(VerticalDefense(), Wire(), PROFILE.device)
    foothold = vertical_attacks._foothold(world, parties, worlds.short(cls))
    moved = {name: own.to(PROFILE.device) for name, own in vars(foothold).items() if isinstance(own, torch.Tensor)}
    parties.parties[MALICIOUS] = worlds.short(cls).corrupt(replace(foothold, **moved))
    return f"an epoch of {len(parties.batches(0))} batches", lambda: parties.epoch(0)


def labels(cls: type[Method]) -> Step:
    """The labels of all training samples."""
    attack = worlds.short(cls)

    def attempt(classes: int) -> Callable[[], object]:
        view, _ = vertical_attacks._passive(worlds.aligned(classes), attack.known)
        attack.infer(view, Streams(0))
        return lambda: attack.infer(view, Streams(0))

    place, step = worlds.first((str(classes), lambda classes=classes: attempt(classes)) for classes in (10, 2))
    return f"{len(worlds.aligned(int(place)).dataset.y_train)} samples of {place} classes", step


def inputs(cls: type[Method]) -> Step:
    """The victims' features."""
    attack = worlds.short(cls)
    view, _ = vertical_attacks._active(worlds.aligned(10), attack.known)
    return f"{worlds.VICTIMS} victims", lambda: attack.reconstruct(view, Streams(0))


def outsourced(cls: type[Method]) -> Step:
    """The victims' features, from what one party received."""
    attack = worlds.short(cls)

    def attempt(name: str, defense: object) -> Callable[[], object]:
        view = delegated.seen(attack, name, defense)
        attack.reconstruct(view, Streams(0))
        return lambda: attack.reconstruct(view, Streams(0))

    protocols = delegated.protocols()
    place, step = worlds.first((name, lambda name=name, one=one: attempt(name, one)) for name, one in protocols)
    return f"{worlds.VICTIMS} victims, {place}", step


STEPS: dict[type[Method], Callable[[type[Method]], Step]] = {
    PassiveAttack: passive,
    ActiveAttack: active,
    BackdoorAttack: backdoor,
    LabelAttack: labels,
    FeatureAttack: inputs,
    OutsourcedAttack: outsourced,
}
FOUND = worlds.registered("attack", STEPS)


@pytest.mark.parametrize(("name", "cls", "base"), FOUND, ids=[f"{name}-{base.__name__}" for name, _, base in FOUND])
def test_attack(benchmark: BenchmarkFixture, name: str, cls: type[Method], base: type[Method]) -> None:
    what, step = STEPS[base](cls)
    benchmark.group, benchmark.extra_info["timed"] = base.__name__, f"{name}: {what}"
    repeated(benchmark, step)
