"""The vertical track: records of feature-partitioned tasks -> table rows. Pure, of records alone."""

from fl_attack_bench.score.vertical.papers import published
from fl_attack_bench.score.vertical.table import vertical_rows

__all__ = ["published", "vertical_rows"]
