"""The honest parties of a vertical training, and what their messages look like."""

import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from fl_attack_bench.aggregation import dense
from fl_attack_bench.api import ACTIVE, Batch, Exchange, FeatureParty, Returned, Summation, Top, VerticalDefense
from fl_attack_bench.codec import CodecError, Dense, Payload, Sparse
from fl_attack_bench.errors import UserError
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.models.bottom import BottomNetwork
from fl_attack_bench.seeds import Streams

GRADIENTS = "gradients"
ALL = "all"


class HonestParty(FeatureParty):
    """A passive party that follows the protocol.

    Args:
        features: its own, shape ``(N, p)``.
        network: its bottom model.
        learning_rate: of its steps.
    """

    def __init__(self, features: Tensor, network: BottomNetwork, learning_rate: float) -> None:
        self._features = features
        self._network = network.to(features.device)
        self._learning_rate = learning_rate
        self._passed: list[Tensor] = []

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tensor:
        """Its embeddings; what led to them is kept for the step that follows."""
        self._passed = self._network.passed(self._features[batch.rows])
        return self._passed[-1]

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        """A step of stochastic gradient descent along ``1/B sum_i dl_i/dH_i dH_i/dtheta`` (equation 5)."""
        if not self._passed:
            raise RuntimeError("a gradient for embeddings that were never sent")
        self._network.step(self._passed, gradients, self._learning_rate / len(batch.rows))
        self._passed = []

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """The embeddings of new samples."""
        found: Tensor = self._network(features)
        return found

    def public(self) -> nn.Module:
        """A copy of its bottom model that shares nothing with it."""
        return copy.deepcopy(self._network).eval()


