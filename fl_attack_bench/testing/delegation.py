"""A small outsourced task on the embedded digits, small enough for ciphertexts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.api import LABELS, OWNER, Holding, Layer, OutsourcedDefense, Plan
from fl_attack_bench.models import stack
from fl_attack_bench.models.stack import Weights
from fl_attack_bench.scenarios.outsourced import Gathering
from fl_attack_bench.seeds import Streams
from fl_attack_bench.testing import federation
from fl_attack_bench.wire import Wire

SAMPLES, BATCH, STEPS = 24, 8, 2
DENSE = (Layer(kind="dense", outputs=6, activation="sigmoid"), Layer(kind="dense", outputs=10, activation="sigmoid"))
CONVOLUTION = (
    Layer(kind="convolution", outputs=2, kernel=3, stride=2, activation="relu"),
    Layer(kind="dense", outputs=10, activation="sigmoid"),
)
_POOL = 4  # images of 7 by 7


@dataclass
class Played:
    """A protocol from its setup to its predictions.

    Args:
        plan: what all parties knew.
        gathering: the parties; their seconds of computing.
        outputs: what the owner was told of the predicted samples.
        weights: what it was given of the trained network; None where the protocol does not train.
        plain: the outputs of the same network, learned and predicted in the clear.
    """

    plan: Plan
    gathering: Gathering
    outputs: Tensor
    weights: Weights | None
    plain: Tensor


def images() -> tuple[Tensor, Tensor]:
    """Small digits, shape ``(N, 1, 7, 7)``, and their labels."""
    data = federation.digits()
    return torch.nn.functional.avg_pool2d(data.x_train, _POOL), data.y_train


def batches() -> list[Tensor]:
    """The training steps' samples."""
    return list(torch.arange(STEPS * BATCH).split(BATCH))


def names(defense: OutsourcedDefense, layers: Sequence[Layer]) -> list[str]:
    """The protocol's parties; nothing is played."""
    return list(defense.parties(_plan(defense, layers)))


def _plan(defense: OutsourcedDefense, layers: Sequence[Layer]) -> Plan:
    planned = stack.plan(defense.layers(layers), (1, *images()[0].shape[2:]))
    return Plan(planned, SAMPLES if defense.trains else 0, BATCH, 0.1)


def play(
    defense: OutsourcedDefense,
    layers: Sequence[Layer] = DENSE,
    *,
    wire: Wire | None = None,
    predicted: Sequence[Tensor] | None = None,
) -> Played:
    """Learn for a few steps, where the protocol trains, and predict.

    Args:
        defense: the protocol.
        layers: of the task's network.
        wire: over which it goes.
        predicted: the batches of samples that are predicted; the first samples by default.
    """
    pictures, labels = images()
    plan = _plan(defense, layers)
    planned = plan.layers
    held = pictures.reshape(-1, *planned[0].inputs)
    wanted = stack.targets(labels[:SAMPLES], 10, None)
    weights = stack.initial(planned, Streams(0).generator("weights"))
    streams = Streams(0) if defense.from_seed else None
    gathering = Gathering(
        defense.parties(plan),
        _holdings(defense, plan, held, wanted, weights),
        wire or Wire(),
        time.perf_counter,
        streams,
    )
    gathering.run("setup", 0, {name: party.setup() for name, party in gathering.parties.items()})
    revealed = None
    if defense.trains:
        for number, rows in enumerate(batches()):
            gathering.run("training", number, {name: party.step(rows) for name, party in gathering.parties.items()})
            weights = stack.descend(planned, weights, held[rows], wanted[rows], plan.learning_rate)
        found = gathering.run("weights", 0, {name: party.weights() for name, party in gathering.parties.items()})
        revealed = found[OWNER]
    asked = [torch.arange(BATCH)] if predicted is None else predicted
    outputs = [_predicted(gathering, number, held[rows]) for number, rows in enumerate(asked)]
    plain = stack.forward(planned, weights, held[torch.cat(list(asked))])
    return Played(plan, gathering, torch.cat(outputs), revealed, plain)


def _holdings(
    defense: OutsourcedDefense, plan: Plan, held: Tensor, wanted: Tensor, weights: Weights
) -> dict[str, Holding]:
    count = plan.samples
    holdings = {OWNER: Holding(features=held[:count]), LABELS: Holding(targets=wanted[:count])}
    before = holdings.get(defense.model_holder, Holding())
    holdings[defense.model_holder] = Holding(before.features, before.targets, weights)
    return holdings


def _predicted(gathering: Gathering, number: int, features: Tensor) -> Tensor:
    calls = {
        name: party.predict(len(features), features if name == OWNER else None)
        for name, party in gathering.parties.items()
    }
    found: Tensor = gathering.run("inference", number, calls)[OWNER]
    return found
