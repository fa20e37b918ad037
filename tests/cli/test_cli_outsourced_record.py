"""`flab show CELL` of outsourced tasks: each result in a row of its own."""

import outsourced_records as made

from fl_attack_bench.cli.record import shown

WHERE = made.task()


def rows(**fields):
    return dict(shown(made.record(WHERE, "hiding[masks=fresh]", **fields)))


def test_accuracy_stands_beside_the_plain_one_and_weights_beside_the_plain_ones():
    found = rows(learned=made.learned(0.89, 0.9, 0.02, diverged=True))
    assert found["task"] == f"mnist-cnn: digits, {WHERE.network}"
    assert found["accuracy"] == "0.8900 (diverged) after 100 steps, plain 0.9000"
    assert found["weights"] == "largest difference from the plain ones 0.02, root mean square 0.002"
    assert "weights" not in rows(learned=made.learned(weights=None))


def test_what_is_reconstructed_from_whose_view():
    got = made.inputs(0.01, 0.03, blind=0.2, known=1500, party="labels", moment="training", knows_model=True)
    found = rows(inputs=got)
    assert found["view"] == "labels, watching the training; knows the weights"
    assert found["features"] == (
        "MSE mean 0.02, lowest 0.01 over 2 samples, 1,500 known and 100 public; a blind guess 0.2"
    )
    assert "view" not in rows()


def test_each_stage_with_its_parties():
    found = rows(cost=made.cost(2000.0, 500.0, 0.04, 8))
    assert found["bytes"].endswith(" in setup and training")
    assert found["training step"] == (
        "32 samples, 8 trips: 12,000 bytes and 500 ahead of the data; seconds: network 0.000832 on LAN, "
        "0.1603 on WAN; computing 0.04 and 0.02 ahead"
    )
    assert found["inference"].startswith("32 samples, 4 trips: 6,000 bytes and 250 ahead")
    assert found["setup"].startswith("1,000 samples, 1 trips")
    assert found["  third"] == "1,000 bytes sent and 1,000 received; ahead 250 and 0; 0.005 seconds"


def test_a_protocol_that_does_not_train_and_a_clock_that_did_not_run():
    cost = made.cost(trains=False)
    dumb = cost.inference.model_copy(update={"seconds": None, "offline_seconds": None, "party_seconds": None})
    found = rows(cost=cost.model_copy(update={"inference": dumb}))
    assert "training step" not in found
    assert found["inference"].endswith("computing unknown and unknown ahead")
    assert found["  third"].endswith("unknown seconds")


def test_a_record_without_a_result_says_why():
    found = rows(status="timeout", reason="stopped after 20 minutes")
    assert found["status"] == "timeout: stopped after 20 minutes"
    assert not {"accuracy", "bytes"} & found.keys()
