"""Learning from partitioned features: passive parties with features, an active party with the labels.

Algorithm 1 of Liu et al. 2020: of every mini-batch each passive party k sends ``H_k = G_k(x_k)``; the active party
returns ``dl_i/dH_k`` of every sample i; everybody steps along the batch's mean. The order of the samples is agreed on
beforehand, as are their ids; everything else travels over the wire. To predict, the passive parties send embeddings.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor

from fl_attack_bench.aggregation import Stopwatch, dense
from fl_attack_bench.api import ACTIVE, Batch, FeatureParty, VerticalDefense
from fl_attack_bench.codec import CodecError, Payload
from fl_attack_bench.errors import UserError
from fl_attack_bench.models.bottom import BottomNetwork
from fl_attack_bench.scenarios.vertical_parties import ALL, GRADIENTS, ActiveParty, HonestParty, read, written
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.vertical import Bottom, VerticalTraining
from fl_attack_bench.wire import Wire

EMBEDDINGS = "embeddings"
_PREDICTED = 1000  # samples of one message in prediction


@dataclass(frozen=True)
class Aligned:
    """The same samples at every party.

    Args:
        features: by passive party, shape ``(N, p)``, in [0, 1]; none shares memory with another's.
        labels: shape ``(N,)``, int64: the active party's.
    """

    features: Mapping[str, Tensor]
    labels: Tensor

    @classmethod
    def split(cls, images: Tensor, labels: Tensor, places: Mapping[str, Tensor]) -> "Aligned":
        """Images ``(N, C, H, W)``, dealt out by the places in the flattened sample that each party holds."""
        flat = images.flatten(1)
        return cls({name: flat[:, held.to(flat.device)].contiguous() for name, held in places.items()}, labels)


@dataclass
class Trained:
    """What a training leaves behind.

    Args:
        curve: ``(epoch, accuracy)`` on the clean test set; epoch 0 is before the training.
        losses: ``(epoch, mean cross entropy in nats)`` on it.
        successes: ``(epoch, share)`` of the triggered samples that are taken for the target; empty without any.
        scores: mean predicted probability of each class over the triggered samples, after the last finite epoch.
        diverged: whether something became infinite or NaN; the training ended before that epoch was evaluated.
        wire: with the traffic of the training.
        inference: with the traffic of all predictions.
        predicted: how many predictions there were.
    """

    curve: list[tuple[int, float]] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    successes: list[tuple[int, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    diverged: bool = False
    wire: Wire = field(default_factory=Wire)
    inference: Wire = field(default_factory=Wire)
    predicted: int = 0


class Collaboration:
    """The parties of one training.

    Args:
        train: the training samples.
        classes: number of labels.
        layers: the passive parties' networks.
        training: how they learn.
        defense: what the active party does.
        streams: everything random: ``("weights", party)``, ``("order", epoch)``, ``("defense",)``.
        wire: over which the training's messages go.
    """

    def __init__(
        self,
        train: Aligned,
        classes: int,
        layers: Bottom,
        training: VerticalTraining,
        defense: VerticalDefense,
        streams: Streams,
        wire: Wire,
    ) -> None:
        self.classes, self.width, self.training, self.wire = classes, layers.outputs, training, wire
        self._streams, self._samples = streams, len(train.labels)
        self.honest = {
            name: HonestParty(
                features,
                BottomNetwork(layers, features.shape[1], streams.generator("weights", name)),
                training.learning_rate,
            )
            for name, features in train.features.items()
        }
        self.parties: dict[str, FeatureParty] = dict(self.honest)
        rate = training.learning_rate
        self.active = ActiveParty(train.labels, tuple(self.parties), self.width, classes, defense, rate, streams)
        self._device = train.labels.device

    def batches(self, epoch: int) -> list[Batch]:
        """The mini-batches of an epoch, which everybody knows; the last one takes what is left."""
        order = torch.randperm(self._samples, generator=self._streams.generator("order", epoch))
        parts = order.to(self._device).split(self.training.batch_size)
        return [Batch(epoch, number, rows) for number, rows in enumerate(parts)]

    def epoch(self, epoch: int, watch: Stopwatch | None = None) -> bool:
        """Play an epoch; False where the loss is no longer finite."""
        self.active.loss = 0.0
        watch = watch or Stopwatch()
        for batch in self.batches(epoch):
            self._exchange(batch, watch)
            if not math.isfinite(self.active.loss):
                return False
        return True

    def predict(self, samples: Aligned, wire: Wire) -> Tensor:
        """The logits of new samples, shape ``(M, classes)``."""
        found: list[Tensor] = []
        for rows in torch.arange(len(samples.labels), device=self._device).split(_PREDICTED):
            with wire.phase(0, EMBEDDINGS):
                heard = {
                    name: self._heard(wire, name, party.predict(samples.features[name][rows]), len(rows))
                    for name, party in self.parties.items()
                }
            found.append(self.active.logits(Batch(0, len(found), rows), heard))
        return torch.cat(found)

    def _exchange(self, batch: Batch, watch: Stopwatch) -> None:
        """One iteration of Algorithm 1."""
        clock, size = watch.clock, len(batch.rows)
        heard: dict[str, Tensor] = {}
        own: dict[str, Batch] = {}
        with self.wire.phase(batch.epoch, EMBEDDINGS):
            for name, party in self.parties.items():
                # A batch of its own: what a party does to it must not reach the others.
                own[name] = replace(batch, rows=batch.rows.clone())
                began = clock()
                embeddings = party.embed(own[name])
                made = clock()
                heard[name] = self._heard(self.wire, name, embeddings, size)
                watch.add(name, made - began, clock() - made)
        began = clock()
        returned, defending = self.active.answer(batch, heard, clock)
        watch.add(ACTIVE, defending, clock() - began - defending)
        with self.wire.phase(batch.epoch, GRADIENTS):
            for receiver, gradients in returned.items():
                receivers = list(self.parties) if receiver == ALL else [receiver]
                began = clock()
                decoded = read(self.wire.broadcast(ACTIVE, receivers, written(gradients)), size, self.width)
                watch.add(ACTIVE, 0.0, clock() - began)
                for name in receivers:
                    began = clock()
                    self.parties[name].learn(own[name], decoded.values.clone().to(self._device))
                    watch.add(name, clock() - began, 0.0)

    def _heard(self, wire: Wire, name: str, embeddings: Tensor, samples: int) -> Tensor:
        """What the active party gets of a party's embeddings; of a shape that it does not expect, nothing."""
        try:
            payload = wire.send(name, ACTIVE, Payload.dense(embeddings, EMBEDDINGS))
            return dense(payload, EMBEDDINGS, torch.float32, (samples, self.width)).to(self._device)
        except CodecError as error:
            raise UserError(f"party {name}: {error}") from None


