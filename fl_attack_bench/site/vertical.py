"""What the page of a vertical task says: who holds what, every attack by itself, attack cards, bytes by party."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fl_attack_bench.record import Record
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.papers import Beside
from fl_attack_bench.score.vertical import published as published_beside
from fl_attack_bench.score.vertical.row import AttackResult, Kind, PartyTraffic, VerticalCostScore, VerticalRow
from fl_attack_bench.site import contents
from fl_attack_bench.site.cards import AttackCard, attack_cards
from fl_attack_bench.tasks import VerticalTask

MAX_PLACES = 6  # ranges or pixels that are named; the rest is counted
MAX_PARTIES = 4  # passive parties that have a column of their own
Result = AttackResult[Any]


@dataclass(frozen=True)
class Grid:
    """What attacks of one kind reach, defenses by attacks.

    Args:
        kind: of all columns.
        columns: the attacks.
        lines: a row of the board with one result a column; None where the records hold none.
    """

    kind: Kind
    columns: tuple[Result, ...]
    lines: tuple[tuple[VerticalRow, tuple[Result | None, ...]], ...]


@dataclass(frozen=True)
class TrafficTable:
    """Bytes an epoch by party.

    Args:
        parties: the passive ones' names; none where there are too many, and their mean is shown instead.
        lines: a row with its cost and the traffic of each column: the passive parties, then the active one.
    """

    parties: tuple[str, ...]
    lines: tuple[tuple[VerticalRow, VerticalCostScore, tuple[PartyTraffic, ...]], ...]


def grids(rows: Sequence[VerticalRow]) -> list[Grid]:
    """One for each kind of attack that any row holds a figure of."""
    found = [_grid("backdoor", rows, [row.backdoors for row in rows])]
    found.append(_grid("labels", rows, [row.inferences for row in rows]))
    found.append(_grid("features", rows, [row.inversions for row in rows]))
    return [grid for grid in found if grid.columns]


def _grid(kind: Kind, rows: Sequence[VerticalRow], held: Sequence[Sequence[Result]]) -> Grid:
    columns = {key(one.spec): one for results in held for one in results}
    order = sorted(columns, key=lambda name: (contents.in_order(columns[name].attack), name))
    lines = tuple(
        (row, tuple({key(one.spec): one for one in results}.get(name) for name in order))
        for row, results in zip(rows, held, strict=True)
        if results
    )
    return Grid(kind, tuple(columns[name] for name in order), lines)


def cards(rows: Sequence[VerticalRow], records: Mapping[str, Record]) -> list[AttackCard[Result]]:
    """Every attack that was to be played on a task, with what it reaches on the undefended baseline."""
    base = next((row for row in rows if row.baseline), None)
    results: list[Result] = []
    for held in (base.backdoors, base.inferences, base.inversions) if base else ():
        results += held
    return attack_cards(rows, records, results)


def traffic(rows: Sequence[VerticalRow]) -> TrafficTable | None:
    """Bytes an epoch by party; None where no record holds a cost."""
    paid = [(row, row.cost) for row in rows if row.cost is not None]
    if not paid:
        return None
    names = tuple(paid[0][1].passive)
    shown = names if len(names) <= MAX_PARTIES else ()
    lines = []
    for row, cost in paid:
        passive = [cost.passive[name] for name in names]
        columns = passive if shown else [_mean(passive)]
        lines.append((row, cost, (*columns, cost.active)))
    return TrafficTable(shown, tuple(lines))


def _mean(parties: Sequence[PartyTraffic]) -> PartyTraffic:
    count = len(parties)
    return PartyTraffic(sum(p.sent for p in parties) / count, sum(p.received for p in parties) / count)


def published(rows: Sequence[VerticalRow]) -> tuple[Beside, ...]:
    """Papers' figures beside ours."""
    return published_beside(rows)


def holdings(task: VerticalTask) -> list[tuple[str, str]]:
    """Each passive party with what it holds: ``rows 0 to 13``."""
    what = "row" if task.split.by == "rows" else "feature"
    found = []
    for name, ranges in list(task.split.parties.items())[: 2 * MAX_PLACES]:
        single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
        places = [f"{first}" if first == last else f"{first} to {last}" for first, last in ranges]
        found.append((name, f"{what}{'' if single else 's'} {_few(places)}"))
    left = len(task.split.parties) - len(found)
    return found + ([(f"{left} more", "")] if left else [])


def trigger_words(task: VerticalTask) -> str:
    """What marks a poisoned sample; empty on a task without a backdoor."""
    if task.backdoor is None:
        return ""
    trigger = task.backdoor.trigger
    if trigger.pixels is not None:
        places = [f"({row}, {column})" for row, column in trigger.pixels]
        where = f"pixel{'' if len(places) == 1 else 's'} (row, column) {_few(places)}"
    else:
        places = [str(place) for place in trigger.features or []]
        where = f"feature{'' if len(places) == 1 else 's'} {_few(places)}"
    if trigger.natural:
        return f"samples that have the value {trigger.value:g} at {where} of their own accord"
    share = f"on {100 * task.backdoor.train:g}% of the training samples"
    return f"{where} set to {trigger.value:g}, {share}; their labels stay true"


def _few(places: Sequence[str]) -> str:
    left = len(places) - MAX_PLACES
    return ", ".join(places[:MAX_PLACES]) + (f" and {left} more" if left > 0 else "")
