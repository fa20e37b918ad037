"""Records of outsourced tasks as figures with names and steps, and without what the clock measured."""

import outsourced_records as made
import pytest

from fl_attack_bench.tracked import figures, parameters

WHERE = made.task()


def logged(**fields):
    return {name: value for name, value, _ in figures(made.record(WHERE, "hiding", **fields))}


def test_utility():
    found = logged(learned=made.learned(0.89, 0.9, 0.02, diverged=True))
    assert (found["utility/accuracy"], found["utility/plain_accuracy"]) == (0.89, 0.9)
    assert (found["utility/weight_difference"], found["utility/diverged"]) == (0.02, 1)
    assert "utility/weight_difference" not in logged(learned=made.learned(weights=None))
    assert not [name for name in found if name.startswith("privacy")]


def test_what_is_reconstructed():
    found = logged(inputs=made.inputs(0.01, 0.03, blind=0.2, known=7))
    names = ("input_mse", "input_mse_min", "input_mse_blind", "known", "attack_seconds")
    assert [found[f"privacy/{name}"] for name in names] == [pytest.approx(0.02), 0.01, pytest.approx(0.2), 7, 0.3]


def test_bytes_by_party_and_seconds_of_each_stage():
    found = logged(cost=made.cost(2000.0, 500.0, 0.04, 8))
    assert (found["cost/training/bytes_sent"], found["cost/training/bytes_offline_sent"]) == (12_000, 500)
    assert found["cost/inference/bytes_sent/compute/0"] == 1000
    assert found["cost/training/bytes_offline_received/owner"] == 500
    assert (found["cost/training/rounds"], found["cost/training/seconds"]) == (8, 0.04)
    assert found["cost/training/seconds/third"] == 0.01
    assert found["cost/inference/network_seconds/WAN"] == pytest.approx(8 * 2000 / 1e8 + 4 * 0.02)
    assert found["cost/setup/samples"] == 1000
    assert not [name for name in logged(cost=made.cost(trains=False)) if name.startswith("cost/training/")]


def test_the_network_is_a_parameter_and_the_longest_record_fits_into_one_batch():
    names = tuple(f"party {place}" for place in range(16))
    record = made.record(WHERE, inputs=made.inputs(0.1, 0.1), cost=made.cost(parties=names))
    assert parameters(record)["model"] == WHERE.network
    assert len(figures(record)) < 1000
    assert len({name for name, *_ in figures(record)}) == len(figures(record))


class TestWithoutTimings:
    def plain(self, **fields):
        return made.record(WHERE, "hiding", **({"inputs": made.inputs(0.1, 0.1)} | fields)).without_timings()

    def test_what_the_clock_measured_makes_no_difference(self):
        slower = made.cost(seconds=0.5)
        assert slower != made.cost()
        later = made.inputs(0.1, 0.1, seconds=9.0)
        assert self.plain(cost=slower, inputs=later) == self.plain()
        kept = self.plain()["outsourced"]
        for stage in ("setup", "training", "inference"):
            assert not {"seconds", "offline_seconds", "party_seconds"} & kept["cost"][stage].keys()
        assert "seconds" not in kept["inputs"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"cost": made.cost(sent=1001.0)},
            {"cost": made.cost(rounds=5)},
            {"inputs": made.inputs(0.1, 0.2)},
            {"learned": made.learned(0.8)},
        ],
    )
    def test_everything_else_does(self, fields):
        assert self.plain(**fields) != self.plain()

    def test_parts_that_are_absent(self):
        bare = self.plain(cost=None, inputs=None, learned=None)
        assert bare["outsourced"] == {"learned": None, "inputs": None, "cost": None}
        assert self.plain(cost=made.cost(trains=False))["outsourced"]["cost"]["training"] is None
        assert made.record(WHERE, status="timeout").without_timings()["outsourced"] is None
