"""Attack cards: what an attack says of itself, with every variant that was played on a task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.identity import key, newest
from fl_attack_bench.site import contents
from fl_attack_bench.suite import MethodSpec


class Reached(Protocol):
    """What one attack reached."""

    @property
    def spec(self) -> MethodSpec:
        """The attack as the suite wrote it."""
        ...


T = TypeVar("T", bound=Reached)


@dataclass(frozen=True)
class Variant(Generic[T]):
    """One set of parameters of an attack.

    Args:
        spec: as the suite wrote it.
        results: what it reached; empty where no record holds anything.
    """

    spec: MethodSpec
    results: tuple[T, ...]


@dataclass(frozen=True)
class AttackCard(Generic[T]):
    """An attack with all variants that were played on a task.

    Args:
        name: as the suite names it.
        method: as it was played last; None where no record says.
        parameters: those that all variants share, defaults included.
        variants: in numeric order.
    """

    name: str
    method: MethodUsed | None
    parameters: Mapping[str, Any]
    variants: tuple[Variant[T], ...]


def attack_cards(rows: Sequence[BoardRow], records: Mapping[str, Record], results: Sequence[T]) -> list[AttackCard[T]]:
    """Every attack that was to be played on a task, by name; those without any result too.

    Args:
        rows: the task's.
        records: by cell id.
        results: what attacks reached, each with its ``spec``.
    """
    played = [records[cell_id] for row in rows for cell_id in row.records]
    specs = {key(record.cell.attack): record.cell.attack for record in played if record.cell.attack}
    found = []
    for name in sorted({spec.name for spec in specs.values()}):
        own = sorted((spec for spec in specs.values() if spec.name == name), key=lambda s: contents.in_order(s.label))
        records_of = [record for record in played if record.cell.attack and record.cell.attack.name == name]
        variants = tuple(Variant(spec, tuple(one for one in results if one.spec == spec)) for spec in own)
        used = [record.attack.parameters for record in records_of if record.attack]
        found.append(AttackCard(name, latest_method(records_of), shared(used), variants))
    return found


def latest_method(played: Iterable[Record]) -> MethodUsed | None:
    """An attack as the newest of some records tells it; None where none does."""
    last = newest(record for record in played if record.attack is not None)
    return last.attack if last else None


def shared(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those that all variants have, each with the same value."""
    first = parameters[0] if parameters else {}
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in parameters)
    }
