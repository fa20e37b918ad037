"""The contract that every method must keep, shipped with the program: ``flab check`` and a method's own tests run it.

A method is a stranger's code: its checks run in a process of their own, under limits of time and memory.

>>> from fl_attack_bench import testing
>>> testing.verify("my_defense.py")  # raises AssertionError, which says what to change
"""

from fl_attack_bench.testing.examination import Allowance, examine, verify
from fl_attack_bench.testing.finding import Finding, Verdict

__all__ = ["Allowance", "Finding", "Verdict", "examine", "verify"]
