"""The horizontal scenario as a method's author sees it: clients with samples of their own, and a server."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from fl_attack_bench.aggregation import (
    UPDATE,
    Averaging,
    Bytes,
    Collector,
    Contribution,
    Party,
    Round,
    Uploading,
)
from fl_attack_bench.codec import Dense, Payload, encode
from fl_attack_bench.errors import SkipCell
from fl_attack_bench.method import Method
from fl_attack_bench.seeds import Streams
from fl_attack_bench.update import Layout, Update
from fl_attack_bench.wire import Message, client


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
class LocalPlan:
    """A client's local work in one round, which is no secret: the server set it.

    Args:
        samples: how many samples the client holds.
        epochs: passes over them.
        batch_size: samples of one step; the last step of an epoch takes what is left.
        learning_rate: of each step.
        earlier: rounds in which the client took part before.
    """

    samples: int
    epochs: int
    batch_size: int
    learning_rate: float
    earlier: int = 0

    @property
    def steps(self) -> int:
        """Steps of one round."""
        return self.epochs * -(-self.samples // self.batch_size)


@dataclass(frozen=True)
class Certificate:
    """A lower bound, stated by a defense, on how far a reconstruction is from each sample of a step.

    It speaks of a reconstruction ``X'`` that reproduces what the defense let through, ``f(X') = r'``.

    Args:
        layer: the layer whose input r is defended.
        bound: shape ``(B,)``: the least ``||X - X'||_2`` over pixels in [0, 1].
        representation: shape ``(B, L)``: r'.
        change: shape ``(B,)``: ``||r - r'||_2``.
        extract: f, images ``(B, C, H, W)`` to representations ``(B, L)``.
    """

    layer: str
    bound: Tensor
    representation: Tensor
    change: Tensor
    extract: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Observation:
    """What a curious server can read out of client payloads.

    Args:
        values: shape ``(*batch, n)``; what was not sent reads 0, or what a share or a mask in its place would say.
        sent: shape ``(*batch, n)``, bool: the entries that the payload really carried in the clear.
        noise: shape ``(*batch, n)``: standard deviation of what the defense did to an entry, as far as the reader
            knows; 0 for an exact entry, infinite where nothing is known of its true value, NaN where it is not stated.
    """

    values: Tensor
    sent: Tensor
    noise: Tensor

    @classmethod
    def exact(cls, values: Tensor, sent: Tensor | None = None) -> "Observation":
        """Entries that were sent as they are, all of them by default."""
        sent = torch.ones_like(values, dtype=torch.bool) if sent is None else sent
        return cls(values, sent, torch.zeros_like(values).masked_fill(~sent, torch.inf))

    @classmethod
    def stack(cls, observations: Sequence["Observation"]) -> "Observation":
        """One observation a victim, stacked along a new first axis."""
        return cls(*(torch.stack([getattr(o, name) for o in observations]) for name in ("values", "sent", "noise")))

    def to(self, like: Tensor) -> "Observation":
        """The same on the device and in the precision of ``like``."""
        return Observation(self.values.to(like), self.sent.to(like.device), self.noise.to(like))

    def noisier(self, deviation: float) -> "Observation":
        """The same with independent noise of this standard deviation on every entry that was sent."""
        return Observation(self.values, self.sent, (self.noise.square() + deviation**2).sqrt())


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

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        """Change the gradient of one local step, before the client takes the step."""
        del step
        return gradient

    def upload(self, update: Update, client: ClientState) -> Payload:
        """Turn a client's update into what it sends, once a round."""
        del client
        return Payload.dense(update.flat)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of a round in order; the client's word to the server about its update is in ``UPDATE``."""
        return (UPDATE,)

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The parameters of the protocol that the clients play with the server."""
        return self.parameters

    def member(self, contribution: Contribution, client: ClientState, round: Round) -> Party:
        """A client's side of a round: by default one upload. Override it where clients need to talk to each other."""
        del round
        return Uploading(lambda: self.upload(contribution.update, client), contribution)

    def collector(self, round: Round, memory: dict[str, Tensor]) -> Collector:
        """The server's side of a round: by default it averages the uploads.

        Args:
            round: the round.
            memory: what the server keeps from round to round; starts empty.
        """
        del memory
        return Averaging(self.aggregate, round)

    def read(self, payload: Payload, layout: Layout) -> Observation:
        """What a curious server can read out of one client's payload."""
        del layout
        part = payload.parts["update"]
        if isinstance(part, Dense):
            return Observation.exact(part.values)
        values = part.values.new_zeros(part.length).index_copy(0, part.indices, part.values)
        sent = torch.zeros_like(values, dtype=torch.bool).index_fill(0, part.indices, True)
        return Observation.exact(values, sent)

    def interpret(self, observation: Observation, layout: Layout, local: LocalPlan) -> Observation:
        """What knowing this defense and its parameters adds to what was read: how far each entry can be trusted."""
        del layout, local
        return observation

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

    def traffic(self, layout: Layout, statistics: int, clients: int) -> Bytes:
        """Cost model: the bytes of a round in which everybody follows the protocol, as the wire would meter them.

        The default is for a plain upload: the length of the real encoding of what :meth:`upload` makes of a random
        update in a client's first round. Override it together with :meth:`member`, by :func:`frame_bytes`, so that no
        tensor is made.

        Args:
            layout: names the slices of an update.
            statistics: how many running statistics of batch norm the network has.
            clients: how many take part in the round.

        Raises:
            SkipCell: so many clients cannot play it, or the defense has a protocol of its own and no model of it.
        """
        del clients
        draw = Streams(0).generator("traffic")
        drawn = torch.randn(layout.size + statistics, generator=draw)
        name = client(0)
        contribution = Contribution(Update(drawn[: layout.size], layout), drawn[layout.size :], 1)
        round = Round("traffic", 0, (name,), layout, statistics)
        party = self.member(contribution, ClientState(name, 0, 1, draw), round)
        if not isinstance(party, Uploading):
            raise SkipCell(f"{type(self).__name__} has a protocol of its own and does not say what it costs")
        return Bytes(up=sum(len(encode(payload)) for step in self.steps for _, payload in party.say(step)))

    def guarantee(self, exposure: Exposure) -> Guarantee | None:
        """The privacy guarantee after training, or None for a defense that is not about differential privacy."""
        del exposure
        return None

    def certify(self, step: LocalStep) -> Certificate | None:
        """A bound on reconstructions of a step's samples, or None for a defense that states none."""
        del step
        return None


