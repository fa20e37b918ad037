"""Records of outsourced tasks that parse and cannot be true."""

import pytest
from outsourced_boards import WHERE, rows
from outsourced_records import STEPS, cost, inputs, learned, record, stage, task

from fl_attack_bench import score


def fault(where=WHERE, **fields):
    """Why the record of a protocol is refused; empty where it is not."""
    found = [record(where, "none", "matching", inputs=inputs(0, 0)), record(where, "hiding", "matching", **fields)]
    return next((failure.reason for failure in rows(found)["hiding"].failures), "")


def changed(**fields):
    """A cost with other stages."""
    return cost().model_copy(update=fields)


def test_a_sound_record_has_none():
    assert fault(inputs=inputs(0.1, 0.2)) == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"learned": learned(steps=STEPS + 1)}, "101 steps of 100"),
        ({"learned": learned(weight_rms_difference=1.0)}, "above the largest one"),
        ({"inputs": inputs(0.1)}, "exactly the task's victims"),
        ({"inputs": inputs(0.1, 0.1, 0.1)}, "exactly the task's victims"),
        ({"inputs": inputs(0.1, 1.1)}, "a clipped MSE above 1"),
        ({"inputs": inputs(0.1, 0.1, blind=1.1)}, "a clipped MSE above 1"),
        ({"inputs": inputs(0.1, 0.1, party="nobody")}, "the view of a party that takes no part"),
        ({"inputs": inputs(0.1, 0.1, moment="training"), "cost": cost(trains=False)}, "does not train"),
        ({"cost": changed(training=stage(batches=STEPS + 1))}, "more than 100 steps on 32 samples"),
        ({"cost": changed(training=stage(samples=33))}, "more than 100 steps on 32 samples"),
        ({"cost": changed(inference=stage(samples=33))}, "more than 32 samples"),
        ({"cost": changed(inference=stage(sent=1e19))}, "a cost above 1e+18"),
        ({"cost": changed(inference=stage(seconds=1e19))}, "a cost above 1e+18"),
        ({"cost": changed(bytes_total=7)}, "fewer bytes in all"),
        # Whole numbers that no float holds.
        ({"cost": changed(bytes_total=10**400)}, "a cost above 1e+18"),
        ({"cost": changed(setup=stage(batches=10**400))}, "a cost above 1e+18"),
        ({"cost": changed(inference=stage().model_copy(update={"rounds": 10**400}))}, "a cost above 1e+18"),
        ({"inputs": inputs(0.1, 0.1, known=10**400)}, "more than 1e+18 known or public samples"),
        ({"inputs": inputs(0.1, 0.1, auxiliary=10**400)}, "more than 1e+18 known or public samples"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, said):
    assert said in fault(**({"inputs": inputs(0.1, 0.1)} | fields))


def test_one_victim_twice_or_less_error_unclipped():
    twice = inputs(0.1, 0.1)
    twice = twice.model_copy(update={"victims": [twice.victims[0]] * 2})
    assert "exactly the task's victims" in fault(inputs=twice)
    clipped = inputs(0.1, 0.1)
    better = [one.model_copy(update={"mse_raw": 0.05}) for one in clipped.victims]
    assert "above the one without clipping" in fault(inputs=clipped.model_copy(update={"victims": better}))


@pytest.mark.parametrize("way", ["sent", "received", "offline_sent", "offline_received"])
def test_bytes_that_nobody_sent_or_received(way):
    one = stage()
    other = one.parties["helper"].model_copy(update={way: getattr(one.parties["helper"], way) + 500})
    made = one.model_copy(update={"parties": one.parties | {"helper": other}})
    assert "bytes that are sent to nobody" in fault(inputs=inputs(0.1, 0.1), cost=changed(inference=made))


def test_seconds_of_a_party_that_takes_no_part():
    made = stage().model_copy(update={"party_seconds": {"stranger": 1.0}})
    assert "seconds of a party" in fault(inputs=inputs(0.1, 0.1), cost=changed(inference=made))


def test_other_victims_than_the_undefended_ones():
    moved = inputs(0.1, 0.1)
    moved = moved.model_copy(
        update={"victims": [one.model_copy(update={"victim": one.victim + 5}) for one in moved.victims]}
    )
    assert fault(inputs=moved) == "its victims are not those of the undefended record"
    # Those of the training are other samples.
    assert fault(inputs=moved.model_copy(update={"moment": "training"})) == ""


def test_a_task_that_nobody_attacks():
    quiet = task(victims=None)
    reasons = [
        rows([record(quiet, "none", attack, inputs=inputs(0.1, 0.1))])["none"].failures[0].reason
        for attack in (None, "matching")
    ]
    assert "without an attack" in reasons[0] or "without victims" in reasons[0]
    assert "without victims" in reasons[1]


def test_results_of_other_tracks():
    from boards import record as horizontal

    foreign, own = horizontal("noise", initial=[0.1, 0.1]), record(WHERE, "none", "matching", inputs=inputs(0, 0))
    (row,) = rows([own.model_copy(update={"utility": foreign.utility})]).values()
    assert "another scenario on an outsourced task" in row.failures[0].reason
    (line,) = score.rows([foreign.model_copy(update={"outsourced": own.outsourced})])
    assert "an outsourced task on a horizontal one" in line.failures[0].reason
    assert score.outsourced_rows([foreign]) == ()
