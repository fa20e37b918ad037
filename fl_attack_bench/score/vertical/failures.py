"""Failures of vertical cells: those that failed, are missing, or could not be played."""

from collections.abc import Sequence

from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import Failure
from fl_attack_bench.score.failures import unusable
from fl_attack_bench.score.vertical.gate import VerticalGated
from fl_attack_bench.score.vertical.group import VerticalGroup, held


def failures(group: VerticalGroup, gated: VerticalGated, played: Sequence[Record]) -> tuple[Failure, ...]:
    """Cells without a usable result, by attack and seed. One counts where its attack does, or its seed is untrained."""
    trained = group.honest(played)

    def absent(attack: str, record: Record) -> str:
        result = record.vertical
        if result is None or result.honest is None:
            return "the record holds no honest training"
        missing = [kind for kind in gated.counting(attack) if kind not in held(result)]
        return f"the record holds nothing of the attack's kind: {' and '.join(missing)}" if missing else ""

    def counts(attack: str, seed: int) -> bool:
        return bool(gated.counting(attack)) or seed not in trained

    return unusable(group, played, absent, counts)
