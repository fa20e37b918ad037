"""A network that is learned and played on shared numbers: one program, which every party runs over its own session.

The loss is the mean squared error over samples and outputs, as the paper's (rtas-2021, section 5.3). Its factor
``2 / (B outputs)`` is applied with the learning rate, once, so that fixed point loses nothing to it on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import LABELS, OWNER, Holding, Plan, ProtocolParty
from fl_attack_bench.models.stack import PlannedLayer, Weights
from fl_attack_bench.sharing.products import Elementwise, forward_product, input_product, weight_product
from fl_attack_bench.sharing.session import Session
from fl_attack_bench.sharing.value import Value

Masks = Literal["fixed", "fresh"]


@dataclass
class Passed:
    """What a layer leaves behind for its gradient.

    Args:
        inputs: as it multiplied them.
        outputs: after the element-wise function.
        slope: the function's derivative; None for no function.
    """

    inputs: Value
    outputs: Value
    slope: Value | None


class SharedNetwork:
    """Layers whose weights are shared, over one party's session.

    Args:
        session: the party's.
        layers: the first of them is called ``first``.
        first: number of the first layer, for the names of messages.
    """

    def __init__(self, session: Session, layers: Sequence[PlannedLayer], first: int = 0) -> None:
        self.session = session
        self.layers = tuple(layers)
        self.first = first
        self._weights: list[Value] = []

    async def share(self, weights: Weights | None) -> None:
        """The owner shares the weights out; others pass None."""
        self._weights = []
        bits = self.session.fraction_bits
        for number, planned in enumerate(self.layers, start=self.first):
            for what, shape in (("weights", planned.matrix), ("bias", planned.matrix[1:])):
                given = None if weights is None else weights[len(self._weights)]
                self._weights.append(await self.session.share(f"{what}/{number}", OWNER, shape, bits, given))

    async def reveal(self) -> list[Tensor | None]:
        """The weights, to the owner."""
        return [await self.session.reveal(value.name, value, OWNER) for value in self._weights]

    async def linear(self, number: int, inputs: Value) -> Value:
        """``x W + b`` of one layer, at twice the fraction bits."""
        planned, (matrix, bias) = self.layers[number], self._weights[2 * number : 2 * number + 2]
        label = f"z/{number + self.first}"
        found = await self.session.product(label, forward_product(planned), inputs, matrix)
        fine = self.session.finer(bias, found.bits)
        lifted = (-1,) + (1,) * (len(planned.outputs) - 1)
        return self.session.linear(label, found.bits, lambda z, b: z + b.reshape(lifted), found, fine)

    async def forward(self, inputs: Value, *, slopes: bool) -> list[Passed]:
        """All layers; the slopes are for training only."""
        session, passed = self.session, list[Passed]()
        for number, planned in enumerate(self.layers):
            if planned.layer.kernel is None and len(inputs.shape) > 2:
                inputs = inputs.rearranged(lambda held: held.flatten(1))
            z = await self.linear(number, inputs)
            slope = None
            if planned.activation == "none":
                (outputs,) = await session.rescale([z], session.fraction_bits)
            else:
                label = str(number + self.first)
                outputs, slope = await session.activate(label, planned.activation, z, slope=slopes)
            outputs.name = f"activation/{number + self.first}"
            passed.append(Passed(inputs, outputs, slope))
            inputs = outputs
        return passed

    async def backward(self, passed: Sequence[Passed], error: Value, rate: float) -> None:
        """A step along the gradient.

        Args:
            passed: by the forward pass.
            error: ``a - y`` of the last layer's outputs.
            rate: what a gradient without the loss's factor is multiplied with.
        """
        session, gradients = self.session, list[Value]()
        for number in reversed(range(len(self.layers))):
            before, planned = passed[number], self.layers[number]
            if before.slope is not None:
                error = await session.product(f"sloped/{number + self.first}", Elementwise(), error, before.slope)
            (error,) = await session.rescale([error], session.fraction_bits)
            error.name = f"error/{number + self.first}"
            gradients = [*await self.gradients(number, before.inputs, error), *gradients]
            if number:
                label = f"upstream/{number + self.first}"
                error = await session.product(label, input_product(planned), error, self._weights[2 * number])
                shape = passed[number - 1].outputs.shape
                error = error.rearranged(lambda held, shape=shape: held.reshape(shape))  # type: ignore[misc]
        await self.descend(gradients, rate)

    async def gradients(self, number: int, inputs: Value, error: Value) -> tuple[Value, Value]:
        """Of one layer's matrix and bias, summed over the batch."""
        planned = self.layers[number]
        label = f"gradient/{number + self.first}"
        matrix = await self.session.product(label, weight_product(planned), inputs, error)
        places = [axis for axis in range(len(error.shape)) if axis != 1]
        return matrix, self.session.linear(
            label, error.bits, lambda held: held.sum(places), error, shape=error.shape[1:2]
        )

    async def descend(self, gradients: Sequence[Value], rate: float) -> None:
        """``W - rate * gradient`` for all weights, in one opening."""
        bits = self.session.fraction_bits
        steps = await self.session.rescale(gradients, bits, rate)
        self._weights = [
            self.session.linear(weight.name, bits, torch.sub, weight, step)
            for weight, step in zip(self._weights, steps, strict=True)
        ]


