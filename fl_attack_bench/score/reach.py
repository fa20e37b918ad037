"""How far each attack reaches: which defenses it breaks, by the rule by which the gate judges it where none is.

An attack breaks a row of the board where the same figure that the gate holds against the undefended baseline passes the
gate under the row's defense:

- images: at one moment of the training at least ``gate.share`` of the images have an MSE below ``gate.mse``;
- vertical tasks: the advantage over a blind guess is at least ``gate.advantage``, and a backdoor costs the main task at
  most ``gate.main_loss``;
- outsourced tasks know no gate: the mean MSE over victims is below a threshold;
- attacks by clients know no gate: the federation learns worse by more than ``gate.main_loss`` than from honest clients.

Whether the attack counts in the row's own figures is another matter: there the gate looks at the undefended alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fl_attack_bench.record import Reconstructed, Record
from fl_attack_bench.score.attacks import by_layer
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.estimates import mean, mean_known
from fl_attack_bench.score.gate import Gated, broken, judge
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.integrity import UnderAttack
from fl_attack_bench.score.learned import Quantity
from fl_attack_bench.score.outsourced.row import InputAttack, OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.triple import MOMENTS, Moment
from fl_attack_bench.score.utility import utilities
from fl_attack_bench.score.vertical.gate import VerticalGated, advantage, lost
from fl_attack_bench.score.vertical.gate import judge as judge_vertical
from fl_attack_bench.score.vertical.group import VerticalGroup
from fl_attack_bench.score.vertical.row import AttackResult, VerticalRow
from fl_attack_bench.suite import MethodSpec


@dataclass(frozen=True)
class AtMoment:
    """What an attack made of the victims at one moment.

    Args:
        moment: ``initial`` or ``trained``.
        mse: mean over images and seeds; None where it returns no images.
        share: of the images, pooled over seeds, that it rebuilds, in [0, 1]; None likewise.
        images: how many there are.
        labels: share of labels inferred rightly, mean over seeds; None where it infers none.
        correlations: by layer, of inferred with true representations, mean over seeds.
    """

    moment: Moment
    mse: float | None
    share: float | None
    images: int
    labels: float | None = None
    correlations: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Images:
    """What an attack made of the victims, one entry for each moment at which it was played."""

    moments: tuple[AtMoment, ...]

    @property
    def mse(self) -> float | None:
        """The lowest mean of any moment."""
        return min((one.mse for one in self.moments if one.mse is not None), default=None)


@dataclass(frozen=True)
class Harm:
    """What an attack by clients did to the training.

    Args:
        under: what was learned under it.
        quantity: in which ``under`` is told.
        lost: accuracy, or R^2 where the targets are numbers, that it cost; mean over the seeds that hold both
            trainings, below 0 where more was learned; None where no seed holds both.
    """

    under: UnderAttack
    quantity: Quantity
    lost: float | None


@dataclass(frozen=True)
class Gain:
    """What an attack on a vertical task reached.

    Args:
        result: its figures.
        advantage: over a blind guess under this row's defense, mean over seeds; below 0 where it is worse than that.
        lost: accuracy of the main task that a backdoor cost, as a fraction; 0 of other kinds.
    """

    result: AttackResult[Any]
    advantage: float
    lost: float


F = TypeVar("F", Images, Harm, Gain, InputAttack)
R = TypeVar("R", bound=BoardRow)


@dataclass(frozen=True)
class Reach(Generic[F]):
    """One attack with one set of parameters against one row of the board.

    Args:
        row: the defense; the undefended one too.
        spec: the attack as the suite wrote it.
        breaks: whether the row falls to it; None where nothing can be held against a gate: labels or representations of
            horizontal tasks, or no honest training to compare with.
        strongest: whether the row's figure is this attack's: it came closest on most of its images or samples, or did
            most harm, of the attacks that count.
        figures: what it reached.
    """

    row: BoardRow
    spec: MethodSpec
    breaks: bool | None
    strongest: bool
    figures: F


def on_images(rows: Sequence[Row], records: Mapping[str, Record]) -> tuple[Reach[Images], ...]:
    """Every attack by a curious server on the rows of one horizontal task and machine, row by row, then by label.

    Args:
        rows: of one task on one hardware profile, the undefended one among them where there is one.
        records: by cell id, at least the rows'.
    """
    group = _group(rows, records, Group)
    if group is None:
        return ()
    gated = judge(group)
    found = []
    for row in rows:
        played = _records(row, records)
        for attack, spec in _by_label(group.attacks_by_label(), group.specs):
            moments = tuple(
                _at_moment(done, moment, gated)
                for moment in MOMENTS
                if (done := list(group.reconstructed(played, attack, moment).values()))
            )
            if moments:
                shares = [one.share for one in moments if one.share is not None]
                breaks = max(shares) >= gated.gate.share if shares else None
                closest = row.privacy.strongest[0][0] if row.privacy else None
                found.append(Reach(row, spec, breaks, closest == spec.label, Images(moments)))
    return tuple(found)


def by_clients(rows: Sequence[Row], records: Mapping[str, Record]) -> tuple[Reach[Harm], ...]:
    """Likewise, every attack by malicious clients."""
    group = _group(rows, records, Group)
    if group is None:
        return ()
    asked = group.undefended or [record for played in group.defenses for record in played]
    most = min(record.gate.main_loss for record in asked)
    found = []
    for row in rows:
        for one in row.integrity.attacks if row.integrity else ():
            if row.integrity is None or one.learned is None:
                continue
            cost = _harm(group.sound(_records(row, records)), one.spec)
            worst = row.integrity.worst
            breaks = None if cost is None else cost > most
            strongest = worst is not None and worst.spec == one.spec
            found.append(Reach(row, one.spec, breaks, strongest, Harm(one, row.integrity.quantity, cost)))
    return tuple(found)


def on_vertical(rows: Sequence[VerticalRow], records: Mapping[str, Record]) -> tuple[Reach[Gain], ...]:
    """Every attack on the rows of one vertical task and machine; one that is of two kinds stands twice."""
    group = _group(rows, records, VerticalGroup)
    if group is None:
        return ()
    gated = judge_vertical(group)
    found = []
    for row in rows:
        worst = {id(one) for one in (row.backdoor, row.labels, row.features) if one is not None}
        results: list[AttackResult[Any]] = [*row.backdoors, *row.inferences, *row.inversions]
        for one in results:
            gain = _gain(group, _records(row, records), one)
            found.append(Reach(row, one.spec, _passes(gained=gain, gated=gated), id(one) in worst, gain))
    return tuple(found)


def on_inputs(rows: Sequence[OutsourcedRow], below: float) -> tuple[Reach[InputAttack], ...]:
    """Every attack on the rows of outsourced tasks.

    Args:
        rows: of any tasks: there is no baseline to hold an attack against.
        below: the mean MSE over victims and seeds below which a protocol is broken.
    """
    found = []
    for row in rows:
        for one in row.attacks:
            strongest = row.privacy is not None and row.privacy.worst == (one.attack, one.party)
            strongest = strongest and row.privacy is not None and row.privacy.moment == one.moment
            found.append(Reach(row, one.spec, one.mse.mean < below, strongest, one))
    return tuple(found)


def _records(row: BoardRow, records: Mapping[str, Record]) -> list[Record]:
    return [records[cell_id] for cell_id in row.records]


G = TypeVar("G", Group, VerticalGroup)


def _group(rows: Sequence[BoardRow], records: Mapping[str, Record], kind: Callable[[Sequence[Record]], G]) -> G | None:
    held = [record for row in rows for record in _records(row, records)]
    return kind(held) if held else None


def _by_label(order: Iterable[str], specs: Mapping[str, MethodSpec]) -> list[tuple[str, MethodSpec]]:
    return [(attack, specs[attack]) for attack in order if attack in specs]


def _at_moment(found: Sequence[Reconstructed], moment: Moment, gated: Gated) -> AtMoment:
    images = [score for done in found for score in sorted(done.victims, key=lambda score: score.victim)]
    return AtMoment(
        moment=moment,
        mse=mean([score.mse for score in images]) if images else None,
        share=sum(broken(score, gated.gate) for score in images) / len(images) if images else None,
        images=len(images),
        labels=mean_known([done.label_accuracy for done in found]),
        correlations=by_layer([done.correlations for done in found]),
    )


def _harm(sound: Sequence[Record], spec: MethodSpec) -> float | None:
    """Accuracy or R^2 that an attack by clients cost, mean over the seeds that hold both trainings."""
    honest = utilities(sound)
    under = {
        record.cell.seed: record.integrity.accuracy
        for record in sound
        if record.integrity is not None and key(record.cell.attack) == key(spec)
    }
    both = sorted(under.keys() & honest.keys())
    return mean([honest[seed].accuracy - under[seed] for seed in both]) if both else None


def _gain(group: VerticalGroup, played: Sequence[Record], result: AttackResult[Any]) -> Gain:
    held = list(group.results(played, key(result.spec), result.kind).values())
    cost = mean([lost(one) for one in held]) if result.kind == "backdoor" else 0.0
    return Gain(result, mean([advantage(one, result.kind) for one in held]), cost)


def _passes(gained: Gain, gated: VerticalGated) -> bool:
    return gained.advantage >= gated.least and gained.lost <= gated.most
