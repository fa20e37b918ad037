"""Certified bounds beside measured distances: how often a bound speaks of a reconstruction, and whether it holds."""

import statistics

from boards import by_defense, record, with_images
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl_attack_bench.record import Certified

LENGTH = st.floats(0, 30)
STATED = st.none() | st.builds(Certified, bound=LENGTH, distance=LENGTH, residual=st.none() | st.floats(0, 0.3))


def stated(bound, distance, residual):
    return Certified(bound=bound, distance=distance, residual=residual)


def test_by_hand():
    records = [record("none", seed=seed, initial=[0, 0], trained=[0, 0]) for seed in (0, 1)]
    held = [
        [stated(1.0, 2.0, 0.05), stated(3.0, 1.0, 0.1)],  # kept; the assumption holds and the bound does not
        [stated(5.0, 4.0, 0.11), stated(9.0, 0.5, None)],  # neither is spoken of
    ]
    records += [
        with_images(record("noise", seed=seed, initial=[0.1, 0.1], trained=[0.1, 0.1]), certified=held[seed])
        for seed in (0, 1)
    ]
    table = by_defense(records)
    found = table["noise"].attacks[0].certified
    assert (found.images, found.reproducing, found.kept, found.bound, found.distance) == (4, 2, 1, 4.0, 1.5)
    assert table["none"].attacks[0].certified is None


@settings(max_examples=40, deadline=None)
@given(st.lists(STATED, min_size=2, max_size=2))
@example([stated(1.0009, 1.0, 0.0), stated(1.0011, 1.0, 0.0)])
@example([stated(1.1, 1.0, 0.1), stated(1.2, 1.0, 0.1)])  # within the slack, and beyond it
def test_counts_are_those_of_a_plain_loop(held):
    made = with_images(record("noise", initial=[0.1, 0.1]), certified=held)
    found = by_defense([made])["noise"].attacks[0].certified
    there = [one for one in held if one is not None]
    if not there:
        assert found is None
        return
    speaking = [one for one in there if one.residual is not None and one.residual <= 0.1]
    assert (found.images, found.reproducing) == (len(there), len(speaking))
    assert found.kept == sum(not one.bound * (1 - one.residual) > 1.001 * one.distance for one in speaking)
    assert found.bound == statistics.median(one.bound for one in there)
    assert found.distance == statistics.median(one.distance for one in there)
