"""Defenses side by side, and a head against its base: pure functions of records and of samples.

:mod:`~fl_attack_bench.compare.defenses` puts defenses beside each other, with a paired test over victims and seeds.
:mod:`~fl_attack_bench.compare.regression` holds the records of a head against those of its base, and
:mod:`~fl_attack_bench.compare.verdict` says of two sets of samples whether one is worse by more than a tolerance.
"""

from fl_attack_bench.compare.defenses import Comparison, compare
from fl_attack_bench.compare.paired import Difference, paired
from fl_attack_bench.compare.regression import Check, check_records
from fl_attack_bench.compare.verdict import Tolerances

__all__ = ["Check", "Comparison", "Difference", "Tolerances", "check_records", "compare", "paired"]
