"""`flab show CELL` of vertical tasks: each result in a row of its own."""

import vertical_records as made

from fl_attack_bench.cli.record import shown

WHERE = made.task()


def rows(**fields):
    return dict(shown(made.record(WHERE, "noise[variance=0.1]", **fields)))


def test_a_backdoor_stands_beside_the_honest_training():
    found = rows(attacked=made.learned(0.85, 0.75, diverged=True))
    assert found["task"] == f"split-digits: digits, {WHERE.network}"
    assert found["accuracy"] == "0.9000 after epoch 10"
    assert found["trigger"].startswith(
        "2.0% of 100 samples are taken for the target; mean prediction by class: 0.109, "
    )
    assert found["accuracy attacked"] == "0.8500 (diverged after epoch 10)"
    assert found["trigger attacked"].startswith("75.0% of 100 samples")
    assert found["trigger attacked"].endswith("0.028, ...")
    assert not {"labels", "features"} & found.keys()


def test_what_is_inferred_and_reconstructed():
    assert rows(labels=made.labels(0.7, 0.25, known=40))["labels"] == (
        "70.0% of 960 found, 40 known; the most frequent class is 25.0%"
    )
    assert rows(features=made.features(0.01, 0.03, blind=0.2))["features"] == (
        "MSE mean 0.02, lowest 0.01 over 2 samples, 50 known; a blind guess 0.2"
    )


def test_bytes_by_party():
    found = rows(cost=made.cost(WHERE, up=3000.0, down=30.0))
    assert found["bytes"] == "60,600 in 10 epochs; 128 a prediction"
    assert found["party a"] == "3,000 bytes sent and 30 received, an epoch"
    assert found["party active"] == "60 bytes sent and 6,000 received, an epoch"
    assert found["seconds"].startswith("network: 0.01 on lan, 1 on wan; passive party 0.5; active party 0.5")


def test_a_record_without_a_result_says_why():
    found = rows(status="timeout", reason="stopped after 20 minutes")
    assert found["status"] == "timeout: stopped after 20 minutes"
    assert not {"accuracy", "bytes"} & found.keys()
