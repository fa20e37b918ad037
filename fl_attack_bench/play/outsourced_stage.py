"""What every job of an outsourced task begins with: its network, who holds what, the stages of a protocol."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fl_attack_bench import hardware
from fl_attack_bench.api import LABELS, OWNER, Holding, OutsourcedDefense, Plan
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import Job, Settings
from fl_attack_bench.models import stack
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.play.stage import Stage
from fl_attack_bench.scenarios.outsourced import Gathering
from fl_attack_bench.tasks import OutsourcedTask
from fl_attack_bench.wire import Wire

WEIGHTS = "weights.safetensors"
SETUP, TRAINING, INFERENCE, TESTING = "setup", "training", "inference", "testing"


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
