"""`flab parties`: a protocol as processes beside the same in one process, and bad input."""

import json
import shlex
from dataclasses import replace

import pytest
import torch

from fl_attack_bench.processes import comparison
from fl_attack_bench.processes.play import Tally

LOGISTIC = {
    "name": "digit-0",
    "scenario": "outsourced",
    "dataset": "digits",
    "layers": [{"kind": "dense", "outputs": 1, "activation": "sigmoid"}],
    "training": {"steps": 4, "batch_size": 8},
    "inference_batch": 8,
    "target": 0,
}
SUITE = {"suite": "tiny", "version": 1, "title": "Tiny", "seeds": [0], "tasks": [LOGISTIC], "defenses": ["none"]}


@pytest.fixture
def suite(tmp_path):
    def write(**changes):
        (tmp_path / "tiny.yaml").write_text(json.dumps(SUITE | changes))

    return write


def test_the_protocol_of_random_transformations_as_six_processes(flab, suite):
    suite()
    status, out, err = flab(*shlex.split("parties tiny.yaml --defense rtas --steps 2 --predict 1"))
    assert (status, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["party", "sent", "socket", "received", "socket", "off", "messages", "computing"]
    assert [row.split()[0] for row in rows[:6]] == ["owner", "labels", "compute/0", "compute/1", "helper", "third"]
    assert [line for line in rows if line.startswith(("weights", "predictions"))] == [
        "weights      the same bit for bit",
        "predictions  the same bit for bit",
    ]
    assert sum("modelled network" in row and "LAN" in row for row in rows) == 2


@pytest.fixture
def played(monkeypatch):
    """Stands in for both runs: two rows and what differs; ``change`` alters the second row."""

    def stand_in(change, differences):
        row = comparison.Row("owner", 900, 100, 900, 100, 1_000, 150, 100.0, 50.0, 1, 0.001)
        tallies = {"inference": {"owner": Tally()}}
        one = comparison.Played(None, torch.zeros(1), tallies, {"inference": 0.01})
        framing = comparison.Framing(310.0, 138.0, 103.0, 64.0, 0.0)

        class Reference:
            def seconds(self, topic, link):
                return 0.001, 0.002, 0.003

        rows = [row, replace(row, party="third", **change)]
        found = comparison.Comparison(one, Reference(), framing, rows, differences)
        monkeypatch.setattr(comparison, "compared", lambda what, defense, **options: found)

    return stand_in


@pytest.mark.parametrize(
    ("change", "differences", "status", "told"),
    [
        ({}, [("predictions", 0.0, 0.0)], 0, "carried the metered bytes and framing to within 0.000%"),
        ({"socket_sent": 1_022}, [("predictions", 0.0, 0.0)], 0, "to within 1.913%"),
        ({"socket_sent": 1_024}, [("predictions", 0.0, 0.0)], 1, "third is off by +2.09%, more than 2%"),
        ({"socket_sent": 976}, [("predictions", 0.0, 0.0)], 1, "third is off by -2.09%, more than 2%"),
        ({}, [("predictions", 1e-9, 0.0)], 1, "predictions  differ by up to 1e-09"),
        ({}, [("predictions", 5e-9, 1e-9)], 0, "differ by up to 5e-09; two runs in one process by up to 1e-09"),
        ({}, [("predictions", 5e-8, 1e-9)], 1, "predictions  differ by up to 5e-08"),
    ],
)
def test_the_exit_status_says_whether_bytes_and_results_hold(flab, suite, played, change, differences, status, told):
    suite()
    played(change, differences)
    got, out, err = flab(*shlex.split("parties tiny.yaml --defense rtas --predict 1"))
    assert (got, err) == (status, "")
    assert told in out


CNN = LOGISTIC | {"name": "other"}


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        ({}, "", "Missing option '--defense'"),
        ({}, "--defense rtasx", "--defense rtasx: unknown defense 'rtasx'; did you mean 'rtas'?"),
        ({}, "--defense soteria", "--defense soteria: soteria is not for outsourced tasks"),
        ({}, "--defense none+rtas", "protocols of outsourced tasks cannot be chained"),
        ({}, "--defense 'rtas[fraction_bit=3]'", "unknown parameter of Rtas 'fraction_bit'"),
        ({}, "--defense rtas --task digit-1", "unknown outsourced task 'digit-1'; did you mean 'digit-0'?"),
        ({"tasks": [LOGISTIC, CNN]}, "--defense rtas", "name one by --task (digit-0, other)"),
        ({}, "--defense rtas --steps 5", "5 steps: task 'digit-0' has 4"),
        ({}, "--defense rtas --steps 0 --predict 0", "nothing is to be played"),
        ({}, "--defense rtas --steps -1", "Invalid value for '--steps'"),
        ({}, "--defense rtas --seconds 0", "Invalid value for '--seconds'"),
        ({"tasks": [LOGISTIC | {"dataset": "mnist"}]}, "--defense rtas", "mnist"),
        ({"tasks": [LOGISTIC | {"target": 11}]}, "--defense rtas", "target=11 is none of the 10 classes"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(flab, suite, changes, text, message):
    suite(**changes)
    status, out, err = flab("parties", "tiny.yaml", *shlex.split(text))
    assert (status, out) == (2, "")
    assert err.startswith("flab: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_suite_without_an_outsourced_task(flab, tiny):
    assert flab("parties", tiny, "--defense", "rtas")[::2] == (2, "flab: suite 'tiny' has no outsourced task\n")


def test_a_party_that_falls_silent_is_one_line(flab, suite, monkeypatch):
    from fl_attack_bench.api import PartySilent

    def silent(what, defense, **options):
        raise PartySilent("compute/0 waits for third, which does not answer")

    suite()
    monkeypatch.setattr(comparison, "compared", silent)
    status, out, err = flab(*shlex.split("parties tiny.yaml --defense rtas"))
    assert (status, out) == (2, "")
    assert err == "flab: rtas[reproducible=True]: compute/0 waits for third, which does not answer\n"
