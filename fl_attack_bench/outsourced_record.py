"""What a record holds of an outsourced task: what was learned, what the attacks reached, what it cost."""

from typing import Annotated, Literal

from pydantic import Field

from fl_attack_bench.schema import Document

Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Party = Annotated[str, Field(max_length=80)]


class OutsourcedLearned(Document):
    """How well the protocol predicts the test set.

    Args:
        accuracy: of what the protocol itself predicts, on the test set.
        plain_accuracy: of the task's network, trained and played in the clear from the same seeds and batches in
            float64.
        weight_difference: largest difference between the protocol's weights after the last step and the plain ones;
            None where the protocol does not train, or ended with weights that are infinite or NaN.
        weight_rms_difference: the root of the mean squared difference.
        steps: training steps that were played.
        diverged: whether a weight or a prediction became infinite or NaN.
    """

    accuracy: Share
    plain_accuracy: Share
    weight_difference: NonNegative | None = None
    weight_rms_difference: NonNegative | None = None
    steps: Count
    diverged: bool = False


class InputError(Document):
    """How well a victim's features were reconstructed. Features are in [0, 1].

    Args:
        victim: the sample's id.
        mse: mean squared error of the reconstruction clipped to [0, 1]; higher is better for the defense.
        mse_raw: the same without clipping.
        blind: of the mean of all public samples of the same distribution: what a guess without any view reaches.
    """

    victim: Count
    mse: NonNegative
    mse_raw: NonNegative
    blind: NonNegative


class InputsReconstructed(Document):
    """What a party that follows the protocol made of its view.

    Args:
        party: whose view it was.
        moment: what it watched.
        victims: one entry a sample, in the task's order.
        known: of how many other samples it knew the features.
        auxiliary: how many public samples it had.
        knows_model: whether it knew the weights.
        seconds: wall seconds of the attack (timing).
    """

    party: Party
    moment: Literal["training", "inference"]
    victims: Annotated[list[InputError], Field(min_length=1, max_length=4096)]
    known: Count
    auxiliary: Count
    knows_model: bool
    seconds: NonNegative = 0.0


class PartyTraffic(Document):
    """Bytes of one party in one batch, mean over batches.

    Args:
        sent: online, to other parties.
        received: online, from other parties.
        offline_sent: ahead of the data: triples and masks.
        offline_received: likewise.
    """

    sent: NonNegative
    received: NonNegative
    offline_sent: NonNegative
    offline_received: NonNegative


class StageCost(Document):
    """What one batch costs at a stage. Bytes are exact; the seconds of ``network`` are modelled, the others measured.

    Args:
        batches: that the means are over.
        samples: in a batch.
        rounds: dependent one-way trips online.
        parties: by name.
        network: modelled online seconds by link name: bytes of the busiest party, and half a round trip for each trip.
        seconds: of computing, online: in each trip the slowest party's, summed over trips; median over batches
            (timing).
        offline_seconds: of computing ahead of the data, median (timing).
        party_seconds: of each party's computing, online, median (timing).
    """

    batches: Positive
    samples: Positive
    rounds: Count
    parties: Annotated[dict[Party, PartyTraffic], Field(max_length=16)]
    network: dict[str, NonNegative]
    seconds: NonNegative | None = None
    offline_seconds: NonNegative | None = None
    party_seconds: dict[Party, NonNegative] | None = None


class OutsourcedCost(Document):
    """What the protocol costs.

    Args:
        setup: once: keys, and the training set shared out; ``samples`` is its size.
        training: of one step; None where the protocol does not train.
        inference: of one batch, with a network that has predicted before: what is done once for its weights (under
            sharing, to open them masked) is not in it.
        bytes_total: sent by all parties over setup and training.
    """

    setup: StageCost
    training: StageCost | None = None
    inference: StageCost
    bytes_total: Count


class OutsourcedResult(Document):
    """All that a record holds of an outsourced task; what the cell's attack does not bring is None.

    Args:
        learned: how well it predicts.
        inputs: what an adversary reconstructed.
        cost: of the protocol.
    """

    learned: OutsourcedLearned | None = None
    inputs: InputsReconstructed | None = None
    cost: OutsourcedCost | None = None
