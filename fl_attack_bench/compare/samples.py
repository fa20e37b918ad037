"""The figures of every defense of one task, and the samples that they are means of, on all three tracks.

What counts, and in the worst case of which attack, is the board's decision: the rows are those of
:mod:`fl_attack_bench.score`. A figure of a horizontal task is paired at each defense's own worse moment; the
victims are the same at both. On outsourced tasks they are not, and each moment has a figure of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from fl_attack_bench.compare.figures import Figure, Measure, Side, estimated, seeded
from fl_attack_bench.compare.paired import Pair
from fl_attack_bench.record import Record
from fl_attack_bench.score.estimates import mean
from fl_attack_bench.score.gate import Gated, judge
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.integrity import UnderAttack
from fl_attack_bench.score.learned import Quantity, figure, quantity
from fl_attack_bench.score.outsourced import outsourced_rows
from fl_attack_bench.score.outsourced.group import OutsourcedGroup
from fl_attack_bench.score.outsourced.row import Exposure, OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.table import rows
from fl_attack_bench.score.utility import utilities
from fl_attack_bench.score.vertical import vertical_rows
from fl_attack_bench.score.vertical.group import VerticalGroup
from fl_attack_bench.score.vertical.row import VerticalRow

MSE = Measure("reconstruction MSE", "privacy", "mse", higher=True)
BACKDOOR = Measure("backdoor success", "privacy", "share", higher=False)
LABELS = Measure("labels inferred", "privacy", "share", higher=False)
FEATURES = Measure("feature MSE", "privacy", "mse", higher=True)
ATTACKED = Measure("accuracy under attack", "privacy", "share", higher=True)
ATTACKED_RMSE = Measure("RMSE under attack", "privacy", "rmse", higher=False)
ACCURACY = Measure("test accuracy", "utility", "share", higher=True)
RMSE = Measure("test RMSE", "utility", "rmse", higher=False)
Found = tuple[Measure, Figure]
R = TypeVar("R", Row, VerticalRow, OutsourcedRow)


def horizontal(records: Sequence[Record]) -> list[Side]:
    """The defenses of one horizontal task; ``records`` are all of its records, the undefended ones among them."""
    group = Group(records)
    gated = judge(group)
    what = quantity(record for played in group.defenses for record in group.sound(played))
    return _sides(group.defenses, rows(records), lambda row, played: _horizontal(group, gated, row, played, what))


def vertical(records: Sequence[Record]) -> list[Side]:
    """The defenses of one vertical task."""
    group = VerticalGroup(records)
    return _sides(group.defenses, vertical_rows(records), lambda row, played: _vertical(group, row, played))


def outsourced(records: Sequence[Record]) -> list[Side]:
    """The protocols of one outsourced task."""
    group = OutsourcedGroup(records)
    return _sides(group.defenses, outsourced_rows(records), lambda row, played: _outsourced(group, row, played))


def _sides(
    defenses: Sequence[Sequence[Record]], scored: Iterable[R], figures: Callable[[R, Sequence[Record]], Iterator[Found]]
) -> list[Side]:
    """Each defense's row with its figures."""
    by_spec = {key(row.spec): row for row in scored}
    found = []
    for played in defenses:
        row = by_spec[key(played[0].cell.defense)]
        found.append(Side(row, dict(figures(row, played)), tuple(played)))
    return found


def _horizontal(group: Group, gated: Gated, row: Row, played: Sequence[Record], what: Quantity) -> Iterator[Found]:
    if row.privacy is not None:
        closest: dict[Pair, float] = {}
        for attack in gated.counting(row.privacy.moment):
            for image, score in group.victim_scores(played, attack, row.privacy.moment).items():
                closest[image] = min(score.mse, closest.get(image, score.mse))
        yield MSE, estimated(row.privacy.mean, closest, f"{row.privacy.strongest[0][0]}, {row.privacy.moment}")
    if row.integrity is not None and row.integrity.worst is not None:
        yield _under_attack(group, row.integrity.worst, played, what)
    learned = utilities(group.sound(played))
    if learned:
        accuracies = {seed: one.accuracy for seed, one in sorted(learned.items())}
        if what == "accuracy":
            yield ACCURACY, seeded(accuracies)
        else:
            yield RMSE, seeded({seed: figure(one, what) for seed, one in sorted(learned.items())})
    if row.cost is not None:
        costs = {record.cell.seed: record.cost for record in group.sound(played) if record.cost is not None}
        yield _bytes("bytes a round", {seed: one.bytes_total / one.rounds for seed, one in sorted(costs.items())})
        yield from _seconds("seconds a round", row.cost.seconds)


