"""Pictures of a defense: what attacks made of its images, each beside what they make of the same image undefended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site.contents import Contents, task_identity
from fl_attack_bench.site.pictures import Gallery, Shot, Strip

EDGES = 2  # the closest and the farthest reconstruction come first


@dataclass(frozen=True)
class Pair:
    """One reconstruction with that of the same image by the same attack on the same seed, undefended; None without."""

    shot: Shot
    undefended: Shot | None


@dataclass(frozen=True)
class Plate:
    """What one attack made of one variant on one task.

    Args:
        strip: the attack's.
        edges: the closest reconstruction, then the farthest.
        others: evenly spaced ones between.
    """

    strip: Strip
    edges: tuple[Pair, ...]
    others: tuple[Pair, ...]


def plates(row: BoardRow, board: Contents, gallery: Gallery) -> list[Plate]:
    """Each attack's pictures at the moment at which it came closest; those that count first, then by MSE."""
    undefended = None if row.baseline else board.undefended.get((task_identity(row), row.hardware))
    found = []
    for strip in strips(row, board.records, gallery):
        base = _played(undefended, board.records, strip.attack)
        pairs = [Pair(shot, gallery.same(shot, strip.moment, base)) for shot in strip.shots]
        found.append(Plate(strip, tuple(pairs[:EDGES]), tuple(pairs[EDGES:])))
    return found


def strips(row: BoardRow, records: Mapping[str, Record], gallery: Gallery) -> list[Strip]:
    """The strongest attack that counts first."""
    closest: dict[str, tuple[bool, float, str]] = {}
    for attack, own in _reached(row):
        closest[attack] = min(closest.get(attack, own), own)
    strips = []
    for attack, (weak, _, moment) in sorted(closest.items(), key=lambda item: (item[1], item[0])):
        strip = gallery.strip(attack, moment, _played(row, records, attack))
        strips += [replace(strip, weak=weak)] if strip else []
    return strips


def _reached(row: BoardRow) -> list[tuple[str, tuple[bool, float, str]]]:
    """Of each attack that reconstructs: whether it is too weak to count, its mean MSE, and the moment."""
    if isinstance(row, Row):
        return [(one.attack, (not one.passed, one.mean, one.moment)) for one in row.attacks if one.mean is not None]
    if isinstance(row, VerticalRow):
        return [(one.attack, (not one.passed, one.figures.mse.mean, "trained")) for one in row.inversions]
    if isinstance(row, OutsourcedRow):
        return [(one.attack, (False, one.mse.mean, one.moment)) for one in row.attacks]
    return []


def _played(row: BoardRow | None, records: Mapping[str, Record], attack: str) -> list[Record]:
    held: Sequence[Record] = [records[cell_id] for cell_id in row.records] if row else []
    return [one for one in held if one.cell.attack and one.cell.attack.label == attack and one.status == "ok"]
