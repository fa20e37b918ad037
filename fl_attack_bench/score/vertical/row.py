"""A row of the vertical track: one defense on one task, with what attacks reach under it, its utility and its cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.learned import Spread
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks import VerticalTask

Kind = Literal["backdoor", "labels", "features"]
KINDS: tuple[Kind, ...] = ("backdoor", "labels", "features")


@dataclass(frozen=True)
class Backdoored:
    """What a backdoor attack reached; all shares in [0, 1].

    Args:
        success: of triggered test samples of other classes that are taken for the target; lower is better for the
            defense.
        accuracy: of the main task under the attack; higher is better.
        difference: mean of (under attack - honest) over the seeds that hold both; None where none does.
        scores: mean predicted probability of each class over the triggered samples, mean over seeds.
        diverged: seeds on which the training ran off.
        dormant: whether every training was the honest one's, as its test losses tell: the party departs from the
            protocol only when a triggered sample is to be predicted, and no look at the training can tell.
        spoils: whether it costs more accuracy of the main task than the gate allows: no backdoor that stays unnoticed.
    """

    success: Spread
    accuracy: Spread
    difference: float | None
    scores: tuple[float, ...]
    diverged: int
    dormant: bool = False
    spoils: bool = False


@dataclass(frozen=True)
class Inferred:
    """What a curious passive party inferred of the labels.

    Args:
        accuracy: share of unknown labels that it found; lower is better for the defense.
        majority: share of the most frequent class: what a blind guess finds; mean over seeds.
        known: how many labels it knew.
    """

    accuracy: Spread
    majority: float
    known: int


@dataclass(frozen=True)
class Rebuilt:
    """What a curious active party made of the features, which are in [0, 1].

    Args:
        mse: of the clipped reconstruction, mean over victims; higher is better for the defense.
        raw: without clipping, mean over victims and seeds.
        blind: of a guess without any embedding, likewise.
        victims: how many a seed.
        known: of how many samples it knew the features.
    """

    mse: Spread
    raw: float
    blind: float
    victims: int
    known: int


F = TypeVar("F", Backdoored, Inferred, Rebuilt)


@dataclass(frozen=True)
class AttackResult(Generic[F]):
    """One attack by itself under one defense, over the seeds that hold it.

    Args:
        attack: its label.
        spec: the attack as the suite wrote it.
        kind: told by what the records hold.
        figures: what it reached.
        advantage: over a blind guess, on the undefended baseline; None without an undefended record.
        passed: whether it passes the gate, that is, counts in the worst case.
        spoils: whether it does not because it spoils the main task of the baseline.
    """

    attack: str
    spec: MethodSpec
    kind: Kind
    figures: F
    advantage: float | None
    passed: bool
    spoils: bool


@dataclass(frozen=True)
class VerticalUtility:
    """The main task's test accuracy where all follow the protocol, as a fraction in [0, 1].

    Args:
        accuracy: mean over seeds; higher is better.
        sd: sample standard deviation over seeds; None for one seed.
        difference: mean of (this defense - undefended) over the seeds that both have; None where there are none.
        difference_sd: its sample standard deviation.
        seeds: number of seeds.
        diverged: seeds whose training diverged.
        floor: the trigger's success without any attack; None on a task without a backdoor.
        scores: mean predicted probability of each class over the triggered samples, mean over seeds.
    """

    accuracy: float
    sd: float | None
    difference: float | None
    difference_sd: float | None
    seeds: int
    diverged: int
    floor: Spread | None
    scores: tuple[float, ...]


@dataclass(frozen=True)
class PartyTraffic:
    """Bytes that one party sends and receives in one epoch, mean over epochs and seeds."""

    sent: float
    received: float


@dataclass(frozen=True)
class VerticalCostScore:
    """Bytes (exact) and seconds, means over seeds; lower is better. ``*_times`` are multiples of undefended.

    Args:
        epochs: of the training.
        exchanges: dependent one-way trips in one epoch.
        active: traffic of the party with the labels.
        passive: traffic of the others, by name, in the task's order.
        bytes_epoch: all bytes of all parties in one epoch; a training that stopped early is no cheaper by it.
        bytes_total: all bytes of all parties over the training.
        inference_bytes: of all parties for one prediction.
        network: modelled seconds of one epoch by link name.
        passive_seconds: the slowest passive party's in one epoch, measured; None where it was not.
        active_seconds: the active party's, measured.
        defense_seconds: the defense's own part of it.
        seconds: by link name: passive + active + network seconds of one epoch.
        epoch_times: of ``bytes_epoch``; None without an undefended record.
        up_times: of what the passive parties send.
        down_times: of what the active party sends.
        inference_times: of ``inference_bytes``.
        seconds_times: of ``seconds``, by link name.
    """

    epochs: int
    exchanges: float
    active: PartyTraffic
    passive: Mapping[str, PartyTraffic]
    bytes_epoch: float
    bytes_total: float
    inference_bytes: float
    network: Mapping[str, float]
    passive_seconds: float | None
    active_seconds: float | None
    defense_seconds: float | None
    seconds: Mapping[str, float]
    epoch_times: float | None = None
    up_times: float | None = None
    down_times: float | None = None
    inference_times: float | None = None
    seconds_times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VerticalRow(BoardRow):
    """One defense on one vertical task.

    ``verdict`` is ``scored``, or why no attack counts: ``attack too weak``, ``no baseline``, ``not attacked``.

    Args:
        backdoors: every backdoor attack by itself, by label.
        inferences: every inference of labels.
        inversions: every reconstruction of features.
        asked: kinds of attack of which at least one counts on the task.
        utility: None where no record holds an honest training.
        cost: None where no record holds one.
    """

    task: VerticalTask
    backdoors: tuple[AttackResult[Backdoored], ...]
    inferences: tuple[AttackResult[Inferred], ...]
    inversions: tuple[AttackResult[Rebuilt], ...]
    asked: frozenset[Kind]
    utility: VerticalUtility | None
    cost: VerticalCostScore | None

    @property
    def attacks(self) -> tuple[str, ...]:
        """The labels of all attacks that it has a figure of; one that is of two kinds stands twice."""
        found = [one.attack for one in self.backdoors]
        return (*found, *(one.attack for one in self.inferences), *(one.attack for one in self.inversions))

    @property
    def backdoor(self) -> AttackResult[Backdoored] | None:
        """Of the attacks that count, the one with the highest success; None where none counts.

        One that spoils the main task under this defense stands behind those that do not.
        """
        return max((one for one in self.backdoors if one.passed), key=_severity, default=None)

    @property
    def planted(self) -> AttackResult[Backdoored] | None:
        """The same among those that are planted in the training, so that the networks themselves carry the backdoor."""
        found = (one for one in self.backdoors if one.passed and not one.figures.dormant)
        return max(found, key=_severity, default=None)

    @property
    def labels(self) -> AttackResult[Inferred] | None:
        """Of the attacks that count, the one that finds most labels; None where none counts."""
        return max((one for one in self.inferences if one.passed), key=lambda a: a.figures.accuracy.mean, default=None)

    @property
    def features(self) -> AttackResult[Rebuilt] | None:
        """Of the attacks that count, the one with the lowest MSE; None where none counts."""
        return min((one for one in self.inversions if one.passed), key=lambda a: a.figures.mse.mean, default=None)

    @property
    def played(self) -> frozenset[Kind]:
        """Kinds of attack of which one that counts was played on the defense."""
        worst = {"backdoor": self.backdoor, "labels": self.labels, "features": self.features}
        return frozenset(kind for kind in KINDS if worst[kind] is not None)

    @property
    def competes(self) -> bool:
        """Whether the row may carry a Pareto mark.

        It is complete and scored, has a figure of every kind of attack that counts on the task, a utility and a cost,
        no honest training diverged, and its data are its baseline's.
        """
        sound = self.complete and self.verdict == "scored" and self.same_data and self.played == self.asked
        return sound and self.utility is not None and not self.utility.diverged and self.cost is not None


def _severity(result: AttackResult[Backdoored]) -> tuple[bool, float]:
    return not result.figures.spoils, result.figures.success.mean
