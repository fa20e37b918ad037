"""Which of two rows is better on the whole triple."""

from fl_attack_bench.score.row import Row

SECONDS_TOLERANCE = 0.10


def dominates(a: Row, b: Row) -> bool:
    """Whether ``a`` is at least as good as ``b`` on all four measures and better on one.

    Mean worst-case MSE (up), accuracy (up) and total bytes (down) are compared exactly. Seconds (down) are compared on
    every link with a tolerance of 10%, for clocks are noisy: not worse means at most 1.1 times, better means less than
    1/1.1 times. Both rows must compete.
    """
    if not (a.competes and b.competes and a.privacy and b.privacy and a.utility and b.utility and a.cost and b.cost):
        return False
    gains = [
        a.privacy.mean.value - b.privacy.mean.value,
        a.utility.accuracy - b.utility.accuracy,
        b.cost.bytes_total - a.cost.bytes_total,
    ]
    slack = 1 + SECONDS_TOLERANCE
    links = a.cost.seconds.keys() & b.cost.seconds.keys()
    clocks = [(a.cost.seconds[link], b.cost.seconds[link]) for link in links]
    if any(gain < 0 for gain in gains) or any(mine > slack * other for mine, other in clocks):
        return False
    return any(gain > 0 for gain in gains) or any(slack * mine < other for mine, other in clocks)