def _under_attack(group: Group, worst: UnderAttack, played: Sequence[Record], what: Quantity) -> Found:
    held = {
        record.cell.seed: figure(record.integrity, what)
        for record in group.sound(played)
        if record.integrity is not None and record.cell.attack == worst.spec
    }
    return ATTACKED if what == "accuracy" else ATTACKED_RMSE, seeded(held, worst.attack)


def _vertical(group: VerticalGroup, row: VerticalRow, played: Sequence[Record]) -> Iterator[Found]:
    if (backdoor := row.backdoor) is not None:
        results = group.results(played, key(backdoor.spec), "backdoor")
        triggered = {seed: one.attacked.triggered for seed, one in results.items() if one.attacked is not None}
        success = {seed: one.success for seed, one in triggered.items() if one is not None}
        yield BACKDOOR, seeded(success, backdoor.attack)
    if (labels := row.labels) is not None:
        results = group.results(played, key(labels.spec), "labels")
        inferred = {seed: one.labels.accuracy for seed, one in results.items() if one.labels is not None}
        yield LABELS, seeded(inferred, labels.attack)
    if (features := row.features) is not None:
        results = group.results(played, key(features.spec), "features")
        rebuilt = {seed: one.features.victims for seed, one in results.items() if one.features is not None}
        errors: dict[Pair, float] = {
            (seed, place, one.victim): one.mse for seed, own in rebuilt.items() for place, one in enumerate(own)
        }
        by_seed = seeded({seed: mean([one.mse for one in own]) for seed, own in rebuilt.items()})
        yield FEATURES, Figure(by_seed.value, by_seed.low, by_seed.high, errors, features.attack)
    honest = group.honest(played)
    if honest:
        yield ACCURACY, seeded({seed: one.accuracy for seed, one in honest.items()})
    if row.cost is not None:
        held = {record.cell.seed: record.vertical.cost for record in group.sound(played) if record.vertical is not None}
        sent = {seed: one.bytes_total / one.epochs for seed, one in sorted(held.items()) if one is not None}
        yield _bytes("bytes an epoch", sent)
        yield from _seconds("seconds an epoch", row.cost.seconds)


def _outsourced(group: OutsourcedGroup, row: OutsourcedRow, played: Sequence[Record]) -> Iterator[Found]:
    for exposure in row.exposures:
        if exposure.party is None:  # each moment has victims of its own
            attack, party = exposure.worst
            by = f"{attack} in the view of {party}" if attack else "a guess without any view"
            measure = Measure(f"input MSE, {exposure.moment}", "privacy", "mse", higher=True)
            yield measure, estimated(exposure.mean, _closest(group, exposure, played), by)
    results = group.results(played)
    learned = {seed: [one.learned for one in own if one.learned is not None] for seed, own in results.items()}
    accuracies = {seed: own[0].accuracy for seed, own in learned.items() if own}
    if accuracies:
        yield ACCURACY, seeded(accuracies)
    costs = {seed: [one.cost for one in own if one.cost is not None] for seed, own in results.items()}
    for name, per in (("training", "a training step"), ("inference", "an inference batch")):
        stages = {seed: getattr(own[0], name) for seed, own in costs.items() if own}
        sent = {
            seed: sum(party.sent + party.offline_sent for party in stage.parties.values())
            for seed, stage in stages.items()
            if stage is not None
        }
        if sent:
            yield _bytes(f"bytes, {per}", sent)
        whole = getattr(row.cost, name) if row.cost is not None else None
        if whole is not None:
            yield from _seconds(f"seconds, {per}", whole.seconds)


def _closest(group: OutsourcedGroup, exposure: Exposure, played: Sequence[Record]) -> dict[Pair, float]:
    """By seed and sample, the lowest MSE of any attack or of the best guess of the protocol's and the undefended's."""
    closest: dict[Pair, float] = {}
    for records, own in ((group.undefended, False), (played, True)):
        for attack in group.attacks_by_label():
            for seed, inputs in group.reconstructed(records, attack).items():
                for one in inputs.victims if inputs.moment == exposure.moment else ():
                    reached = min(one.mse, one.blind) if own else one.blind
                    closest[seed, one.victim] = min(reached, closest.get((seed, one.victim), reached))
    held = {
        (seed, one.victim)
        for attack in group.attacks_by_label()
        for seed, inputs in group.reconstructed(played, attack).items()
        for one in (inputs.victims if inputs.moment == exposure.moment else ())
    }
    return {pair: value for pair, value in closest.items() if pair in held}


def _bytes(name: str, by_seed: Mapping[int, float]) -> Found:
    """Bytes are exact: they need no interval."""
    return Measure(name, "cost", "bytes", higher=False), Figure(mean(list(by_seed.values())))


def _seconds(name: str, by_link: Mapping[str, float]) -> Iterator[Found]:
    for link, value in sorted(by_link.items()):
        yield Measure(f"{name}, {link}", "cost", "seconds", higher=False), Figure(value)
