"""The protocol that hides nothing: the data go to one party, which learns and predicts in the clear."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import COMPUTE, LABELS, OWNER, Endpoint, Entering, Holding, Plan, ProtocolParty
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.models.stack import Weights, descend, forward
from fl_attack_bench.sharing.value import Shape, part

SERVER = COMPUTE[0]


class ClearOwner(ProtocolParty):
    """Sends what it holds, and is sent the weights and the predictions.

    Args:
        endpoint: its end of the wire.
        holding: what it brings along.
        plan: the sizes.
    """

    def __init__(self, endpoint: Endpoint, holding: Holding, plan: Plan) -> None:
        self.endpoint, self.holding, self.plan = endpoint, holding, plan

    async def setup(self) -> None:
        """Features, targets and weights: whatever it has."""
        holding = self.holding
        if holding.features is not None:
            self.endpoint.send(SERVER, Payload.dense(holding.features, "features"))
        if holding.targets is not None:
            self.endpoint.send(SERVER, Payload.dense(holding.targets, "targets"))
        if holding.weights is not None:
            self.endpoint.send(SERVER, _weights(holding.weights))

    async def step(self, rows: Tensor) -> None:
        """Nothing: the server learns."""

    async def weights(self) -> Weights | None:
        """The owner of the features is sent the network."""
        return await _received(self.endpoint, SERVER, self.plan) if self.endpoint.name == OWNER else None

    async def predict(self, samples: int, features: Tensor | None) -> Tensor | None:
        """Send new features, be sent the outputs."""
        if features is None:
            return None
        self.endpoint.send(SERVER, Payload.dense(features, "features"))
        answer = await self.endpoint.receive(SERVER)
        return part(answer, "predictions", (samples, self.plan.outputs), torch.float64, SERVER)


class ClearServer(ProtocolParty):
    """Has everything and does everything, in float64.

    Args:
        endpoint: its end of the wire.
        holding: nothing.
        plan: the sizes.
    """

    def __init__(self, endpoint: Endpoint, holding: Holding, plan: Plan) -> None:
        del holding
        self.endpoint, self.plan = endpoint, plan

    async def setup(self) -> None:
        """Take the data and the network."""
        plan = self.plan
        features = await self.endpoint.receive(OWNER)
        self._features = part(features, "features", (plan.samples, *plan.inputs), torch.float32, OWNER)
        targets = await self.endpoint.receive(LABELS)
        self._targets = part(targets, "targets", (plan.samples, plan.outputs), torch.float64, LABELS)
        self._network = await _received(self.endpoint, OWNER, plan)

    async def step(self, rows: Tensor) -> None:
        """A plain step."""
        plan = self.plan
        batch, wanted = self._features[rows], self._targets[rows]
        self._network = descend(plan.layers, self._network, batch, wanted, plan.learning_rate)

    async def weights(self) -> Weights | None:
        """Send the network to the owner."""
        self.endpoint.send(OWNER, _weights(self._network))
        return None

    async def predict(self, samples: int, features: Tensor | None) -> Tensor | None:
        """Predict what the owner sends."""
        del features
        given = await self.endpoint.receive(OWNER)
        images = part(given, "features", (samples, *self.plan.inputs), torch.float32, OWNER)
        outputs = forward(self.plan.layers, self._network, images)
        self.endpoint.send(OWNER, Payload.dense(outputs, "predictions"))
        return None


def parties(plan: Plan) -> Mapping[str, Entering]:
    """The two owners, and the one that has everything."""
    return {
        OWNER: partial(ClearOwner, plan=plan),
        LABELS: partial(ClearOwner, plan=plan),
        SERVER: partial(ClearServer, plan=plan),
    }


def _weights(weights: Weights) -> Payload:
    return Payload({str(number): Dense(weight) for number, weight in enumerate(weights)})


async def _received(endpoint: Endpoint, sender: str, plan: Plan) -> Weights:
    given = await endpoint.receive(sender)
    shapes: list[Shape] = [shape for planned in plan.layers for shape in (planned.matrix, planned.matrix[1:])]
    return tuple(part(given, str(number), shape, torch.float64, sender) for number, shape in enumerate(shapes))