class SharedData:
    """The owner's features and the label holder's targets, shared out.

    Args:
        session: the party's.
        plan: the sizes.
        masks: whether a training sample's features keep one mask for all steps, or get a new one each time.
    """

    def __init__(self, session: Session, plan: Plan, masks: Masks) -> None:
        self.session, self.plan, self.masks = session, plan, masks
        self._features: Value | None = None
        self._targets: Value | None = None

    async def share_features(self, features: Tensor | None) -> None:
        """The training set's."""
        shape = (self.plan.samples, *self.plan.inputs)
        self._features = await self.session.share("features", OWNER, shape, self.session.fraction_bits, features)
        if self.masks == "fixed" and self.plan.samples:
            await self.session.mask(self._features)

    async def share_targets(self, targets: Tensor | None) -> None:
        """The training set's."""
        shape = (self.plan.samples, self.plan.outputs)
        self._targets = await self.session.share("targets", LABELS, shape, self.session.fraction_bits, targets)

    def features(self, rows: Tensor) -> Value:
        """Of some training samples."""
        return _rows(self._features, rows)

    def targets(self, rows: Tensor) -> Value:
        """Of some training samples."""
        return _rows(self._targets, rows)

    async def new_features(self, samples: int, features: Tensor | None) -> Value:
        """Of samples that are to be predicted."""
        shape = (samples, *self.plan.inputs)
        return await self.session.share("features", OWNER, shape, self.session.fraction_bits, features)


def rate(plan: Plan, samples: int) -> float:
    """The learning rate with the factor of the mean squared error."""
    return 2 * plan.learning_rate / (samples * plan.outputs)


class Learner(ProtocolParty):
    """A party of a protocol in which the whole network is shared.

    Args:
        session: the party's.
        plan: the sizes.
        holding: what it brings along.
        masks: of the training set's features.
        ahead: whether it is the helper.
    """

    def __init__(self, session: Session, plan: Plan, holding: Holding, masks: Masks, *, ahead: bool = False) -> None:
        self.session, self.plan, self.holding = session, plan, holding
        self.ahead = ahead
        self.data = SharedData(session, plan, masks)
        self.network = SharedNetwork(session, plan.layers)

    async def setup(self) -> None:
        """Agree on seeds; share the training set and the weights."""
        await self.session.agree()
        await self.data.share_features(self.holding.features)
        await self.data.share_targets(self.holding.targets)
        await self.network.share(self.holding.weights)

    async def step(self, rows: Tensor) -> None:
        """Forward, backward, all on shares."""
        passed = await self.network.forward(self.data.features(rows), slopes=True)
        outputs, targets = passed[-1].outputs, self.data.targets(rows)
        flat = outputs.rearranged(lambda held: held.flatten(1))
        error = self.session.linear("error", flat.bits, torch.sub, flat, targets)
        error = error.rearranged(lambda held: held.reshape(outputs.shape))
        await self.network.backward(passed, error, rate(self.plan, len(rows)))

    async def weights(self) -> Weights | None:
        """Reconstructed by the owner."""
        found = [weight for weight in await self.network.reveal() if weight is not None]
        return tuple(found) if found else None

    async def predict(self, samples: int, features: Tensor | None) -> Tensor | None:
        """Forward on shares; the outputs are reconstructed by the owner."""
        given = await self.data.new_features(samples, features)
        passed = await self.network.forward(given, slopes=False)
        outputs = await self.session.reveal("predictions", passed[-1].outputs, OWNER)
        return None if outputs is None else outputs.flatten(1)


def _rows(value: Value | None, rows: Tensor) -> Value:
    if value is None:
        raise RuntimeError("a step before the setup")
    return value.rearranged(lambda held: held[rows.to(held.device)])
