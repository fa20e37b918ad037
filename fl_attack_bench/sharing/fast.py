"""A network of which the first layer is shared and the rest belongs to one party (rtas-2021, section 4.2.2).

The trainer sees the first layer's outputs as they are, computes the rest and the loss in the clear, and shares out the
gradient with respect to what it was shown.
"""

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import LABELS, OWNER, Holding, Plan, ProtocolParty
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.models.stack import Weights, activate, forward
from fl_attack_bench.sharing.network import Masks, SharedData, SharedNetwork, rate
from fl_attack_bench.sharing.session import Session
from fl_attack_bench.sharing.value import Shape, Value, part

_TARGETS = "targets"
_PREDICTIONS = "predictions"


class FastParty(ProtocolParty):
    """A party that is not the trainer.

    Args:
        session: the party's.
        plan: the sizes.
        holding: what it brings along.
        masks: of the training set's features.
        trainer: who trains the rest.
        ahead: whether it is the helper.
    """

    def __init__(
        self, session: Session, plan: Plan, holding: Holding, masks: Masks, trainer: str, *, ahead: bool = False
    ) -> None:
        self.session, self.plan, self.holding, self.trainer = session, plan, holding, trainer
        self.ahead = ahead
        self.data = SharedData(session, plan, masks)
        self.network = SharedNetwork(session, plan.layers[:1])

    async def setup(self) -> None:
        """Agree on seeds, share the features and the first layer; the rest goes to the trainer in the clear."""
        await self.session.agree()
        await self.data.share_features(self.holding.features)
        weights, endpoint = self.holding.weights, self.session.endpoint
        await self.network.share(None if weights is None else weights[:2])
        if weights is not None:
            rest = {str(number): Dense(weight) for number, weight in enumerate(weights[2:])}
            endpoint.send(self.trainer, Payload(rest))
        if self.holding.targets is not None and self.session.name != self.trainer:
            endpoint.send(self.trainer, Payload.dense(self.holding.targets, _TARGETS))

    async def step(self, rows: Tensor) -> None:
        """The first layer forward, the gradient of its outputs from the trainer, its step."""
        session, inputs = self.session, self._flat(self.data.features(rows))
        back = self.learn(await self._shown(inputs), rows)
        shape = (len(rows), *self.plan.layers[0].outputs)
        returned = await session.share("error/0", self.trainer, shape, session.fraction_bits, back)
        gradients = await self.network.gradients(0, inputs, returned)
        await self.network.descend(gradients, rate(self.plan, len(rows)))

    def learn(self, shown: Tensor | None, rows: Tensor) -> Tensor | None:
        """The trainer's part of a step: nothing to everybody else."""
        del shown, rows
        return None

    async def weights(self) -> Weights | None:
        """The first layer from the shares, the rest from the trainer: to the owner."""
        first = [weight for weight in await self.network.reveal() if weight is not None]
        return (*first, *await self.rest(OWNER)) if first else None

    async def rest(self, receiver: str) -> Weights:
        """The layers behind the first one as the owner sends them to the trainer, or the trainer back to the owner."""
        sender = self.trainer if receiver == OWNER else OWNER
        given = await self.session.endpoint.receive(sender)
        shapes: list[Shape] = [
            shape for planned in self.plan.layers[1:] for shape in (planned.matrix, planned.matrix[1:])
        ]
        return tuple(part(given, str(number), shape, torch.float64, sender) for number, shape in enumerate(shapes))

    async def predict(self, samples: int, features: Tensor | None) -> Tensor | None:
        """The trainer sends the owner what it makes of the first layer's outputs."""
        await self._shown(self._flat(await self.data.new_features(samples, features)))
        if self.session.name != OWNER:
            return None
        answer = await self.session.endpoint.receive(self.trainer)
        return part(answer, _PREDICTIONS, (samples, self.plan.outputs), torch.float64, self.trainer)

    async def _shown(self, inputs: Value) -> Tensor | None:
        """The first layer's outputs in their order, to the trainer."""
        z = await self.network.linear(0, inputs)
        return await self.session.reveal("z/0", z, self.trainer)

    def _flat(self, features: Value) -> Value:
        return features if self.plan.layers[0].layer.kernel else features.rearranged(lambda held: held.flatten(1))


class Trainer(FastParty):
    """The party that sees the first layer's outputs and trains the rest in the clear, in float64."""

    async def setup(self) -> None:
        """Take the rest of the network, and the targets where somebody else holds them."""
        await super().setup()
        self._rest = await self.rest(self.trainer)
        self._targets = self.holding.targets
        if self._targets is None and self.plan.samples:
            given = await self.session.endpoint.receive(LABELS)
            shape = (self.plan.samples, self.plan.outputs)
            self._targets = part(given, _TARGETS, shape, torch.float64, LABELS)

    def learn(self, shown: Tensor | None, rows: Tensor) -> Tensor | None:
        """A step of the rest; returns the gradient of the squared error's half with respect to what it was shown."""
        if shown is None or self._targets is None:
            raise RuntimeError("the trainer was shown nothing, or has no targets")
        z = shown.requires_grad_()
        held = tuple(weight.requires_grad_() for weight in self._rest)
        loss = (self._outputs(z, held) - self._targets[rows]).square().sum() / 2
        back, *gradients = torch.autograd.grad(loss, (z, *held))
        factor = rate(self.plan, len(rows))
        self._rest = tuple(
            (weight - factor * gradient).detach() for weight, gradient in zip(held, gradients, strict=True)
        )
        return back

    def _outputs(self, shown: Tensor, rest: Weights) -> Tensor:
        return forward(self.plan.layers[1:], rest, activate(self.plan.layers[0].activation, shown))

    async def weights(self) -> Weights | None:
        """Its layers, to the owner."""
        rest = {str(number): Dense(weight) for number, weight in enumerate(self._rest)}
        self.session.endpoint.send(OWNER, Payload(rest))
        return None

    async def predict(self, samples: int, features: Tensor | None) -> Tensor | None:
        """The rest of the network in the clear."""
        del features
        shown = await self._shown(self._flat(await self.data.new_features(samples, None)))
        if shown is None:
            raise RuntimeError("the trainer was shown nothing")
        outputs = self._outputs(shown, self._rest).detach()
        self.session.endpoint.send(OWNER, Payload.dense(outputs, _PREDICTIONS))
        return None
