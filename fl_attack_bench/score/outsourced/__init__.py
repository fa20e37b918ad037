"""The outsourced track: records of tasks whose data is shared out -> table rows. Pure, of records alone."""

from fl_attack_bench.score.outsourced.papers import Elsewhere, elsewhere, published, row_of
from fl_attack_bench.score.outsourced.table import outsourced_rows

__all__ = ["Elsewhere", "elsewhere", "outsourced_rows", "published", "row_of"]
