"""What a curious party of a vertical training sees: what the wire delivered to it, sorted by sample."""

import torch
from torch import Tensor

from fl_attack_bench.aggregation import dense
from fl_attack_bench.api import ACTIVE, Batch, FeatureParty, Following, SeenEpoch
from fl_attack_bench.scenarios import vertical, vertical_parties
from fl_attack_bench.scenarios.vertical import Collaboration
from fl_attack_bench.wire import Wire


class Curious(Following):
    """A passive party that does what the honest one does, and keeps what it sent.

    Args:
        honest: its honest self.
    """

    def __init__(self, honest: FeatureParty) -> None:
        super().__init__(honest)
        self.sent: list[tuple[Batch, Tensor]] = []

    def embed(self, batch: Batch) -> Tensor:
        """As the honest one; what is sent is kept."""
        embeddings = super().embed(batch)
        self.sent.append((batch, embeddings))
        return embeddings


def epochs(curious: Curious, wire: Wire, samples: int, width: int) -> tuple[SeenEpoch, ...]:
    """What a curious passive party sent and was sent in every whole epoch.

    Args:
        curious: the party.
        wire: that watched it.
        samples: N.
        width: d, entries of an embedding.
    """
    messages = [message for message in wire.view() if message.topic == vertical_parties.GRADIENTS]
    found: dict[int, SeenEpoch] = {}
    counts: dict[int, int] = {}
    # Where the training ran off, the last embeddings were sent and never answered.
    for (batch, embeddings), message in zip(curious.sent, messages, strict=False):
        if batch.epoch not in found:
            empty = embeddings.new_zeros(samples, width)
            found[batch.epoch] = SeenEpoch(empty, empty.clone(), torch.zeros_like(empty, dtype=torch.bool))
        seen, returned = found[batch.epoch], vertical_parties.read(message.payload(), len(batch.rows), width)
        seen.embeddings[batch.rows] = embeddings
        seen.gradients[batch.rows] = returned.values.to(embeddings)
        sent = torch.ones_like(returned.values, dtype=torch.bool) if returned.sent is None else returned.sent
        seen.sent[batch.rows] = sent.to(embeddings.device)
        counts[batch.epoch] = counts.get(batch.epoch, 0) + len(batch.rows)
    return tuple(found[epoch] for epoch in sorted(found) if counts[epoch] == samples)


def embeddings(collaboration: Collaboration, wire: Wire, samples: int) -> dict[str, tuple[Tensor, ...]]:
    """By passive party, what a curious active party was sent of each sample in every whole epoch, shape ``(N, d)``.

    Args:
        collaboration: the parties.
        wire: that watched the active one.
        samples: N.
    """
    found: dict[str, dict[int, Tensor]] = {name: {} for name in collaboration.parties}
    counts: dict[tuple[str, int], int] = {}
    for message in wire.view():
        if message.topic != vertical.EMBEDDINGS or message.receiver != ACTIVE:
            continue
        own, epoch = found[message.sender], message.round
        seen = counts.get((message.sender, epoch), 0)
        if epoch not in own:
            own[epoch] = torch.zeros(samples, collaboration.width)
        values = dense(message.payload(), vertical.EMBEDDINGS)
        own[epoch][seen : seen + len(values)] = values
        counts[message.sender, epoch] = seen + len(values)
    whole: dict[str, tuple[Tensor, ...]] = {}
    for name, by_epoch in found.items():
        whole[name] = tuple(
            _by_sample(collaboration, epoch, by_epoch[epoch])
            for epoch in sorted(by_epoch)
            if counts[name, epoch] == samples
        )
    return whole


def _by_sample(collaboration: Collaboration, epoch: int, values: Tensor) -> Tensor:
    """Rows in the order in which they were sent, put at their samples' ids."""
    rows = torch.cat([batch.rows for batch in collaboration.batches(epoch)])
    return torch.empty_like(values).index_copy(0, rows.to(values.device), values).to(rows.device)
