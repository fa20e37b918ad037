"""Numbers that no axis can hold, and times without a zone: a record may say anything, and the board must stand."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import synthetic

from fl_attack_bench import score
from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.site import contents, defense_costs, feed, sweep_measures
from fl_attack_bench.site.style import LARGEST, Look, drawable, drawing

HUGE = (1e31, 1e300, 1.7e308, math.inf, math.nan)
LOOK = Look("#2a7fb8", "o")


@pytest.fixture(scope="module")
def rows():
    """The undefended and two defenses on one task."""
    where = synthetic.task(victims=3)
    return score.rows([synthetic.record(where, defense) for defense in synthetic.DEFENSES[:3]])


def costing(row, value):
    return replace(row, cost=replace(row.cost, up_times=value, seconds_times={"LAN": value}))


@pytest.mark.parametrize("value", HUGE)
def test_a_cost_that_no_axis_holds_is_no_bar(rows, value, tmp_path):
    base, one, other = rows
    bill = defense_costs.horizontal("digits", [costing(one, value), costing(other, 3.0)], base)
    assert [math.isnan(told) for told in bill.columns["bytes up"]] == [True, False]
    with drawing():
        drawn = defense_costs.bars([bill], LOOK, tmp_path, "cost")
    text = (tmp_path / drawn.light).read_text()
    assert ">3.00×<" in text
    assert ">–<" in text


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-31, 1e-30, 1.0, 1e30])
def test_from_nothing_to_much_it_is_drawn(rows, value, tmp_path):
    base, one, other = rows
    with drawing():
        bill = defense_costs.horizontal("digits", [costing(one, value), costing(other, value)], base)
        assert defense_costs.bars([bill], LOOK, tmp_path, "cost") is not None
    assert not any(math.isnan(told) for told in bill.columns["bytes up"])


@pytest.mark.parametrize("value", HUGE)
def test_a_figure_that_no_axis_holds_is_no_point(rows, value):
    privacy, learned = sweep_measures.horizontal(rows)
    row = rows[1]
    assert privacy.read(row) is not None
    worst = replace(row.privacy, mean=Estimate(value, value, value))
    assert privacy.read(replace(row, privacy=worst)) is None
    assert learned.read(replace(row, utility=replace(row.utility, accuracy=-value))) is None


def test_what_an_axis_holds():
    assert [drawable(value) for value in (0.0, -LARGEST, LARGEST, 5e-324)] == [True] * 4
    assert [drawable(value) for value in (*HUGE, -1e31)] == [False] * 6


def test_times_with_and_without_a_zone_are_put_in_order():
    times = datetime(2026, 1, 2, 3), datetime(2026, 1, 2, 4, tzinfo=UTC)
    made = [synthetic.record(synthetic.task(victims=3), seed=seed) for seed in (0, 1)]
    made = [
        one.model_copy(update={"provenance": one.provenance.model_copy(update={"started": time})})
        for one, time in zip(made, times, strict=True)
    ]
    (entry,) = feed.entries(contents.gather(score.rows(made), [], [], made, {}))
    assert entry.updated == times[1]
    assert entry.summary.startswith("2 records; ")
