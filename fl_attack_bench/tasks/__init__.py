"""What is learned and who attacks it: one kind of task a scenario."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from fl_attack_bench.tasks.horizontal import HorizontalTask
from fl_attack_bench.tasks.outsourced import OutsourcedTask
from fl_attack_bench.tasks.vertical import VerticalTask

__all__ = ["HorizontalTask", "OutsourcedTask", "Task", "VerticalTask"]


def _scenario(task: Any) -> Any:
    """Of a task as it is written: those that name none are horizontal."""
    given = task.get("scenario") if isinstance(task, Mapping) else getattr(task, "scenario", None)
    return "horizontal" if given is None else given


Task = Annotated[
    Annotated[HorizontalTask, Tag("horizontal")]
    | Annotated[VerticalTask, Tag("vertical")]
    | Annotated[OutsourcedTask, Tag("outsourced")],
    Discriminator(_scenario),
]
