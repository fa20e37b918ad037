"""A row of the outsourced track: one protocol on one task, with what attacks reach, its utility and its cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.score.learned import Spread
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks import OutsourcedTask

Moment = Literal["training", "inference"]
MOMENTS: tuple[Moment, ...] = ("training", "inference")
STAGES: tuple[Moment, ...] = MOMENTS
BLIND = ("", "")  # in place of an attack and its party: a guess without any view
_VIEWS = ("third", "labels", "compute/0", "compute/1")


@dataclass(frozen=True)
class Exposure:
    """The lowest error that any attack reached, sample by sample: over all views, or in one party's.

    Where an attack is farther off than the best guess without any view, the guess stands in its place: somebody who
    looks at nothing is the least adversary.

    Args:
        party: whose view; None for all.
        moment: what was watched. Its victims are others than the other moment's.
        mean: MSE over samples and seeds, clipped features in [0, 1]; higher is better for the defense.
        median: likewise.
        blind: mean MSE of the guess.
        exact: share of samples recovered as they were, in [0, 1]; lower is better.
        near: share recovered with a root mean squared error below 0.1.
        chances: share recovered within each of :data:`~fl_attack_bench.score.outsourced.chance.DELTAS`.
        blind_chances: likewise, of the guess.
        samples: how many there are: victims x seeds.
        strongest: attack and party with the number of samples on which it came closest, most often first; ``BLIND``
            counts those on which no attack did better than the guess.
    """

    party: str | None
    moment: Moment
    mean: Estimate
    median: Estimate
    blind: float
    exact: float
    near: float
    chances: tuple[float, ...]
    blind_chances: tuple[float, ...]
    samples: int
    strongest: tuple[tuple[tuple[str, str], int], ...]

    @property
    def worst(self) -> tuple[str, str]:
        """Attack and party that came closest most often; of no attack where the guess did."""
        return self.strongest[0][0]

    @property
    def guessed(self) -> int:
        """On how many samples no attack did better than the guess."""
        return dict(self.strongest).get(BLIND, 0)


@dataclass(frozen=True)
class InputAttack:
    """One attack by itself under one protocol, over the seeds that hold it. Nothing is capped.

    Args:
        attack: its label.
        spec: the attack as the suite wrote it.
        party: whose view it had.
        moment: what it watched.
        mse: of the clipped reconstruction, mean over victims; higher is better for the defense.
        raw: without clipping, mean over victims and seeds.
        blind: of a guess without any view, from the same public and known samples.
        lowest: the least MSE of any victim.
        exact: share of victims recovered as they were.
        near: share recovered with a root mean squared error below 0.1.
        victims: how many a seed.
        known: of how many other samples it knew the features.
        auxiliary: how many public samples it had.
        knows_model: whether it knew the weights.
    """

    attack: str
    spec: MethodSpec
    party: str
    moment: Moment
    mse: Spread
    raw: float
    blind: float
    lowest: float
    exact: float
    near: float
    victims: int
    known: int
    auxiliary: int
    knows_model: bool


@dataclass(frozen=True)
class NoView:
    """An attack that could not be played: under this protocol its party gets nothing that it works on."""

    attack: str
    reason: str


@dataclass(frozen=True)
class OutsourcedUtility:
    """Test accuracy of what the protocol predicts, as a fraction in [0, 1].

    Args:
        accuracy: mean over seeds; higher is better.
        sd: sample standard deviation over seeds; None for one seed.
        plain: of the task's network, trained and played in the clear on the same seeds.
        difference: mean of (this protocol - plain).
        difference_sd: its sample standard deviation.
        weights: largest difference between the protocol's weights and the plain ones, the largest over seeds; None
            where no record holds one.
        weights_rms: the root of the mean squared difference, mean over seeds.
        steps: of the training.
        seeds: number of seeds.
        diverged: seeds on which a weight or a prediction became infinite or NaN.
    """

    accuracy: float
    sd: float | None
    plain: float
    difference: float
    difference_sd: float | None
    weights: float | None
    weights_rms: float | None
    steps: int
    seeds: int
    diverged: int


@dataclass(frozen=True)
class Traffic:
    """Bytes of one party in one batch, mean over batches and seeds; ``offline`` is what depends on no data."""

    sent: float
    received: float
    offline_sent: float
    offline_received: float


@dataclass(frozen=True)
class StageScore:
    """One batch at one stage: bytes (exact) and seconds, means over seeds; lower is better.

    Args:
        samples: in a batch.
        rounds: dependent one-way trips online.
        parties: traffic by party.
        online: bytes that all parties send while the data is there.
        offline: bytes that they send ahead of it.
        network: modelled online seconds by link name.
        computing: measured online seconds; None where they were not.
        offline_seconds: measured seconds of computing ahead of the data.
        party_seconds: of each party's computing online.
        seconds: by link name: computing and network.
        bytes_times: multiple of the undefended, of online and offline bytes together; None without an undefended one.
        seconds_times: multiple of the undefended by link name.
    """

    samples: int
    rounds: float
    parties: Mapping[str, Traffic]
    online: float
    offline: float
    network: Mapping[str, float]
    computing: float | None
    offline_seconds: float | None
    party_seconds: Mapping[str, float]
    seconds: Mapping[str, float]
    bytes_times: float | None = None
    seconds_times: Mapping[str, float] = field(default_factory=dict)

    @property
    def bytes(self) -> float:
        """Online and offline."""
        return self.online + self.offline


@dataclass(frozen=True)
class OutsourcedCostScore:
    """What the protocol costs.

    Args:
        setup: once, for the whole training set.
        training: one step; None where the protocol does not train.
        inference: one batch.
        bytes_total: of all parties over setup and training.
    """

    setup: StageScore
    training: StageScore | None
    inference: StageScore
    bytes_total: float

    def stage(self, name: Moment) -> StageScore | None:
        """A stage by its name."""
        return self.training if name == "training" else self.inference


@dataclass(frozen=True, kw_only=True)
class OutsourcedRow(BoardRow):
    """One protocol on one outsourced task.

    ``verdict`` is ``scored``, or why it has no figure of the attacks: ``no attack applies`` where none has a view to
    work on, ``not played`` where the protocol cannot be played on the task, ``not attacked``.

    Args:
        exposures: over all views and by party, at each moment at which an attack could be played.
        attacks: every attack by itself, by label.
        no_view: the attacks that could not be played on any seed.
        utility: None where no record holds one.
        cost: None where no record holds one.
    """

    task: OutsourcedTask
    exposures: tuple[Exposure, ...]
    attacks: tuple[InputAttack, ...]
    no_view: tuple[NoView, ...]
    utility: OutsourcedUtility | None
    cost: OutsourcedCostScore | None

    @property
    def privacy(self) -> Exposure | None:
        """Over all views, at the moment that is worse for the protocol."""
        return self._worse(None)

    @property
    def views(self) -> tuple[Exposure, ...]:
        """By party, each at the moment that is worse for the protocol."""
        parties = in_view_order({one.party for one in self.exposures if one.party is not None})
        return tuple(found for party in parties if (found := self._worse(party)))

    @property
    def competes(self) -> bool:
        """Whether the row may carry a Pareto mark.

        It is complete and scored, has a utility and measured seconds, no training diverged, and its data are its
        baseline's.
        """
        sound = self.complete and self.verdict == "scored" and self.same_data and self.privacy is not None
        learned = self.utility is not None and not self.utility.diverged
        return sound and learned and self.cost is not None and bool(self.cost.inference.seconds)

    def _worse(self, party: str | None) -> Exposure | None:
        """By what is left of the guess's error: the moments have other victims, some easier to guess."""
        own = (one for one in self.exposures if one.party == party)
        return min(own, key=lambda one: one.mean.value / one.blind if one.blind else one.mean.value, default=None)


def in_view_order(parties: set[str]) -> list[str]:
    """The third party first, then who holds the labels, the compute parties, and all others by name."""
    return sorted(parties, key=lambda name: (_VIEWS.index(name) if name in _VIEWS else len(_VIEWS), name))
