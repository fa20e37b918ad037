"""What a record holds of a vertical task: what was learned, what the attacks reached, what it cost."""

from typing import Annotated

from pydantic import Field

from fl_attack_bench.schema import Document

Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Points = Annotated[list[tuple[int, Share]], Field(max_length=10_001)]


class Triggered(Document):
    """What the trained parties make of test samples that carry the trigger and are not of the target class.

    Args:
        samples: how many.
        success: share that is taken for the target class, after the last epoch.
        curve: ``(epoch, success)``.
        scores: mean predicted probability of each class.
    """

    samples: Annotated[int, Field(ge=1)]
    success: Share
    curve: Points
    scores: Annotated[list[Share], Field(max_length=10_000)]


class VerticalLearned(Document):
    """How well the parties learned, on the clean test set.

    Args:
        accuracy: of the main task after the last epoch; of the last finite model where the training diverged.
        curve: ``(epoch, accuracy)``.
        losses: ``(epoch, mean cross entropy in nats)``; those that are finite.
        diverged: whether an embedding, a gradient or a weight became infinite or NaN; the training then ended.
        triggered: None on a task without a backdoor.
    """

    accuracy: Share
    curve: Points
    losses: Annotated[list[tuple[int, float]], Field(max_length=10_001)] = []
    diverged: bool = False
    triggered: Triggered | None = None


class LabelsInferred(Document):
    """How many training labels a curious passive party found.

    Args:
        accuracy: share found, over the samples whose label it did not know.
        majority: share of the most frequent class among these: what a blind guess reaches.
        samples: how many these are.
        known: how many labels it knew.
        seconds: wall seconds of the attack (timing).
    """

    accuracy: Share
    majority: Share
    samples: Annotated[int, Field(ge=1)]
    known: Count
    seconds: NonNegative = 0.0


class FeatureError(Document):
    """How well a sample's features were reconstructed. Features are in [0, 1].

    Args:
        victim: the training sample's id.
        mse: mean squared error of the reconstruction clipped to [0, 1]; higher is better for the defense.
        mse_raw: the same without clipping.
        blind: of the mean of the known samples: what a guess without any embedding reaches.
    """

    victim: Count
    mse: NonNegative
    mse_raw: NonNegative
    blind: NonNegative


class FeaturesReconstructed(Document):
    """What a curious active party made of the embeddings.

    Args:
        victims: one entry a sample, in the task's order.
        known: of how many samples it knew the features.
        seconds: wall seconds of the attack (timing).
    """

    victims: Annotated[list[FeatureError], Field(min_length=1, max_length=4096)]
    known: Count
    seconds: NonNegative = 0.0


class PartyBytes(Document):
    """Bytes of one party in one epoch, mean over epochs.

    Args:
        sent: to other parties.
        received: from other parties.
    """

    sent: NonNegative
    received: NonNegative


class VerticalCost(Document):
    """What the training costs under the defense. Bytes are exact; the seconds of ``network`` are modelled.

    Args:
        epochs: of the training, those that were played to their end.
        exchanges: dependent one-way trips in one epoch.
        parties: by name, the active party among them.
        bytes_total: all bytes sent by all parties over these epochs.
        inference_bytes: sent by all parties for one prediction, in batches as the test set is predicted.
        network: modelled seconds of one epoch by link name.
        passive_seconds: the slowest passive party's in one epoch, median over epochs: they compute side by side.
        active_seconds: the active party's in one epoch, median.
        defense_seconds: the part of it that is the defense's own.
    """

    epochs: Annotated[int, Field(ge=1)]
    exchanges: Annotated[int, Field(ge=1)]
    parties: Annotated[dict[str, PartyBytes], Field(max_length=65)]
    bytes_total: Count
    inference_bytes: NonNegative
    network: dict[str, NonNegative]
    passive_seconds: NonNegative | None = None
    active_seconds: NonNegative | None = None
    defense_seconds: NonNegative | None = None


class VerticalResult(Document):
    """All that a record holds of a vertical task; what the cell's attack does not bring is None.

    Args:
        honest: what the parties learned where all follow the protocol.
        attacked: what they learned where the attack's party took the malicious one's place.
        labels: what a curious passive party inferred.
        features: what a curious active party reconstructed.
        cost: of the honest training.
    """

    honest: VerticalLearned | None = None
    attacked: VerticalLearned | None = None
    labels: LabelsInferred | None = None
    features: FeaturesReconstructed | None = None
    cost: VerticalCost | None = None
