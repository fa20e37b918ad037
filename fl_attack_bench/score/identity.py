"""What makes two tasks or two methods the same one, what an attack is called, and which record is the newest."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from fl_attack_bench.record import Record
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks import Task


def key(part: Task | MethodSpec | None) -> str:
    """The content as text, equal for equal content only; empty for no method.

    As in a cell's id, what is left at its default does not count, nor do the figures that a paper published.
    """
    if part is None:
        return ""
    return json.dumps(part.model_dump(mode="json", exclude_defaults=True, exclude={"published"}), sort_keys=True)


def attack_label(spec: MethodSpec | None) -> str:
    """The attack's label, or ``utility`` for a cell without an attack."""
    return spec.label if spec else "utility"


def started(record: Record) -> datetime:
    """When it was begun, with a time zone."""
    began = record.provenance.started
    return began if began.tzinfo else began.replace(tzinfo=UTC)


def newest(records: Iterable[Record]) -> Record | None:
    """The one that was begun last, of equals the one with the last cell id; None of none."""
    return max(records, key=lambda record: (started(record), record.cell_id), default=None)
