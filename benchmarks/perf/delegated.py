"""The paper's CNN on images of 28 by 28 pixels, outsourced: all parties in one process, over the wire's real bytes."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench import registry
from fl_attack_bench.api import LABELS, OWNER, Holding, OutsourcedAttack, OutsourcedDefense, OutsourcedView, Plan
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.method import build
from fl_attack_bench.models import stack
from fl_attack_bench.scenarios.outsourced import Gathering, Spent
from fl_attack_bench.tasks.base import BASELINE
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.testing import federation
from fl_attack_bench.wire import Wire

SAMPLES, BATCH = 1024, 32
LAYERS = (
    Layer(kind="convolution", outputs=4, kernel=4, stride=2, activation="relu"),
    Layer(kind="dense", outputs=100, activation="sigmoid"),
    Layer(kind="dense", outputs=10, activation="sigmoid"),
)
_STEPS = 4  # training steps, or predicted batches, that an attack sees
_PUBLIC = slice(1024, None)  # of the digits


class Played:
    """The parties of one protocol after their setup, with random images.

    Args:
        defense: the protocol.
        clock: seconds, for what the parties compute.
        inference: images of a prediction.
        images: of the training, shape ``(1024, 1, 28, 28)``; random by default.
        wire: over which it goes.
    """

    def __init__(
        self,
        defense: OutsourcedDefense,
        clock: Callable[[], float],
        inference: int,
        images: Tensor | None = None,
        wire: Wire | None = None,
    ) -> None:
        draw = torch.Generator().manual_seed(0)
        plan = Plan(stack.plan(defense.layers(LAYERS), (1, 28, 28)), SAMPLES if defense.trains else 0, BATCH, 1.0)
        drawn = torch.rand(SAMPLES, 1, 28, 28, generator=draw)
        targets = stack.targets(torch.randint(10, (SAMPLES,), generator=draw), 10, None)
        weights = stack.initial(plan.layers, draw)
        features = (drawn if images is None else images).reshape(-1, *plan.inputs)
        holdings = {OWNER: Holding(features=features, weights=weights), LABELS: Holding(targets=targets)}
        if defense.model_holder != OWNER:
            holdings = {defense.model_holder: Holding(weights=weights)}
        self.plan, self.weights = plan, weights
        self.predicted = torch.rand(inference, 1, 28, 28, generator=draw).reshape(-1, *plan.inputs)
        self.expected = stack.forward(plan.layers, weights, self.predicted.double())
        self.wire = wire or Wire()
        self.gathering = Gathering(defense.parties(plan), holdings, self.wire, clock)
        self._run("setup", 0, lambda name, party: party.setup())

    def _run(self, topic: str, number: int, call: Callable[[str, Any], Any]) -> tuple[Spent, object]:
        parties = self.gathering.parties.items()
        found = self.gathering.run(topic, number, {name: call(name, party) for name, party in parties})
        return self.gathering.spent[topic, number], found.get(OWNER)

    def step(self, number: int, rows: Tensor | None = None) -> Spent:
        """One training step, on the next samples unless others are named."""
        chosen = (torch.arange(BATCH) + BATCH * number) % SAMPLES if rows is None else rows
        return self._run("training", number, lambda name, party: party.step(chosen))[0]

    def predict(self, images: Tensor | None = None, number: int = 0) -> tuple[Spent, Tensor]:
        """One batch; the one that was drawn unless another is given."""
        batch = self.predicted if images is None else images
        shown = {OWNER: batch}
        spent, outputs = self._run("inference", number, lambda name, party: party.predict(len(batch), shown.get(name)))
        assert isinstance(outputs, Tensor)
        return spent, outputs

    def megabytes(self, topic: str) -> float:
        """Sent by all parties."""
        sent = [each.sent for phase in self.wire.phases if phase.topic == topic for each in phase.traffic.values()]
        return sum(sent) / 1e6


def protocols() -> Iterator[tuple[str, OutsourcedDefense]]:
    """Those that are registered, the clear first."""
    for name in sorted(registry.names("defense"), key=lambda name: name != BASELINE):
        cls = registry.find("defense", name).cls
        if issubclass(cls, OutsourcedDefense):
            made: Any = build(cls, {})
            yield name, made


def seen(attack: OutsourcedAttack, name: str, defense: OutsourcedDefense) -> OutsourcedView:
    """What the attack's party sees of four training steps or predictions of 32 real digits; the first batch is its aim.

    Raises:
        SkipCell: the protocol has no such party, or does not train.
    """
    data, training = federation.digits(), attack.moment == "training"
    plan = Plan(stack.plan(defense.layers(LAYERS), (1, 28, 28)), SAMPLES if defense.trains else 0, BATCH, 1.0)
    if attack.adversary not in defense.parties(plan):
        raise SkipCell(f"no party {attack.adversary!r}")
    if training and not defense.trains:
        raise SkipCell("does not train")
    wire = Wire(watched={attack.adversary})
    played = Played(defense, lambda: 0.0, BATCH, data.x_train[:SAMPLES], wire)
    flat = data.x_train.reshape(-1, *played.plan.inputs)
    batches = tuple(torch.arange(_STEPS * BATCH).split(BATCH))
    for number, rows in enumerate(batches):
        _ = played.step(number, rows) if training else played.predict(flat[rows], number)
    topics = ("setup", "training" if training else "inference")
    known = torch.arange(BATCH, BATCH + min(attack.known, (_STEPS - 1) * BATCH))
    return OutsourcedView(
        party=attack.adversary,
        messages=tuple(message for message in wire.view() if message.topic.split()[0] in topics),
        plan=played.plan,
        batches=batches,
        victims=torch.arange(BATCH),
        known=known,
        known_features=flat[known],
        auxiliary=flat[_PUBLIC][: attack.auxiliary],
        auxiliary_labels=data.y_train[_PUBLIC][: attack.auxiliary],
        weights=played.weights if attack.knows_model else None,
        defense=name,
        defense_parameters=defense.parameters,
    )
