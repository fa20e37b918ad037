"""Privacy, utility and cost against a board worked out by hand."""

import pytest
from boards import PAIR, arbitrary, by_defense, hand, record
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import score
from fl_attack_bench.record import Privacy


def test_worst_case_is_the_lowest_counting_mse_of_each_image():
    row = by_defense(hand())["noise"]
    assert row.privacy.moment == "initial"
    assert row.privacy.mean.value == pytest.approx(0.165)
    assert row.privacy.median.value == pytest.approx(0.12)
    assert row.privacy.ssim == pytest.approx(1 - 0.165)
    assert row.privacy.strongest == (("dlg", 2), ("idlg", 2))
    assert [worst.mean.value for worst in row.moments] == pytest.approx([0.165, 0.25])


def test_interval_surrounds_the_mean_and_repeats():
    first, second = by_defense(hand())["noise"], by_defense(hand())["noise"]
    mean = first.privacy.mean
    assert 0.02 <= mean.low <= mean.value <= mean.high <= 0.40
    assert mean.low < mean.high
    assert first == second


@settings(max_examples=25, deadline=None)
@given(arbitrary(), st.data())
def test_an_attack_more_never_raises_privacy(records, data):
    more = [
        record(r.cell.defense.name, "other", 0, data.draw(PAIR), data.draw(PAIR), r.utility.accuracy) for r in records
    ]
    before, after = by_defense(records), by_defense([*records, *more])
    for name, row in before.items():
        assert after[name].privacy.mean.value <= row.privacy.mean.value + 1e-12


def test_the_weakest_guarantee_is_shown():
    statements = [Privacy(statement="a", epsilon_server=3.0), Privacy(statement="b", epsilon_server=None)]
    records = [record("noise", seed=seed, privacy=privacy) for seed, privacy in enumerate(statements)]
    assert score.rows(records)[0].guarantee.statement == "b"


def test_utility():
    utility = by_defense(hand())["noise"].utility
    assert utility.accuracy == pytest.approx(0.83)
    assert utility.sd == pytest.approx(0.02 * 2**0.5)
    assert utility.difference == pytest.approx((-0.05 + 0.01) / 2)
    assert utility.difference_sd == pytest.approx(0.03 * 2**0.5)
    assert utility.centralised == pytest.approx(0.95)
    assert utility.seeds == 2


def test_cost_as_multiples_of_undefended():
    cost = by_defense(hand())["noise"].cost
    assert (cost.bytes_total, cost.bytes_round) == (750, 150)
    assert (cost.up_times, cost.down_times, cost.round_times) == (0.5, 1.0, 0.75)
    assert cost.seconds == pytest.approx({"lan": 1.65, "wan": 2.55})
    assert cost.seconds_times == pytest.approx({"lan": 1.65 / 1.6, "wan": 2.55 / 2.5})
