"""Inputs of a realistic size for the speed tests of all methods: real digits of 28 by 28 pixels, batches of 32.

The contract's checks build the same from tiny tasks (``fl_attack_bench.testing``); what they build of a given world is
used here as it is. Outsourced tasks are in ``delegated``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, TypeVar

from fl_attack_bench import registry
from fl_attack_bench.aggregation import Stopwatch
from fl_attack_bench.api import HorizontalDefense, HorizontalView
from fl_attack_bench.data import features
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.method import Method, build
from fl_attack_bench.scenarios.horizontal import Adversary, Client, LocalWork, Server, Snapshot, play_round
from fl_attack_bench.scenarios.observation import observe
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.base import BASELINE
from fl_attack_bench.tasks.vertical import VerticalTask
from fl_attack_bench.testing import federation
from fl_attack_bench.testing.child import LONG
from fl_attack_bench.testing.collaboration import MALICIOUS, World
from fl_attack_bench.wire import Wire, client

T = TypeVar("T")
BATCH = 32
VICTIMS = 32
CLIENTS = federation.CLIENTS
ALIGNED = 1024  # samples of a vertical training; two classes have fewer
NETWORKS = ("lenet5", "lenet_dlg", "mlp")  # not every attack can play every layer


def registered(kind: registry.Kind, bases: Iterable[type[Method]]) -> list[tuple[str, type[Method], type[Method]]]:
    """Name, class and base of every registered method, once for each of these bases that it has.

    Raises:
        LookupError: a method has none of them: nobody would time it.
    """
    found = []
    for name in registry.names(kind):
        cls = registry.find(kind, name).cls
        own = [(name, cls, base) for base in bases if issubclass(cls, base)]
        if not own:
            raise LookupError(f"{kind} {name} is of no kind that is timed here: add it to the file that asked")
        found += own
    return found


def short(cls: type[Method]) -> Any:
    """An instance whose search takes one iteration, where it has one."""
    return build(
        cls, {one.name: 1 for one in fields(cls) if one.name in LONG and type(one.default) is int and one.default}
    )


def first(tried: Iterable[tuple[str, Callable[[], T]]]) -> tuple[str, T]:
    """The first of some places where an attack does not skip, and what came of it there.

    Raises:
        LookupError: it skips everywhere; whoever times it wants to know.
    """
    reasons = []
    for name, attempt in tried:
        try:
            return name, attempt()
        except SkipCell as why:
            reasons.append(f"{name}: {why}")
    raise LookupError("nothing here can be attacked: " + "; ".join(reasons))


@cache
def observed(network: str, device: str) -> HorizontalView:
    """What the server sees of 32 clients with one digit each."""
    model, hands = federation.network(network, device), federation.hands(VICTIMS, 1, device)
    snapshots = [Snapshot(model.weights.cpu().clone(), model.statistics.cpu().clone())]
    names = [client(number) for number in range(VICTIMS)]
    return observe(model, snapshots, hands, names, HorizontalDefense(), BASELINE, LocalWork(0.1), Streams(0))


@dataclass
class Federation:
    """Seven clients with 32 digits each around LeNet-5, one step a round; each call is a new round.

    Args:
        defense: that all follow.
        device: where models are.
        clock: device-synchronised.
        attack: by malicious clients; none by default.
    """

    defense: HorizontalDefense
    device: str
    clock: Callable[[], float]
    attack: Any = None

    def __post_init__(self) -> None:
        self.watch = Stopwatch(self.clock)
        self._model = federation.network("lenet5", self.device)
        hands = federation.hands(CLIENTS, BATCH, self.device)
        self._members = [Client(client(number), own, self.defense) for number, own in enumerate(hands)]
        self._server = Server(self._model, self.defense, 0.1)
        streams = Streams(0).child("adversary")
        self._adversary = Adversary(self.attack, self.attack.clients, streams) if self.attack else None
        self.rounds = 0

    @property
    def parameters(self) -> int:
        """Of the network."""
        return self._model.layout.size

    def play(self) -> None:
        """One round; one that fails under honest clients is an error."""
        wire, number = Wire(), self.rounds
        work = LocalWork(0.1)
        streams, server = Streams(0), self._server
        fine = play_round(wire, server, self._members, self._model, work, number, streams, self._adversary, self.watch)
        self.rounds += 1
        if not self.attack and (server.failures or not fine):
            raise RuntimeError(f"a round of honest clients failed: {'; '.join(server.failures) or 'it ran off'}")


@cache
def aligned(labels: int) -> World:
    """A vertical training on digits of so many classes: halves of rows, a trigger in the lower one."""
    whole = federation.digits()
    kept = {part: getattr(whole, f"y_{part}") < labels for part in ("train", "test")}
    parts = {f"{axis}_{part}": getattr(whole, f"{axis}_{part}")[kept[part]][:ALIGNED] for axis in "xy" for part in kept}
    dataset = replace(whole, classes=labels, **parts)
    rows = whole.image_shape[1]
    task = VerticalTask.model_validate(
        {
            "name": "speed",
            "scenario": "vertical",
            "dataset": "digits",
            "split": {"by": "rows", "parties": {"upper": f"0-{rows // 2 - 1}", MALICIOUS: f"{rows // 2}-{rows - 1}"}},
            "bottom": {"hidden": 32, "outputs": 32},
            "training": {"epochs": 2, "batch_size": BATCH, "learning_rate": 0.05},
            "malicious": MALICIOUS,
            "backdoor": {"target": 1, "trigger": {"pixels": [[rows - 1, 0], [rows - 1, 1]]}, "train": 0.1},
            "victims": VICTIMS,
        }
    )
    places, poisoned = features.deal(task, dataset, Streams(0))
    if poisoned is None:
        raise RuntimeError("a task with a backdoor poisons samples")
    return World(task, dataset, places, poisoned)
