"""Which variants of a defense are a sweep: those that differ in one numeric parameter and in nothing else."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fl_attack_bench.score.board_row import BoardRow

R = TypeVar("R", bound=BoardRow)
Setting = tuple[int, str]  # the link's place in the chain, from 0, and the parameter's name
DECADE = 10.0  # values that span more are drawn on a logarithmic axis
UNKNOWN = "?"  # no record says which value a parameter had


@dataclass(frozen=True)
class Sweep(Generic[R]):
    """Variants of one defense on one task that differ in one numeric parameter only.

    Args:
        setting: the parameter.
        name: what it is called, in a chain with its link before it.
        points: at least two different values, each with its row, rising.
        others: what tells the sweep from other sweeps of the parameter: names with values.
    """

    setting: Setting
    name: str
    points: tuple[tuple[float, R], ...]
    others: tuple[tuple[str, str], ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The parameter's, rising."""
        return tuple(value for value, _ in self.points)

    @property
    def rows(self) -> tuple[R, ...]:
        """In the order of the values."""
        return tuple(row for _, row in self.points)


def sweeps(rows: Sequence[R]) -> list[Sweep[R]]:
    """Every sweep among the variants of one defense on one task and hardware profile; the longest first.

    Compared are the parameters that any of the variants sets; one that leaves such a parameter out has the default
    that its record tells. All others have their defaults everywhere.

    Args:
        rows: of one defense, task and hardware profile; the undefended one may be among them and is left out.
    """
    own = [row for row in rows if not row.baseline]
    settings = sorted({setting for row in own for setting in _set(row)})
    held = [{setting: _value(row, setting) for setting in settings} for row in own]
    texts = [{setting: _text(value) for setting, value in values.items()} for values in held]
    varied = {setting for setting in settings if len({told[setting] for told in texts}) > 1}
    found = []
    for setting in settings:
        groups: dict[tuple[str, ...], list[tuple[float, int]]] = defaultdict(list)
        for place, (values, told) in enumerate(zip(held, texts, strict=True)):
            value = number(values[setting])
            if value is not None:
                groups[tuple(told[other] for other in settings if other != setting)].append((value, place))
        for points in groups.values():
            if len({value for value, _ in points}) < 2:
                continue
            first = points[0][1]
            told_apart = [other for other in settings if other != setting and other in varied]
            others = tuple((_named(own[first], other), _shown(held[first][other])) for other in told_apart)
            ordered = tuple((value, own[place]) for value, place in sorted(points))
            found.append(Sweep(setting, _named(own[first], setting), ordered, others))
    return sorted(found, key=lambda sweep: (-len(sweep.points), sweep.setting, sweep.others))


def number(value: Any) -> float | None:
    """A parameter's value as a finite number; None for truth values, texts, lists, and where no record tells one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def logarithmic(values: Sequence[float]) -> bool:
    """Whether the values are positive and span more than a decade."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > DECADE


def played(row: BoardRow, place: int) -> Mapping[str, Any]:
    """The parameters with which one link was played, defaults included; those that are set where no record says more.

    Args:
        row: of a single method or a chain.
        place: the link's, from 0.
    """
    part = row.spec.parts[place]
    told: Any = row.method.parameters if row.method else {}
    if row.spec.links:
        told = next((own for name, own in told.items() if name.startswith(f"{place + 1}. ")), {})
    return {**(told if isinstance(told, Mapping) else {}), **part.parameters}


def _set(row: BoardRow) -> list[Setting]:
    return [(place, name) for place, part in enumerate(row.spec.parts) for name in part.parameters]


def _value(row: BoardRow, setting: Setting) -> Any:
    place, name = setting
    return played(row, place).get(name, UNKNOWN)


def _text(value: Any) -> str:
    """Equal for equal values only, so that neither 1 and true nor 1 and "1" are the same."""
    found = number(value)
    return repr(found) if found is not None else json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    found = number(value)
    return f"{found:g}" if found is not None else str(value)


def _named(row: BoardRow, setting: Setting) -> str:
    place, name = setting
    return f"{row.spec.parts[place].family}: {name}" if row.spec.links else name
