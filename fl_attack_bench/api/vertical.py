"""The vertical scenario as a method's author sees it: parties with features, one with the labels.

In one exchange of Algorithm 1 (Liu et al. 2020) every passive party k sends its embeddings ``H_k = G_k(x_k)`` of a
mini-batch, and the active party, who holds the labels and the top model, answers with ``dl/dH_k``, sample by sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from fl_attack_bench.method import Method
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.vertical import SAME

ACTIVE = "active"


@dataclass(frozen=True)
class Batch:
    """A mini-batch of aligned training samples, which all parties know.

    Args:
        epoch: from 0.
        number: within the epoch, from 0.
        rows: shape ``(B,)``, int64: ids of the samples.
    """

    epoch: int
    number: int
    rows: Tensor


class FeatureParty(ABC):
    """A passive party: it holds some features of every sample, sends embeddings and hears gradients."""

    @abstractmethod
    def embed(self, batch: Batch) -> Tensor:
        """What it sends of a batch in training, shape ``(B, d)``."""

    @abstractmethod
    def learn(self, batch: Batch, gradients: Tensor) -> None:
        """Take ``dl_i/dH_i`` of the batch's samples, shape ``(B, d)``, and step along their mean."""

    @abstractmethod
    def predict(self, features: Tensor) -> Tensor:
        """What it sends of new samples, shape ``(M, d)``, of which it holds the features, shape ``(M, p)``."""


class Following(FeatureParty):
    """A party that does what another one does; an attack derives from it and overrides what it does differently.

    Args:
        honest: the one that it follows.
    """

    def __init__(self, honest: FeatureParty) -> None:
        self.honest = honest

    def embed(self, batch: Batch) -> Tensor:
        """As the honest one."""
        return self.honest.embed(batch)

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        """As the honest one."""
        self.honest.learn(batch, gradients)

    def predict(self, features: Tensor) -> Tensor:
        """As the honest one."""
        return self.honest.predict(features)


class Top(nn.Module, ABC):
    """The active party's model, from embeddings to logits.

    Attributes:
        shared: whether the gradient is the same for every party, so that one message to all of them says it.
    """

    shared: ClassVar[bool] = False

    @abstractmethod
    def forward(self, embeddings: Tensor) -> Tensor:
        """Shape ``(K, B, d)``, the passive parties in order, to shape ``(B, m)`` with ``m >= classes``."""


class Summation(Top):
    """``sum_k H_k``: nothing to train (Liu et al. 2020, equation 4). The first entries are the classes' logits."""

    shared = True

    def forward(self, embeddings: Tensor) -> Tensor:
        """Shape ``(K, B, d)`` to ``(B, d)``."""
        return embeddings.sum(0)


@dataclass(frozen=True)
class Returned:
    """The gradients that the active party returns.

    Args:
        values: shape ``(B, d)``; what is not sent is zero.
        sent: shape ``(B, d)``, bool: the entries that travel, in a sparse encoding; None where all do.
    """

    values: Tensor
    sent: Tensor | None = None


@dataclass
class Exchange:
    """One exchange as the active party's defense sees it.

    Args:
        batch: the samples.
        samples: N, how many training samples there are; ids are below it.
        receiver: the passive party that the gradients are for, or that the embeddings are from; ``all`` where one
            message goes to every party.
        rng: the defense's random stream.
        memory: what the defense keeps for this party from batch to batch, for each verb; starts empty.
        predicting: whether the samples are new ones that are to be predicted; the batch's rows are then their places
            among these, and nothing goes back.
    """

    batch: Batch
    samples: int
    receiver: str
    rng: torch.Generator
    memory: dict[str, Tensor] = field(default_factory=dict)
    predicting: bool = False


@dataclass(frozen=True)
class VerticalDefense(Method):
    """What an active party does about malicious or curious passive ones; every verb has a default that does nothing."""

    def top(self, parties: int, width: int, classes: int, rng: torch.Generator) -> Top | None:
        """The top model for so many parties with embeddings of so many entries; None for the task's own, the sum."""
        del parties, width, classes, rng
        return None

    def incoming(self, embeddings: Tensor, exchange: Exchange) -> Tensor:
        """Change the embeddings of one party, shape ``(B, d)``, before the top model gets them, in prediction too.

        The gradient that goes back is the one with respect to the changed embeddings.
        """
        del exchange
        return embeddings

    def outgoing(self, returned: Returned, exchange: Exchange) -> Returned:
        """Change the gradients before they are sent; the active party's own step is not affected."""
        del exchange
        return returned


