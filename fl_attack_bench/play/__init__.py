"""Plays one job of a cell: a training, its timing, or an attack on it.

This is the one place where the pieces meet: dataset, network, scenario, defense and attack. It runs in a worker process
and leaves a result folder; what it raises becomes the cell's status.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fl_attack_bench.jobs import RESULT, Job, Kind, Settings, publishing
from fl_attack_bench.play import horizontal, outsourced, vertical
from fl_attack_bench.tasks import HorizontalTask, OutsourcedTask, VerticalTask

Player = Callable[[Path], dict[str, Any]]


def play(job: Job, settings: Settings) -> None:
    """Do a job and publish its result folder.

    Raises:
        SkipCell: a method cannot be played on this task.
        UserError: the suite asks for what this machine does not have, or for the impossible.
    """
    players = _players(job, settings)
    with publishing(job, settings.work) as folder:
        text = json.dumps(players[job.kind](folder), allow_nan=False)
        (folder / RESULT).write_text(text, encoding="utf-8")


def _players(job: Job, settings: Settings) -> Mapping[Kind, Player]:
    scenarios = {HorizontalTask: horizontal.players, VerticalTask: vertical.players, OutsourcedTask: outsourced.players}
    return scenarios[type(job.cell.task)](job, settings)
