"""Splits of a sample's places: what a party gets, and every way in which a split is no partition."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fl_attack_bench.data.split import places
from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks.vertical import Split

quick = settings(max_examples=100, deadline=None)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


def split(by, **parties):
    return TypeAdapter(Split).validate_python({"by": by, "parties": parties})


def refused(found, shape):
    with pytest.raises(UserError) as caught:
        places(found, shape)
    text = str(caught.value)
    assert "\n" not in text
    return text


def as_ranges(numbers):
    """The shortest list of ranges of a set of numbers."""
    ranges = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return [f"{first}-{last}" for first, last in ranges]


@st.composite
def partitions(draw):
    """A shape, the kind of split and the party of every place; each party has one at least."""
    shape, by = draw(shapes), draw(st.sampled_from(["rows", "features"]))
    total = shape[1] if by == "rows" else shape[0] * shape[1] * shape[2]
    owners = draw(st.lists(st.integers(0, 3), min_size=total, max_size=total))
    return shape, by, owners


def written(by, owners, rng):
    """The split as a suite may write it: ranges in any order."""
    parties = {}
    for party in set(owners):
        ranges = as_ranges([place for place, owner in enumerate(owners) if owner == party])
        rng.shuffle(ranges)
        parties[f"p{party}"] = ranges
    return split(by, **parties)


@quick
@given(partitions(), st.randoms(use_true_random=False))
def test_any_partition_is_accepted_and_puts_the_sample_together_again(partition, rng):
    shape, by, owners = partition
    held = places(written(by, owners, rng), shape)
    sample = torch.rand(shape)
    again = torch.full((sample.numel(),), -1.0)
    for party, mine in held.items():
        assert mine.dtype == torch.int64
        assert (mine.diff() > 0).all()
        again[mine] = sample.flatten()[mine]
        for place in mine.tolist():
            at = place // shape[2] % shape[1] if by == "rows" else place
            assert f"p{owners[at]}" == party
    assert torch.equal(again.view(shape), sample)
    assert sum(len(mine) for mine in held.values()) == sample.numel()


@quick
@given(partitions(), st.randoms(use_true_random=False), st.data())
def test_any_place_held_twice_is_refused_with_both_parties(partition, rng, data):
    shape, by, owners = partition
    place = data.draw(st.integers(0, len(owners) - 1))
    other = data.draw(st.sampled_from(sorted({*owners, 9})))
    found = written(by, owners, rng).model_dump()["parties"]
    found.setdefault(f"p{other}", []).append((place, place))
    text = refused(Split(by=by, parties=found), shape)
    assert f"given {by[:-1]} {place}" in text
    if other == owners[place]:
        assert f"party 'p{other}'" in text
        assert "twice" in text
    else:
        assert f"'p{other}'" in text
        assert f"'p{owners[place]}'" in text


@quick
@given(partitions(), st.randoms(use_true_random=False), st.data())
def test_any_place_held_by_nobody_is_refused(partition, rng, data):
    shape, by, owners = partition
    gone = data.draw(st.sets(st.integers(0, len(owners) - 1), min_size=1))
    kept = {}
    for party, ranges in written(by, owners, rng).parties.items():
        mine = {place for first, last in ranges for place in range(first, last + 1)} - gone
        if mine:
            kept[party] = as_ranges(mine)
    if not kept:
        return
    text = refused(split(by, **kept), shape)
    gaps = [gap if len(set(gap.split("-"))) > 1 else gap.split("-")[0] for gap in as_ranges(gone)]
    assert f"{', '.join(gaps[:4])}{', ...' if len(gaps) > 4 else ''} ({len(gone)} of {len(owners)})" in text


def test_rows_are_on_all_channels_and_columns():
    held = places(split("rows", a="0", b=["1-2"]), (2, 3, 2))
    assert held["a"].tolist() == [0, 1, 6, 7]
    assert held["b"].tolist() == [2, 3, 4, 5, 8, 9, 10, 11]
    assert list(held) == ["a", "b"]


def test_the_paper_s_halves():
    held = places(split("rows", a="0-13", b="14-27"), (1, 28, 28))
    assert torch.equal(held["a"], torch.arange(392))
    assert torch.equal(held["b"], torch.arange(392, 784))


@pytest.mark.parametrize(
    ("by", "parties", "says"),
    [
        ("rows", {"a": "0-13", "b": "13-27"}, "split by rows: parties 'a' and 'b' are both given row 13; give each"),
        ("rows", {"b": "10-27", "a": "0-13"}, "split by rows: parties 'b' and 'a' are both given rows 10-13; give"),
        ("rows", {"a": "0-27", "b": "3-5"}, "parties 'a' and 'b' are both given rows 3-5"),
        ("rows", {"a": ["0-27", 3]}, "party 'a' is given row 3 twice; name each row once"),
        ("rows", {"a": "0-13", "b": "14-28"}, "party 'b' is given row 28, which does not exist; the last row is 27"),
        ("rows", {"a": "0-13", "b": "14-30"}, "party 'b' is given rows 28-30, which do not exist; the last row is 27"),
        ("rows", {"a": "0-13", "b": ["14-27", 10**30]}, f"party 'b' is given row {10**30}, which does not exist"),
        ("features", {"a": "0-391", "b": "392-784"}, "feature 784, which does not exist; the last feature is 783"),
        (
            "rows",
            {"a": "1-13", "b": "15-26"},
            "nobody is given rows 0, 14, 27 (3 of 28); give every row to one of a, b",
        ),
        ("rows", {"a": "0-26"}, "nobody is given row 27 (1 of 28)"),
        ("features", {"a": ["0-9", "20-29"], "b": "31-783"}, "features 10-19, 30 (11 of 784)"),
        ("features", {"a": [0, 2, 4, 6, 8, 10]}, "features 1, 3, 5, 7, ... (778 of 784)"),
    ],
)
def test_what_a_split_that_is_no_partition_is_told(by, parties, says):
    assert says in refused(split(by, **parties), (1, 28, 28))


def test_absurd_ranges_cost_nothing():
    start = time.process_time()
    text = refused(split("features", a="0-999999999", b=5), (3, 1000, 400_000))
    assert "parties 'a' and 'b' are both given feature 5" in text
    assert "200,000,000 of 1,200,000,000" in refused(split("features", a="0-999999999"), (3, 1000, 400_000))
    assert "do not exist" in refused(split("features", a="0-999999999"), (1, 28, 28))
    assert time.process_time() - start < 0.5
    held = places(
        split("features", a=[f"{2 * at}" for at in range(5_000)], b=["1", *range(3, 10_000, 2)]), (1, 100, 100)
    )
    assert torch.equal(held["b"], torch.arange(1, 10_000, 2))
