"""The small protocol as something to be played."""

from pathlib import Path

import pytest
import torch

from fl_attack_bench.api import OWNER, Holding, Plan
from fl_attack_bench.models import stack
from fl_attack_bench.processes.play import Play
from fl_attack_bench.seeds import Streams
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks.outsourced import Layer

PROTOCOL = Path(__file__).with_name("additive_sums.py")


@pytest.fixture
def sums():
    """A play of the small protocol; ``defense`` are its parameters."""

    def make(steps=3, predictions=2, **parameters):
        layers = stack.plan([Layer(kind="dense", outputs=1)], (1, 2, 3))
        rng = torch.Generator().manual_seed(3)
        samples = torch.rand(10, 6, generator=rng)
        return Play(
            defense=MethodSpec(name=str(PROTOCOL), parameters=parameters),
            names=(OWNER, "compute/0", "compute/1")[: 1 + parameters.get("computers", 2)],
            plan=Plan(layers, 10, 4, 0.1),
            holdings={OWNER: Holding(features=samples)},
            batches=tuple(torch.randperm(10, generator=rng)[:4] for _ in range(steps)),
            features=tuple(torch.rand(5, 6, generator=rng) for _ in range(predictions)),
            streams=Streams(8),
        )

    return make
