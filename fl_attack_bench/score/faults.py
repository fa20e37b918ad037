"""Whether a record of any track can be true."""

from fl_attack_bench.record import Record
from fl_attack_bench.score import soundness
from fl_attack_bench.score.outsourced import soundness as outsourced
from fl_attack_bench.score.vertical import soundness as vertical
from fl_attack_bench.tasks import OutsourcedTask, VerticalTask


def fault(record: Record) -> str:
    """Why a record that parses cannot be true, as its own track says; empty where it can."""
    if isinstance(record.cell.task, VerticalTask):
        return vertical.fault(record)
    if isinstance(record.cell.task, OutsourcedTask):
        return outsourced.fault(record)
    return soundness.fault(record)
