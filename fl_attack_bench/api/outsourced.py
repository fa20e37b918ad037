"""The outsourced scenario as a method's author sees it: owners of data, and parties that compute for them.

A defense is a protocol of its own: it names its parties and says what each of them does. A party is an object with one
coroutine for each stage; it meets the others only through its :class:`Endpoint`. All parties go through the same stages
in the same order: ``setup``, training steps, ``weights``, predictions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from torch import Tensor

from fl_attack_bench.codec import Payload
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.method import Method
from fl_attack_bench.models.stack import PlannedLayer, Weights
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.wire import Message

OWNER = "owner"  # holds the features, and the network's weights at the end
LABELS = "labels"  # holds the labels
COMPUTE = ("compute/0", "compute/1")
HELPER = "helper"
THIRD = "third"

Moment = Literal["training", "inference"]


class Endpoint(ABC):
    """One party's end of the wire.

    Args:
        name: the party's.
        secrets: its own unpredictable numbers, which nobody else has.
    """

    def __init__(self, name: str, secrets: Secrets) -> None:
        self.name = name
        self.secrets = secrets

    @abstractmethod
    def send(self, receiver: str, payload: Payload, *, offline: bool = False) -> None:
        """Send a message; it does not wait.

        Args:
            receiver: a party's name.
            payload: what is sent.
            offline: whether it depends on no data and could have been sent long before: triples, masks.
        """

    @abstractmethod
    async def receive(self, sender: str) -> Payload:
        """The next message from a party, waiting for it; messages of one sender come in the order of sending.

        Raises:
            PartySilent: the party has ended, or did not answer within the time limit.
        """


class PartySilent(Exception):  # noqa: N818 - says what happened
    """A party waits for a message that does not come; the text names both."""


@dataclass(frozen=True)
class Plan:
    """What all parties know of the task.

    Args:
        layers: of the network that is learned.
        samples: of the training set.
        batch_size: of the training.
        learning_rate: of the training.
    """

    layers: tuple[PlannedLayer, ...]
    samples: int
    batch_size: int
    learning_rate: float

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Entries of one prediction."""
        return self.layers[-1].layer.outputs


@dataclass(frozen=True)
class Holding:
    """What one party brings along; what it does not hold is None.

    Args:
        features: shape ``(N, *inputs)``, in [0, 1]: of the training set.
        targets: shape ``(N, outputs)``: what the outputs are to become.
        weights: of the network before the first step.
    """

    features: Tensor | None = None
    targets: Tensor | None = None
    weights: Weights | None = None


class ProtocolParty(ABC):
    """What one party does at each stage.

    Attributes:
        ahead: whether all that it does could be done before any data is there: it holds none and hears nothing. Its
            seconds are then no part of the time that a batch takes, and only it may send ``offline``.
    """

    ahead: bool = False

    @abstractmethod
    async def setup(self) -> None:
        """Agree on keys, share out what it holds."""

    @abstractmethod
    async def step(self, rows: Tensor) -> None:
        """One training step on the samples of these ids, shape ``(B,)``, int64, which all parties know."""

    @abstractmethod
    async def weights(self) -> Weights | None:
        """The network as it is now: to the owner; None to everybody else."""

    @abstractmethod
    async def predict(self, samples: int, features: Tensor | None) -> Tensor | None:
        """Predict new samples.

        Args:
            samples: how many.
            features: shape ``(samples, *inputs)``, in [0, 1]: to the owner; None to everybody else.

        Returns:
            What the network makes of them, shape ``(samples, outputs)``: to the owner; None to everybody else.
        """


Entering = Callable[[Endpoint, Holding], ProtocolParty]


@dataclass(frozen=True)
class OutsourcedDefense(Method):
    """A protocol between the owners of data and those who compute for them."""

    trains: ClassVar[bool] = True
    model_holder: ClassVar[str] = OWNER
    """Who brings the weights along."""

    @property
    def from_seed(self) -> bool:
        """Whether the parties' secrets come from the cell's seed in place of the operating system."""
        return False

    def layers(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """The network that the protocol computes in place of the task's; by default the task's."""
        return layers

    @abstractmethod
    def parties(self, plan: Plan) -> Mapping[str, Entering]:
        """Who takes part, and what makes each one's party. ``owner`` and ``labels`` hold the data.

        A protocol that cannot train (``trains`` is False) has no ``labels``; its network is trained in the clear by
        its holder, and the tasks' data are predicted.

        Raises:
            SkipCell: the protocol cannot compute this network; the reason goes into the record.
        """


@dataclass(frozen=True)
class OutsourcedView:
    """All that an adversary has who follows the protocol as one of its parties.

    Args:
        party: whose view it is.
        messages: every message that it received, in order. ``topic`` is ``setup``, ``training``, ``weights`` or
            ``inference``, with `` offline`` behind it for what depends on no data; ``round`` counts the training steps
            and the predicted batches, from 0.
        plan: the network and its training, which all parties know.
        batches: of each round, the ids of its samples in order, shape ``(B,)``, int64.
        victims: ids of the samples it is after.
        known: ids of samples whose features it knows, none of them a victim, shape ``(T,)``, int64.
        known_features: shape ``(T, *inputs)``.
        auxiliary: public samples of the same distribution, shape ``(M, *inputs)``; none of them is in any batch.
        auxiliary_labels: their labels, shape ``(M,)``, int64.
        weights: of the network, where the adversary knows it; else None.
        defense: the protocol's name; the adversary knows it.
        defense_parameters: and its parameters, but nobody's randomness.
    """

    party: str
    messages: tuple[Message, ...]
    plan: Plan
    batches: tuple[Tensor, ...]
    victims: Tensor
    known: Tensor
    known_features: Tensor
    auxiliary: Tensor
    auxiliary_labels: Tensor
    weights: Weights | None
    defense: str
    defense_parameters: Mapping[str, Any]


@dataclass(frozen=True)
class OutsourcedAttack(Method):
    """A party that follows the protocol and reconstructs features from what it saw.

    Args:
        known: how many other samples' features it knows.
        auxiliary: how many public samples of the same distribution it has.
        observed: how many further samples are predicted while it watches the inference.
    """

    moment: ClassVar[Moment] = "inference"
    """What it watches: the whole training, or predictions with the trained network."""
    knows_model: ClassVar[bool] = False
    """Whether it knows the weights that predict."""

    known: Annotated[int, Ge(0), Le(100_000)] = 0
    auxiliary: Annotated[int, Ge(0), Le(100_000)] = 0
    observed: Annotated[int, Ge(0), Le(100_000)] = 0

    @property
    @abstractmethod
    def adversary(self) -> str:
        """The party whose view it gets: ``third``, ``compute/0``."""

    @abstractmethod
    def reconstruct(self, view: OutsourcedView, streams: Streams) -> Tensor:
        """The victims' features, shape ``(V, *inputs)``, finite; may leave [0, 1].

        Raises:
            SkipCell: the view has nothing that the attack works on; the reason goes into the record.
        """
