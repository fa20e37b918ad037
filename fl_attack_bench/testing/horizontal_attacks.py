"""What attacks on a horizontal federation must keep: the result's form, their streams alone, the view untouched."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench import hardware, reconstruction, registry
from fl_attack_bench.api import HorizontalDefense, HorizontalView, Reconstruction
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.method import Method, build
from fl_attack_bench.reconstruction import Truth
from fl_attack_bench.scenarios.horizontal import Adversary, LocalWork, Samples, Snapshot, Trained, train
from fl_attack_bench.scenarios.observation import observe
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.base import BASELINE
from fl_attack_bench.tasks.horizontal import Iid, Training
from fl_attack_bench.testing import federation, untouched
from fl_attack_bench.testing.finding import Broken, Check, NotApplicable, Subject
from fl_attack_bench.wire import client
from fl_attack_bench.worker import reset

VICTIMS = 2
# Networks of which an attack can play one: not every attack can play every layer.
_NETWORKS = ("mlp", "lenet_dlg")
_TRAINING = Training(
    algorithm="fedsgd",
    partition=Iid(kind="iid", devices=federation.CLIENTS),
    rounds=2,
    sampled=federation.CLIENTS,
    learning_rate=0.1,
)


def reconstructs(subject: Subject, device: str = "cpu") -> str:
    """It returns what the contract asks for, the same with the same streams, and leaves the view alone."""
    if device == "cuda" and not torch.cuda.is_available():
        raise NotApplicable("no CUDA device on this machine")
    network = _network(subject)
    view, truth = _view(network, device)
    before, clock = untouched.state(view), hardware.clock(device)
    reset("first", 1, tf32=False)
    began = clock()
    one = reconstruction.check(_typed(subject.make().reconstruct(view, Streams(0))), truth)
    seconds = clock() - began
    untouched.unchanged(before, view)
    reset("second", 1, tf32=False)
    other = subject.make().reconstruct(_view(network, device)[0], Streams(0))
    if not _alike(one, other):
        raise Broken("two runs with the same streams differ: draw from streams.generator(..., victim) alone")
    kinds = {"images": one.images, "labels": one.labels, "representations": one.representations or None}
    told = ", ".join(name for name, value in kinds.items() if value is not None)
    if not told:
        raise Broken("it returns neither images nor labels nor representations")
    return f"{told} of {VICTIMS} victims on {network}, {seconds:.2f} s, twice the same"


def departs(subject: Subject) -> str:
    """A small federation with its clients in it plays to the end, twice the same, and the honest ones' data stays."""
    reasons = []
    for defense in _defenses():
        try:
            return _attacked(subject, defense)
        except SkipCell as why:
            reasons.append(str(why))
    raise NotApplicable(f"it plays no defense that is installed: {reasons[0]}")


def _attacked(subject: Subject, defense: HorizontalDefense) -> str:
    ends, devices = [], federation.hands()
    before = untouched.state(devices)
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        ends.append(_federation(subject.make(), defense, devices))
        untouched.unchanged(before, devices, "the honest clients' data")
    if not torch.equal(ends[0].weights, ends[1].weights):
        raise Broken("two runs with the same streams end with other models: draw from the rng that is given alone")
    lost = f", {len(ends[0].failures)} rounds lost" if ends[0].failures else ""
    return f"{_TRAINING.rounds} rounds under {defense.card.title!r}, twice the same{lost}"


def _federation(attack: Any, defense: HorizontalDefense, devices: list[Samples]) -> Trained:
    if attack.clients > len(devices):
        raise NotApplicable(f"it controls {attack.clients} clients, and the small federation has {len(devices)}")
    adversary = Adversary(attack, attack.clients, Streams(0).child("adversary"))
    return train(_TRAINING, federation.network(), devices, devices[0], defense, Streams(0), keep=1, adversary=adversary)


def _defenses() -> Iterator[HorizontalDefense]:
    """None at all, then every other: an attack may be on one protocol only."""
    for name in sorted(registry.names("defense"), key=lambda name: name != BASELINE):
        try:
            cls: type[Method] = registry.find("defense", name).cls
        except UserError:  # a plugin that does not import is not this attack's fault
            continue
        if not issubclass(cls, HorizontalDefense):
            continue
        made: Any = build(cls, {"reproducible": True} if "reproducible" in cls.__dataclass_fields__ else {})
        yield made


@cache
def _network_view(network: str, device: str) -> tuple[HorizontalView, Truth]:
    hands = [Samples(own.images, own.labels) for own in federation.hands(VICTIMS, 1, device)]
    model, defense = federation.network(network, device), HorizontalDefense()
    snapshots = [Snapshot(model.weights.cpu().clone(), model.statistics.cpu().clone())]
    names = [client(f"victim-{n}") for n in range(VICTIMS)]
    view = observe(model, snapshots, hands, names, defense, BASELINE, LocalWork(0.1), Streams(0))
    return view, Truth.of(hands, list(range(VICTIMS)), federation.digits().classes)


def _view(network: str, device: str = "cpu") -> tuple[HorizontalView, Truth]:
    """A view of its own of two clients with one digit each, and the truth."""
    view, truth = _network_view(network, device)
    return untouched.apart(view), truth


def _network(subject: Subject) -> str:
    """The first network that the attack can play."""
    reasons = []
    for network in _NETWORKS:
        try:
            subject.make().reconstruct(_view(network)[0], Streams(0))
        except SkipCell as why:
            reasons.append(f"{network}: {why}")
            continue
        return network
    raise NotApplicable("it plays none of the small networks: " + "; ".join(reasons))


def _typed(found: object) -> Reconstruction:
    if not isinstance(found, Reconstruction):
        raise Broken(f"reconstruct returns a {type(found).__name__}: return fl_attack_bench.api.Reconstruction")
    return found


def _alike(one: Reconstruction, other: Reconstruction) -> bool:
    return all(_equal(a, b) for a, b in zip(_results(one), _results(other), strict=True))


def _results(found: Reconstruction) -> list[Tensor]:
    tensors = [found.images, found.labels, found.objective, *found.representations.values()]
    return [tensor for tensor in tensors if tensor is not None]


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=0, atol=0, equal_nan=True)


PASSIVE = (
    Check("attack: CPU", reconstructs),
    Check("attack: CUDA", partial(reconstructs, device="cuda")),
)
ACTIVE = (Check("attack: federation", departs),)
