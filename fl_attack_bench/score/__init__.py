"""Records -> table rows: worst case over attacks, the triple, gate, Pareto marks, integrity. Pure, of records alone.

Each track has its own rows: :func:`rows` scores horizontal tasks, :func:`vertical_rows` vertical ones, and
:func:`outsourced_rows` outsourced ones.
A row is one defense on one task under one suite version and hardware profile. Nothing here plays, fetches or plots.
"""

from fl_attack_bench.score.estimates import bootstrap
from fl_attack_bench.score.outsourced import outsourced_rows
from fl_attack_bench.score.papers import published
from fl_attack_bench.score.pareto import dominates
from fl_attack_bench.score.table import rows
from fl_attack_bench.score.task_records import latest
from fl_attack_bench.score.vertical import vertical_rows

__all__ = ["bootstrap", "dominates", "latest", "outsourced_rows", "published", "rows", "vertical_rows"]