@dataclass(frozen=True)
class SeenRound:
    """One round in which all V victims took part.

    Args:
        model: the architecture with the weights that the server itself sent out, in evaluation mode.
        messages: what the wire delivered, one upload a victim.
        observed: shape ``(V, n)``: the uploads as the defense lets the server read them; the sum of the gradients of a
            victim's local steps, exactly its gradient where it took one.
        heard: everything that the server received in the round, in the order of delivery, the uploads among it.
    """

    model: nn.Module
    messages: tuple[Message, ...]
    observed: Observation
    heard: tuple[Message, ...] = ()


@dataclass(frozen=True)
class HorizontalView:
    """All that an honest-but-curious server has of V victims, each seen by itself.

    Args:
        rounds: oldest first, usually one; the same victims with the same data in each.
        layout: names the slices of an observed update.
        local: each victim's local work in a round.
        image_shape: ``(C, H, W)``.
        classes: number of labels.
        defense: the defense's name; the adversary knows it.
        defense_parameters: and its parameters, but neither its randomness nor its keys.
    """

    rounds: tuple[SeenRound, ...]
    layout: Layout
    local: LocalPlan
    image_shape: tuple[int, int, int]
    classes: int
    defense: str
    defense_parameters: Mapping[str, Any]

    @property
    def model(self) -> nn.Module:
        """The network as the server sent it in the last round."""
        return self.rounds[-1].model

    @property
    def messages(self) -> tuple[Message, ...]:
        """The uploads of the last round."""
        return self.rounds[-1].messages

    @property
    def observed(self) -> Observation:
        """What can be read of the last round's uploads."""
        return self.rounds[-1].observed

    @property
    def batch_size(self) -> int:
        """B, the samples of one victim."""
        return self.local.samples

    @property
    def learning_rate(self) -> float:
        """Of the local steps."""
        return self.local.learning_rate

    @property
    def victims(self) -> tuple[str, ...]:
        """The victims' party names, in the order of ``observed``."""
        return tuple(message.sender for message in self.messages)

    def taken_for_true(self) -> "HorizontalView":
        """The view of an adversary who trusts every number: what was not sent is zero, what was altered is exact."""
        rounds = [replace(seen, observed=Observation.exact(seen.observed.values)) for seen in self.rounds]
        return replace(self, rounds=tuple(rounds))


@dataclass(frozen=True)
class Reconstruction:
    """What a passive attack makes of a view of V victims with B samples each.

    Args:
        images: shape ``(V, B, C, H, W)``, in pixel units; may leave [0, 1], never infinite or NaN. In no particular
            order within a victim. None for an attack that infers something else.
        labels: shape ``(V, B)``, int64, beside the images where there are some; None where they are not inferred.
        objective: shape ``(V,)``: the attacker's own, lower is better; it alone chose among restarts.
        iterations: shape ``(V,)``, int64: iterations that the chosen restart took.
        diverged: shape ``(V,)``, bool: the chosen restart ran off; ``images`` is its best finite state.
        curve: the objective's median over victims after each iteration.
        representations: by linear layer, shape ``(V, K, L)``: the mean input of that layer over the victim's samples of
            each class, up to scale; NaN for classes that the attacker takes for absent.
    """

    images: Tensor | None
    labels: Tensor | None
    objective: Tensor
    iterations: Tensor
    diverged: Tensor
    curve: tuple[float, ...] = ()
    representations: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ActiveAttack(Method):
    """An adversary that controls some clients and departs from the protocol; every verb has a harmless default.

    Args:
        clients: how many it controls: the federation's first ones.
    """

    clients: Annotated[int, Ge(1), Le(1024)] = 1

    def poison(self, contribution: Contribution, rng: torch.Generator) -> Contribution:
        """What a controlled client brings to the round in place of its honest contribution."""
        del rng
        return contribution

    def corrupt(
        self, parties: Mapping[str, Party], round: Round, defense: Mapping[str, Any], rng: torch.Generator
    ) -> Mapping[str, Party]:
        """What the controlled clients do in the protocol in place of what an honest client would.

        Args:
            parties: the honest parties of the controlled clients, by name; those of the others are out of reach.
            round: the round.
            defense: the parameters of the defense's protocol, which everybody knows.
            rng: the adversary's random stream in this round.

        Raises:
            SkipCell: the attack has no meaning for this defense; the reason goes into the record.
        """
        del round, defense, rng
        return parties


@dataclass(frozen=True)
class PassiveAttack(Method):
    """An adversary that follows the protocol and computes on its view."""

    @abstractmethod
    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        """Reconstruct every victim of the view.

        Victims must not influence each other: draw from ``streams.generator(..., victim_name)``.

        Raises:
            SkipCell: the attack cannot be played on this task; the reason goes into the record.
        """
