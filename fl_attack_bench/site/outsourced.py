"""What the page of an outsourced task says: who takes part, the layers, views, single attacks, bytes by party."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fl_attack_bench.record import Record
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.outsourced import Elsewhere, elsewhere, published
from fl_attack_bench.score.outsourced.row import (
    STAGES,
    Exposure,
    InputAttack,
    Moment,
    OutsourcedRow,
    StageScore,
    in_view_order,
)
from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.cards import AttackCard, attack_cards
from fl_attack_bench.site.contents import Scene
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks import OutsourcedTask
from fl_attack_bench.tasks.outsourced import Layer

__all__ = ["STAGES", "elsewhere", "published"]

BREAKS = 0.01  # mean squared error below which an attack is said to break a protocol, as on the horizontal track
_ROLES = {
    "owner": "holds the features, and gets the predictions",
    "labels": "holds the labels",
    "compute/0": "computes: on its shares, on ciphertexts or, undefended, on the data",
    "compute/1": "computes on its shares",
    "helper": "deals out triples and masks ahead of the data",
    "third": "evaluates what is not linear, on what it is shown",
}
_WORDS = {"relu": "ReLU", "sigmoid": "sigmoid", "square": "square"}


@dataclass(frozen=True)
class Views:
    """The lowest error in each party's view, protocols by parties.

    Args:
        parties: one a column.
        lines: a row with one cell a column: the figure, or why there is none.
    """

    parties: tuple[str, ...]
    lines: tuple[tuple[OutsourcedRow, tuple[tuple[Exposure | None, str], ...]], ...]


@dataclass(frozen=True)
class Grid:
    """What each attack reaches by itself, protocols by attacks.

    Args:
        columns: the attacks.
        lines: a row with one cell a column: the result, and why there is none.
    """

    columns: tuple[MethodSpec, ...]
    lines: tuple[tuple[OutsourcedRow, tuple[tuple[InputAttack | None, str], ...]], ...]


@dataclass(frozen=True)
class Played:
    """An attack under a protocol."""

    row: OutsourcedRow
    result: InputAttack

    @property
    def spec(self) -> MethodSpec:
        """The attack as the suite wrote it."""
        return self.result.spec


@dataclass(frozen=True)
class Sweep:
    """One attack by the number of samples that it knows.

    Args:
        name: the attack's.
        label: with the parameters that all of its variants share.
        lines: a protocol with the attack's results, by rising number.
    """

    name: str
    label: str
    lines: tuple[tuple[OutsourcedRow, tuple[InputAttack, ...]], ...]

    @property
    def closest(self) -> tuple[OutsourcedRow, tuple[InputAttack, ...]]:
        """The protocol under which it comes closest."""
        return min(self.lines, key=lambda line: min(one.mse.mean for one in line[1]))


@dataclass(frozen=True)
class TrafficTable:
    """Bytes and seconds of a stage, protocols by parties.

    Args:
        parties: one a column; not all take part everywhere.
        links: whose modelled seconds are shown.
        lines: a row with what the stage costs it.
    """

    parties: tuple[str, ...]
    links: tuple[str, ...]
    lines: tuple[tuple[OutsourcedRow, StageScore], ...]


def roles(rows: Sequence[OutsourcedRow]) -> list[tuple[str, str, list[str]]]:
    """Every party: its name, what it does, and the protocols in which it takes part; none listed where all have it."""
    held = [(row, _parties(row)) for row in rows if row.cost]
    names = _in_order({name for _, own in held for name in own})
    found = []
    for name in names:
        own = list(dict.fromkeys(contents.title(row) for row, parties in held if name in parties))
        everywhere = all(name in parties for _, parties in held)
        found.append((name, _ROLES.get(name, ""), [] if everywhere else own))
    return found


def _in_order(parties: Iterable[str]) -> list[str]:
    """Those with a known role first."""
    order = list(_ROLES)
    return sorted(parties, key=lambda name: (order.index(name) if name in order else len(order), name))


def _parties(row: OutsourcedRow) -> set[str]:
    stages = (row.cost.setup, row.cost.training, row.cost.inference) if row.cost else ()
    return {name for stage in stages if stage for name in stage.parties}


def layers(task: OutsourcedTask) -> list[str]:
    """Each layer in words: ``convolution, 4 filters of 4 × 4, stride 2, then ReLU``."""
    return [_layer(layer) for layer in task.layers]


def _layer(layer: Layer) -> str:
    if layer.kernel is None:
        text = f"dense, {layer.outputs} output{'' if layer.outputs == 1 else 's'}"
    else:
        plural = "" if layer.outputs == 1 else "s"
        text = f"convolution, {layer.outputs} filter{plural} of {layer.kernel} × {layer.kernel}, stride {layer.stride}"
    return text + (f", then {_WORDS[layer.activation]}" if layer.activation in _WORDS else "")


def views(rows: Sequence[OutsourcedRow]) -> Views | None:
    """The lowest error in each party's view; None where no attack could be played."""
    parties = in_view_order({one.party for row in rows for one in row.exposures if one.party is not None})
    if not parties:
        return None
    lines = []
    for row in rows:
        held, there = {one.party: one for one in row.views}, _parties(row)
        # Which party's view a failed attack would have had, no record says.
        empty = "no attack applies" if row.complete else "no result of an attack"
        reasons = ["no such party" if there and party not in there else empty for party in parties]
        lines.append((row, tuple(zip(map(held.get, parties), reasons, strict=True))))
    return Views(tuple(parties), tuple(lines))