def train(collaboration: Collaboration, test: Aligned, triggered: Aligned | None, target: int) -> Trained:
    """Play all epochs, and predict after each one.

    Args:
        collaboration: the parties, before their first step.
        test: clean samples for the accuracy.
        triggered: samples that carry the trigger; None where there is no backdoor.
        target: the class that they are to be taken for.
    """
    trained = Trained(wire=collaboration.wire)
    for epoch in range(collaboration.training.epochs + 1):
        trained.diverged = epoch > 0 and not collaboration.epoch(epoch - 1)
        if trained.diverged or not _evaluated(collaboration, trained, epoch, test, triggered, target):
            trained.diverged = True
            break
    return trained


def _evaluated(
    collaboration: Collaboration, trained: Trained, epoch: int, test: Aligned, triggered: Aligned | None, target: int
) -> bool:
    """Predict and write down how well; False, with nothing written down, where a prediction is not finite."""
    logits = collaboration.predict(test, trained.inference)
    trained.predicted += len(test.labels)
    loss = float(F.cross_entropy(logits, test.labels))
    marked = None
    if triggered is not None:
        marked = collaboration.predict(triggered, trained.inference)
        trained.predicted += len(triggered.labels)
    if not math.isfinite(loss) or (marked is not None and not bool(marked.isfinite().all())):
        return False
    trained.curve.append((epoch, float((logits.argmax(1) == test.labels).double().mean())))
    trained.losses.append((epoch, loss))
    if marked is not None:
        trained.successes.append((epoch, float((marked.argmax(1) == target).double().mean())))
        trained.scores = marked.softmax(1).mean(0).clamp(0, 1).tolist()
    return True