class ActiveParty:
    """The party with the labels: it owns the top model and follows the protocol.

    Args:
        labels: shape ``(N,)``.
        names: the passive parties, in the order in which the top model takes their embeddings.
        width: d, entries of an embedding.
        classes: number of labels.
        defense: what it does about the others.
        learning_rate: of its steps.
        streams: for the top model's weights and the defense.

    Raises:
        UserError: an embedding is too short for the sum of the embeddings to be the logits.
    """

    def __init__(
        self,
        labels: Tensor,
        names: tuple[str, ...],
        width: int,
        classes: int,
        defense: VerticalDefense,
        learning_rate: float,
        streams: Streams,
    ) -> None:
        self._labels, self._names, self._classes = labels, names, classes
        self._named = type(defense).__name__
        self._defense, self._learning_rate = defense, learning_rate
        top = defense.top(len(names), width, classes, streams.generator("weights", ACTIVE))
        if top is None and width < classes:
            raise UserError(f"bottom: outputs={width} is less than {classes} classes, and their sum is the logits")
        self.top: Top = (top or Summation()).to(labels.device)
        self._model = FlatModel(self.top, labels.device) if list(self.top.parameters()) else None
        self._rng = streams.generator("defense")
        self._memory: dict[str, dict[str, Tensor]] = {}
        self.loss = 0.0

    def answer(
        self, batch: Batch, embeddings: Mapping[str, Tensor], clock: Callable[[], float]
    ) -> tuple[dict[str, Returned], float]:
        """Step the top model; returns the gradients by receiver, and the seconds that the defense took."""
        began = clock()
        stacked = self._taken_in(batch, embeddings)
        spent = clock() - began
        labels = self._labels[batch.rows]
        loss, gradient = self._step(stacked, labels)
        self.loss += loss
        began = clock()
        receivers = {ALL: gradient[0]} if self.top.shared else dict(zip(self._names, gradient, strict=True))
        returned = {
            name: self._defense.outgoing(Returned(values), self._exchange(batch, name, "outgoing"))
            for name, values in receivers.items()
        }
        spent += clock() - began
        for name, values in receivers.items():
            self._check("outgoing", returned[name].values, values)
            if (sent := returned[name].sent) is not None and (sent.dtype != torch.bool or sent.shape != values.shape):
                raise UserError(f"{self._named}: outgoing must say what is sent by a mask of {tuple(values.shape)}")
        return returned, spent

    def _step(self, stacked: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """Step the top model; returns the loss, and each sample's gradient of its own loss by party."""
        if self._model is None and isinstance(self.top, Summation):
            probabilities = F.log_softmax(self.top(stacked), 1)
            loss = -probabilities.gather(1, labels[:, None]).sum()
            gradient = probabilities.exp_().scatter_add_(1, labels[:, None], -torch.ones_like(probabilities[:, :1]))
            return float(loss), gradient[None]
        stacked.requires_grad_()
        # The sum over samples: each one's gradient is that of its own loss.
        total = F.cross_entropy(self._forward(stacked), labels, reduction="sum")
        own = [] if self._model is None else list(self.top.parameters())
        gradient, *steps = torch.autograd.grad(total, [stacked, *own])
        if self._model is not None:
            step = torch.cat([part.flatten() for part in steps])
            self._model.weights.sub_(step, alpha=self._learning_rate / len(labels))
        return float(total.detach()), gradient

    @torch.no_grad()
    def logits(self, batch: Batch, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Of new samples, shape ``(M, classes)``, from their embeddings; the batch's rows are their places."""
        return self._forward(self._taken_in(batch, embeddings, predicting=True))[:, : self._classes]

    def _taken_in(self, batch: Batch, embeddings: Mapping[str, Tensor], *, predicting: bool = False) -> Tensor:
        """What the defense makes of the embeddings, shape ``(K, B, d)``."""
        moment = "predicting" if predicting else "incoming"
        found = []
        for name in self._names:
            changed = self._defense.incoming(embeddings[name], self._exchange(batch, name, moment, predicting))
            self._check("incoming", changed, embeddings[name])
            found.append(changed)
        return torch.stack(found)

    def _forward(self, stacked: Tensor) -> Tensor:
        logits: Tensor = self.top(stacked)
        if logits.ndim != 2 or logits.shape[0] != stacked.shape[1] or logits.shape[1] < self._classes:
            expected = f"({stacked.shape[1]}, {self._classes} or more)"
            raise UserError(f"{self._named}: its top model gives {tuple(logits.shape)} in place of {expected}")
        return logits

    def _exchange(self, batch: Batch, receiver: str, moment: str, predicting: bool = False) -> Exchange:
        memory = self._memory.setdefault(f"{moment} {receiver}", {})
        return Exchange(batch, len(self._labels), receiver, self._rng, memory, predicting)

    def _check(self, verb: str, found: Tensor, given: Tensor) -> None:
        if not isinstance(found, Tensor) or found.shape != given.shape or found.dtype != given.dtype:
            shown = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise UserError(f"{self._named}: {verb} gives {shown} in place of {given.dtype} {tuple(given.shape)}")


def written(returned: Returned) -> Payload:
    """The gradients as they travel: sparse where the defense dropped some."""
    if returned.sent is None:
        return Payload.dense(returned.values, GRADIENTS)
    indices = returned.sent.flatten().nonzero().squeeze(1)
    values = returned.values.flatten()[indices]
    return Payload({GRADIENTS: Sparse(indices, values, returned.values.numel())})


def read(payload: Payload, samples: int, width: int) -> Returned:
    """The gradients as they were sent, shape ``(samples, width)``; what was not sent is zero.

    Raises:
        CodecError: the message holds something else.
    """
    part = payload.parts.get(GRADIENTS)
    if isinstance(part, Dense):
        return Returned(dense(payload, GRADIENTS, torch.float32, (samples, width)))
    if part is None or part.length != samples * width:
        raise CodecError(f"no gradients of {samples} samples in a message of {', '.join(payload.parts)}")
    values = part.values.new_zeros(part.length).index_copy(0, part.indices, part.values)
    sent = torch.zeros(part.length, dtype=torch.bool).index_fill(0, part.indices, True)
    return Returned(values.view(samples, width), sent.view(samples, width))
