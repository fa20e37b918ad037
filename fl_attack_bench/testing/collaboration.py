"""A small vertical training on the embedded digits: two passive parties, a trigger in the lower one's rows."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fl_attack_bench.api import VerticalDefense
from fl_attack_bench.data import features
from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.data.trigger import Poisoned
from fl_attack_bench.scenarios.vertical import Aligned, Collaboration
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks import VerticalTask
from fl_attack_bench.testing import federation
from fl_attack_bench.wire import Wire

SAMPLES = 240
MALICIOUS = "lower"


@dataclass(frozen=True)
class World:
    """Who holds what.

    Args:
        task: of the training.
        dataset: the first of the digits.
        places: by passive party, the places in a sample that it holds.
        poisoned: the samples with the trigger.
    """

    task: VerticalTask
    dataset: Dataset
    places: dict[str, Tensor]
    poisoned: Poisoned

    def aligned(self, images: Tensor, labels: Tensor) -> Aligned:
        """Dealt out to the parties."""
        return Aligned.split(images, labels, self.places)

    @property
    def train(self) -> Aligned:
        """Training samples, the poisoned ones stamped."""
        return self.aligned(self.poisoned.images, self.dataset.y_train)

    def parties(self, defense: VerticalDefense, wire: Wire, device: str = "cpu") -> Collaboration:
        """All of them before their first step."""
        held = self.train
        features = {name: own.to(device) for name, own in held.features.items()}
        train = Aligned(features, held.labels.to(device))
        task = self.task
        return Collaboration(train, self.dataset.classes, task.bottom, task.training, defense, Streams(0), wire)


@cache
def world() -> World:
    """The one of all checks; it must not be written to."""
    whole = federation.digits()
    cut = {name: getattr(whole, name)[:SAMPLES].clone() for name in ("x_train", "y_train", "x_test", "y_test")}
    dataset = Dataset(**{**vars(whole), **cut})
    rows = whole.image_shape[1]
    task = VerticalTask.model_validate(
        {
            "name": "contract",
            "scenario": "vertical",
            "dataset": "digits",
            "split": {"by": "rows", "parties": {"upper": f"0-{rows // 2 - 1}", MALICIOUS: f"{rows // 2}-{rows - 1}"}},
            "bottom": {"hidden": 12, "outputs": 12},
            "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.05},
            "malicious": MALICIOUS,
            "backdoor": {"target": 3, "trigger": {"pixels": [[rows - 1, 0], [rows - 1, 1]]}, "train": 0.1},
            "victims": 8,
        }
    )
    places, poisoned = features.deal(task, dataset, Streams(0))
    if poisoned is None:
        raise RuntimeError("a task with a backdoor poisons samples")
    return World(task, dataset, places, poisoned)


def drawn(*shape: int, axis: str = "") -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=Streams(0).generator("drawn", axis))
