"""Records of vertical tasks as figures with names and steps."""

import pytest
import vertical_records as made

from fl_attack_bench.tracked import figures, parameters
from fl_attack_bench.vertical_record import PartyBytes

WHERE = made.task()


def logged(**fields):
    record = made.record(WHERE, "noise[variance=0.1]", **fields)
    return {(name, step): value for name, value, step in figures(record)}


def test_a_backdoor_is_logged_beside_the_honest_training():
    found = logged(attacked=made.learned(0.85, 0.75))
    assert found["utility/accuracy", 0] == 0.9
    assert found["utility/backdoor_success", 0] == 0.02
    assert found["integrity/accuracy", 0] == 0.85
    assert found["integrity/backdoor_success", 0] == 0.75
    assert found["integrity/accuracy_by_epoch", made.EPOCHS] == pytest.approx(0.85)
    assert found["integrity/backdoor_success_by_epoch", made.EPOCHS] == pytest.approx(0.75)
    assert not [name for name, _ in found if name.startswith("privacy")]


def test_what_is_inferred_and_reconstructed():
    found = logged(labels=made.labels(0.7, 0.3))
    assert (found["privacy/label_accuracy", 0], found["privacy/label_majority", 0]) == (0.7, 0.3)
    found = logged(features=made.features(0.01, 0.03, blind=0.2))
    mean, least, blind = (found[f"privacy/feature_mse{end}", 0] for end in ("", "_min", "_blind"))
    assert (mean, least, blind) == (pytest.approx(0.02), 0.01, pytest.approx(0.2))
    assert not [name for name, _ in found if name.startswith("integrity")]


def test_bytes_by_party_and_seconds():
    found = logged(cost=made.cost(WHERE, up=300.0, down=30.0))
    assert found["cost/bytes_sent/a", 0] == 300
    assert found["cost/bytes_sent/active", 0] == 60
    assert found["cost/bytes_received/active", 0] == 600
    assert found["cost/bytes_total", 0] == made.EPOCHS * 660
    assert found["cost/network_seconds/wan", 0] == 1.0


def test_the_network_is_a_parameter():
    assert parameters(made.record(WHERE))["model"] == WHERE.network


def test_the_longest_record_fits_into_one_batch():
    points = [(turn, 0.5) for turn in range(10_001)]
    long = made.learned()
    long = long.model_copy(update={"curve": points, "triggered": long.triggered.model_copy(update={"curve": points})})
    parties = {f"p{place}": PartyBytes(sent=1, received=1) for place in range(65)}
    cost = made.cost(WHERE).model_copy(update={"parties": parties})
    record = made.record(WHERE, honest=long, attacked=long, labels=made.labels(0.5), cost=cost)
    found = figures(record)
    assert len(found) < 1000
    assert max(step for name, _, step in found if name == "integrity/accuracy_by_epoch") == 10_000