@dataclass(frozen=True)
class Foothold:
    """All that a malicious passive party has before the training begins.

    Args:
        party: its honest self, to be wrapped; its own features and bottom model are within.
        features: shape ``(N, p)``: its features of the training samples, in [0, 1].
        poisoned: shape ``(P,)``, int64: ids of the training samples that carry the trigger.
        marked: shape ``(q,)``, int64: which of its p features the trigger marks.
        value: that they have where the trigger is there.
        target: the class that triggered samples are to be taken for.
        known: shape ``(T,)``, int64: ids of clean samples that it knows to be of the target class.
        classes: number of labels.
        width: d, entries of an embedding.
        defense: the defense's name; the adversary knows it.
        defense_parameters: and its parameters, but not its randomness.
        streams: its randomness.
    """

    party: FeatureParty
    features: Tensor
    poisoned: Tensor
    marked: Tensor
    value: float
    target: int
    known: Tensor
    classes: int
    width: int
    defense: str
    defense_parameters: Mapping[str, Any]
    streams: Streams

    def is_poisoned(self) -> Tensor:
        """Which of the N training samples carry the trigger, shape ``(N,)``, bool."""
        none = torch.zeros(len(self.features), dtype=torch.bool, device=self.features.device)
        return none.index_fill(0, self.poisoned, True)

    def triggered(self, features: Tensor) -> Tensor:
        """Which of some samples carry the trigger, shape ``(M,)``, bool, by their features, shape ``(M, p)``."""
        return ((features[:, self.marked].double() - self.value).abs() <= SAME).all(1)


@dataclass(frozen=True)
class BackdoorAttack(Method):
    """A passive party that departs from the protocol to have triggered samples taken for the target class.

    Args:
        known: how many clean samples of the target class it knows.
    """

    known: Annotated[int, Ge(1), Le(10_000)] = 1

    @abstractmethod
    def corrupt(self, foothold: Foothold) -> FeatureParty:
        """The party that takes the honest one's place.

        Raises:
            SkipCell: the attack has no meaning for this task or defense; the reason goes into the record.
        """


@dataclass(frozen=True)
class SeenEpoch:
    """What passed between a passive party and the active one in one epoch, by sample id.

    Args:
        embeddings: shape ``(N, d)``: what the passive party sent.
        gradients: shape ``(N, d)``: what it was sent back; what was not sent is zero.
        sent: shape ``(N, d)``, bool: the entries that were sent back.
    """

    embeddings: Tensor
    gradients: Tensor
    sent: Tensor


@dataclass(frozen=True)
class PassiveView:
    """All that a curious passive party has after the training.

    Args:
        party: its name.
        features: shape ``(N, p)``: its own, in [0, 1].
        epochs: what it sent and was sent, oldest first.
        bottom: its own trained network, from features ``(M, p)`` to embeddings ``(M, d)``.
        known: shape ``(T,)``, int64: ids of the samples whose label it knows, the same number of each class.
        known_labels: shape ``(T,)``, int64.
        classes: number of labels.
        learning_rate: of the training.
        batch_size: of the training.
        defense: the defense's name; the adversary knows it.
        defense_parameters: and its parameters, but not its randomness.
    """

    party: str
    features: Tensor
    epochs: tuple[SeenEpoch, ...]
    bottom: nn.Module
    known: Tensor
    known_labels: Tensor
    classes: int
    learning_rate: float
    batch_size: int
    defense: str
    defense_parameters: Mapping[str, Any]


@dataclass(frozen=True)
class LabelAttack(Method):
    """A curious passive party that follows the protocol and infers the labels of the training samples.

    Args:
        known: how many labelled samples of each class it knows; the others are what it is scored on.
    """

    known: Annotated[int, Ge(0), Le(10_000)] = 0

    @abstractmethod
    def infer(self, view: PassiveView, streams: Streams) -> Tensor:
        """The label of every training sample, shape ``(N,)``, int64.

        Raises:
            SkipCell: the attack cannot be played on this task; the reason goes into the record.
        """


@dataclass(frozen=True)
class ActiveView:
    """All that a curious active party has of the passive ones after the training.

    Args:
        embeddings: by passive party, each epoch's, oldest first, of shape ``(N, d)``: what it was sent.
        labels: shape ``(N,)``, int64: its own.
        victims: shape ``(V,)``, int64: ids of the samples whose features it is after.
        known: shape ``(T,)``, int64: ids of the samples whose features it knows.
        known_features: shape ``(T, D)``: all parties' features of these, in [0, 1].
        places: by passive party, shape ``(p,)``, int64: which of the D features it holds.
    """

    embeddings: Mapping[str, tuple[Tensor, ...]]
    labels: Tensor
    victims: Tensor
    known: Tensor
    known_features: Tensor
    places: Mapping[str, Tensor]


@dataclass(frozen=True)
class FeatureAttack(Method):
    """A curious active party that follows the protocol and reconstructs the passive ones' features.

    Args:
        known: of how many training samples it knows the features.
    """

    known: Annotated[int, Ge(0), Le(10_000)] = 0

    @abstractmethod
    def reconstruct(self, view: ActiveView, streams: Streams) -> Tensor:
        """The features of the victims, shape ``(V, D)``, finite; may leave [0, 1].

        Raises:
            SkipCell: the attack cannot be played on this task; the reason goes into the record.
        """