def grid(rows: Sequence[OutsourcedRow]) -> Grid | None:
    """Every attack by itself; None where none could be played."""
    columns = {key(one.spec): one.spec for row in rows for one in row.attacks}
    if not columns:
        return None
    order = sorted(columns, key=lambda name: (contents.in_order(columns[name].label), name))
    lines = []
    for row in rows:
        results = {key(one.spec): one for one in row.attacks}
        reasons = {one.attack: one.reason for one in row.no_view}
        cells = [(results.get(name), reasons.get(columns[name].label, "")) for name in order]
        lines.append((row, tuple(cells)))
    return Grid(tuple(columns[name] for name in order), tuple(lines))


def cards(rows: Sequence[OutsourcedRow], records: Mapping[str, Record]) -> list[AttackCard[Played]]:
    """Every attack that was to be played on a task, with what it reaches under each protocol."""
    return attack_cards(rows, records, [Played(row, one) for row in rows for one in row.attacks])


def sweeps(rows: Sequence[OutsourcedRow]) -> list[Sweep]:
    """The attacks that were played with several numbers of known samples and are otherwise the same, by label."""
    bare = {(row.defense, one.attack): _without_known(one.spec) for row in rows for one in row.attacks}
    found = []
    for spec in sorted({key(one): one for one in bare.values()}.values(), key=lambda one: contents.in_order(one.label)):
        lines = []
        for row in rows:
            own = [one for one in row.attacks if bare[row.defense, one.attack] == spec]
            if len({one.known for one in own}) > 1:
                lines.append((row, tuple(sorted(own, key=lambda one: (one.known, one.attack)))))
        if lines:
            found.append(Sweep(spec.name, spec.label, tuple(lines)))
    return found


def _without_known(spec: MethodSpec) -> MethodSpec:
    kept = {name: value for name, value in spec.parameters.items() if name != "known"}
    return MethodSpec(name=spec.name, parameters=kept)


def breaking(results: Sequence[InputAttack]) -> int | None:
    """The least number of known samples with which the mean MSE is below 0.01; None where it stays above."""
    return next((one.known for one in results if one.mse.mean < BREAKS), None)


def tried(results: Sequence[InputAttack]) -> str:
    """The numbers of known samples, rising: ``1, 4 and 16``."""
    return formats.sentence(f"{known:,}" for known in sorted({one.known for one in results}))


def traffic(rows: Sequence[OutsourcedRow], name: Moment) -> TrafficTable | None:
    """What a stage costs by party; None where no protocol has the stage."""
    paid = [(row, stage) for row in rows if row.cost and (stage := row.cost.stage(name)) is not None]
    if not paid:
        return None
    parties = {party for _, stage in paid for party in stage.parties}
    links = {link for _, stage in paid for link in stage.network}
    return TrafficTable(tuple(_in_order(parties)), tuple(sorted(links)), tuple(paid))


def quoted(scenes: Iterable[Scene[OutsourcedRow]]) -> list[tuple[Scene[OutsourcedRow], Elsewhere]]:
    """The protocols of which there are published figures only, each with the task that they are of.

    A task on several hardware profiles stands once: what a paper says depends on none of ours.
    """
    found: dict[tuple[str, str], tuple[Scene[OutsourcedRow], Elsewhere]] = {}
    for scene in scenes:
        for one in elsewhere(scene.rows):
            found.setdefault((contents.task_path(scene.rows[0]), one.defense), (scene, one))
    return list(found.values())


def idle(rows: Sequence[OutsourcedRow]) -> list[tuple[OutsourcedRow, list[str], str]]:
    """The attacks that have no view under a protocol, those of one reason together."""
    found: dict[tuple[int, str], list[str]] = {}
    for place, row in enumerate(rows):
        for one in sorted(row.no_view, key=lambda one: contents.in_order(one.attack)):
            found.setdefault((place, one.reason), []).append(one.attack)
    return [(rows[place], attacks, reason) for (place, reason), attacks in found.items()]


def batch(task: OutsourcedTask, stage: Moment) -> int:
    """Samples in a batch at a stage."""
    return task.training.batch_size if stage == "training" else task.inference_batch
