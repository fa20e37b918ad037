"""What pages show of malicious clients: a grid of defenses by attacks, and in words what went wrong on the way."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fl_attack_bench.score.board_row import Failure
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.integrity import UnderAttack
from fl_attack_bench.score.learned import Course, Quantity
from fl_attack_bench.score.row import Row
from fl_attack_bench.suite import MethodSpec

MAX_REASONS = 3
_ROUND = re.compile(r"^round \d+: ")


@dataclass(frozen=True)
class Cell:
    """One attack on one defense.

    Args:
        score: what was learned under it; None where the row knows no such attack.
        gaps: its cells without a result.
    """

    score: UnderAttack | None
    gaps: tuple[Failure, ...]


@dataclass(frozen=True)
class Head:
    """Columns of one attack, which differ by the number of clients.

    Args:
        family: the attack without that number.
        clients: one column each.
    """

    family: MethodSpec
    clients: tuple[int | None, ...]


@dataclass(frozen=True)
class Grid:
    """What was learned, defenses by attacks.

    Args:
        quantity: of all cells.
        devices: how many clients the federation has.
        heads: the columns.
        lines: a row of the board with one cell a column.
    """

    quantity: Quantity
    devices: int
    heads: tuple[Head, ...]
    lines: tuple[tuple[Row, tuple[Cell, ...]], ...]

    def first_columns(self) -> set[int]:
        """The places of the cells with which an attack's columns begin."""
        return {sum(len(head.clients) for head in self.heads[:number]) for number in range(len(self.heads))}


@dataclass(frozen=True)
class Happening:
    """What went wrong in the trainings of one defense; the attack is None where all clients were honest."""

    row: Row
    attack: UnderAttack | None
    course: Course


def grid(rows: Sequence[Row]) -> Grid | None:
    """The rows of one task on one machine; None where no client attacks."""
    held = {(place, key(one.spec)): one for place, row in enumerate(rows) for one in _attacks(row)}
    if not held:
        return None
    columns = {name: one for (_, name), one in held.items()}
    order = sorted(columns, key=lambda name: (columns[name].family.label, columns[name].clients or 0, name))
    families: dict[str, list[str]] = {}
    for name in order:
        families.setdefault(key(columns[name].family), []).append(name)
    shown = [name for group in families.values() for name in group]
    training = rows[0].task.training
    scores = [row.integrity for row in rows if row.integrity is not None]
    return Grid(
        scores[0].quantity,
        training.partition.devices if training else 0,
        tuple(
            Head(columns[group[0]].family, tuple(columns[name].clients for name in group))
            for group in families.values()
        ),
        tuple(
            (row, tuple(_cell(row, held.get((place, name)), columns[name].attack) for name in shown))
            for place, row in enumerate(rows)
        ),
    )


def happenings(rows: Sequence[Row]) -> list[Happening]:
    """Every training in which a round failed, the server noticed something, or the weights ran off."""
    found = []
    for row in rows:
        if row.utility and not row.utility.course.smooth:
            found.append(Happening(row, None, row.utility.course))
        found += [Happening(row, one, one.course) for one in _attacks(row) if not one.course.smooth]
    return found


def reasons(texts: Sequence[str]) -> tuple[list[str], bool]:
    """The first of them that differ in more than their round, and whether there are others."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(_ROUND.sub("", text), text)
    return list(first.values())[:MAX_REASONS], len(first) > MAX_REASONS


def gap_words(gaps: Sequence[Failure]) -> list[tuple[str, str]]:
    """Each status with its first reason."""
    found: dict[str, str] = {}
    for gap in gaps:
        found.setdefault(gap.status, gap.reason)
    return sorted(found.items())


def _attacks(row: Row) -> Iterator[UnderAttack]:
    yield from row.integrity.attacks if row.integrity else ()


def _cell(row: Row, score: UnderAttack | None, attack: str) -> Cell:
    return Cell(score, tuple(gap for gap in (*row.failures, *row.skipped) if gap.attack == attack))
