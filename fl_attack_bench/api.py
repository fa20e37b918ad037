"""What the author of an attack or a defense imports.

A defense is written from the honest client's and server's side, an attack from the adversary's. Neither sees the
other: an attack gets a view, which holds what the wire delivered to the adversary and what its card says it knows.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fl_attack_bench.codec import Dense, Part, Payload, Sparse
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.method import Card, Method, Scenario
from fl_attack_bench.seeds import Streams
from fl_attack_bench.update import Layout, Update
from fl_attack_bench.wire import Message

__all__ = [
    "Card",
    "ClientState",
    "Dense",
    "Exposure",
    "Guarantee",
    "HorizontalDefense",
    "HorizontalView",
    "Layout",
    "LocalStep",
    "Message",
    "Method",
    "Observation",
    "Part",
    "PassiveAttack",
    "Payload",
    "Reconstruction",
    "SkipCell",
    "Sparse",
    "Streams",
    "Update",
]


@dataclass
class ClientState:
    """A client as its defense sees it in one round.

    Args:
        name: the party's name on the wire.
        round: number of the round, from 0.
        samples: how many samples the update was computed on.
        rng: this client's random stream in this round.
        memory: what the defense keeps on this client from round to round (a residual, say); starts empty.
    """

    name: str
    round: int
    samples: int
    rng: torch.Generator
    memory: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalStep:
    """One local SGD step: what a client's defense may look at while it changes the step's gradient.

    Args:
        model: the local model before the step.
        images: shape ``(B, C, H, W)``, in [0, 1].
        labels: shape ``(B,)``, int64.
        rng: this client's random stream in this round.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    rng: torch.Generator


@dataclass(frozen=True)
class Observation:
    """What a curious server can read out of client payloads.

    Args:
        values: shape ``(*batch, n)``; what was not sent reads 0.
        sent: shape ``(*batch, n)``, bool: the entries that the payload really carried in the clear.
    """

    values: Tensor
    sent: Tensor

    @classmethod
    def stack(cls, observations: Sequence["Observation"]) -> "Observation":
        """One observation a victim, stacked along a new first axis."""
        return cls(torch.stack([o.values for o in observations]), torch.stack([o.sent for o in observations]))


@dataclass(frozen=True)
class Exposure:
    """How often and in what company a client's data touched the training: what a privacy accountant asks.

    Args:
        clients: how many there are.
        sampled: how many take part in one round.
        rounds: how many rounds were played.
        participations: the most rounds that any one client took part in.
        equal_weights: whether every client counts the same in the average.
        statistics: running statistics of batch norm that each upload carries in the clear.
    """

    clients: int
    sampled: int
    rounds: int
    participations: int
    equal_weights: bool
    statistics: int = 0


@dataclass(frozen=True)
class Guarantee:
    """A differential-privacy statement, at the level of a whole client.

    Args:
        statement: one sentence, with its unit of privacy; says so where there is no guarantee.
        delta: the delta at which both epsilons hold.
        epsilon_server: against the server, which sees each update by itself. None: no finite bound.
        epsilon_model: against those who see the trained model only. None: no finite bound, or not accounted for.
    """

    statement: str
    delta: float | None = None
    epsilon_server: float | None = None
    epsilon_model: float | None = None


@dataclass(frozen=True)
class HorizontalDefense(Method):
    """What honest clients and an honest server do about curious ones; every verb has a default that does nothing."""

    scenario: ClassVar[Scenario] = "horizontal"

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        """Change the gradient of one local step, before the client takes the step."""
        del step
        return gradient

    def upload(self, update: Update, client: ClientState) -> Payload:
        """Turn a client's update into what it sends, once a round."""
        del client
        return Payload.dense(update.flat)

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """What a curious server can read out of one client's payload, knowing this defense and its parameters."""
        del layout
        part = payload.parts["update"]
        if isinstance(part, Dense):
            return Observation(part.values, torch.ones_like(part.values, dtype=torch.bool))
        values = torch.zeros(part.length, dtype=part.values.dtype).index_copy(0, part.indices, part.values)
        sent = torch.zeros(part.length, dtype=torch.bool).index_fill(0, part.indices, True)
        return Observation(values, sent)

    def aggregate(self, payloads: Sequence[Payload], weights: Sequence[float], layout: Layout) -> Update:
        """The server's side: the weighted mean of the updates; ``weights`` sum to 1."""
        total = torch.zeros(layout.size)
        for payload, weight in zip(payloads, weights, strict=True):
            part = payload.parts["update"]
            if isinstance(part, Dense):
                total.add_(part.values, alpha=weight)
            else:
                total.index_add_(0, part.indices, part.values, alpha=weight)
        return Update(total, layout)

    def guarantee(self, exposure: Exposure) -> Guarantee | None:
        """The privacy guarantee after training, or None for a defense that is not about differential privacy."""
        del exposure
        return None


@dataclass(frozen=True)
class HorizontalView:
    """All that an honest-but-curious server has of V victims, each seen by itself.

    Args:
        model: the architecture with the weights that the server itself sent out, in evaluation mode.
        layout: names the slices of an observed update.
        messages: what the wire delivered, one upload a victim.
        observed: shape ``(V, n)``: the uploads as the defense lets the server read them.
        learning_rate: of the local steps.
        batch_size: samples in a victim's batch.
        image_shape: ``(C, H, W)``.
        classes: number of labels.
        defense: the defense's name; the adversary knows it.
        defense_parameters: and its parameters, but neither its randomness nor its keys.
    """

    model: nn.Module
    layout: Layout
    messages: tuple[Message, ...]
    observed: Observation
    learning_rate: float
    batch_size: int
    image_shape: tuple[int, int, int]
    classes: int
    defense: str
    defense_parameters: Mapping[str, Any]

    @property
    def victims(self) -> tuple[str, ...]:
        """The victims' party names, in the order of ``observed``."""
        return tuple(message.sender for message in self.messages)


@dataclass(frozen=True)
class Reconstruction:
    """What a passive attack makes of a view of V victims with B samples each.

    Args:
        images: shape ``(V, B, C, H, W)``, in pixel units; may leave [0, 1], never infinite or NaN.
        labels: shape ``(V, B)``, int64.
        objective: shape ``(V,)``: the attacker's own at ``images``, lower is better; it alone chose among restarts.
        iterations: shape ``(V,)``, int64: iterations that the chosen restart took.
        diverged: shape ``(V,)``, bool: the chosen restart ran off; ``images`` is its best finite state.
        curve: the objective's median over victims after each iteration.
    """

    images: Tensor
    labels: Tensor
    objective: Tensor
    iterations: Tensor
    diverged: Tensor
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class PassiveAttack(Method):
    """An adversary that follows the protocol and computes on its view."""

    scenario: ClassVar[Scenario] = "horizontal"

    @abstractmethod
    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Reconstruct every victim of the view.

        Victims must not influence each other: draw from ``streams.generator(..., victim_name)``.

        Raises:
            SkipCell: the attack cannot be played on this task; the reason goes into the record.
        """
