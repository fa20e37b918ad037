"""Parties as processes: the same results and bytes as in one process, and no process left behind whatever happens."""

import os
import signal
import subprocess
import sys
import time

import additive_sums
import psutil
import pytest
import torch

from fl_attack_bench.api import OWNER, Holding, PartySilent
from fl_attack_bench.errors import UserError
from fl_attack_bench.processes import comparison
from fl_attack_bench.processes.play import play
from fl_attack_bench.processes.schedule import Schedule, told
from fl_attack_bench.processes.supervisor import PartyFailed


@pytest.fixture
def nobody_left():
    """No process that the test started is alive behind it; another test's browser may be."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert [child.cmdline() for child in left] == []


def test_processes_do_what_one_process_does(sums, nobody_left):
    what = sums()
    found = comparison.compared(what, additive_sums.AdditiveSums(), seconds=20, threads=1)
    assert [(name, difference) for name, difference, _ in found.differences] == [("weights", 0), ("predictions", 0)]
    samples = what.holdings[OWNER].features.double()
    # Each number is rounded to a multiple of 2^-16 once.
    torch.testing.assert_close(
        found.played.weights[0], sum(samples[rows].sum(0) for rows in what.batches), atol=12 * 2**-17, rtol=0
    )
    expected = torch.cat([new.double().sum(1, keepdim=True) for new in what.features])
    torch.testing.assert_close(found.played.predictions, expected, atol=6 * 2**-17, rtol=0)
    assert [(row.party, row.messages) for row in found.rows] == [(OWNER, 6), ("compute/0", 5), ("compute/1", 5)]
    assert all(row.metered_alike for row in found.rows)
    assert sum(row.socket_sent for row in found.rows) == sum(row.socket_received for row in found.rows)
    assert found.same
    assert found.bytes_hold
    assert set(found.seconds) == {"training", "inference"}


def alone(sums, **parameters):
    return sums(steps=2, predictions=1, computers=1, **parameters)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "compute/0.* was killed by signal 9"),
        (signal.SIGSTOP, "owner waits for compute/0, which .*; compute/0 does not answer|compute/0 .*, which does not"),
    ],
)
def test_a_party_that_dies_or_stops_is_named_and_ends_the_run(sums, nobody_left, number, message):
    began = []

    def strike(processes):
        began.append(time.monotonic())
        os.kill(processes["compute/0"], number)

    with pytest.raises(PartySilent, match=message):
        play(alone(sums), seconds=1, started=strike)
    assert time.monotonic() - began[0] < 6


@pytest.mark.parametrize(
    ("manner", "error", "message"),
    [
        ("early", PartySilent, "owner waits for compute/0 in training 0, which has ended its part of it"),
        ("wrong", PartyFailed, "party compute/0 failed: ArithmeticError: cannot add"),
        ("chatty", PartyFailed, "owner did not read what came from compute/0|no use for a message of training 0"),
    ],
)
def test_a_party_that_does_not_do_its_part_is_named(sums, nobody_left, manner, error, message):
    began = time.monotonic()
    with pytest.raises(error, match=message):
        play(alone(sums, manner=manner), seconds=60)
    assert time.monotonic() - began < 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": (OWNER,)}, "a protocol has an 'owner' and somebody else; this one has owner"),
        ({"holdings": {}}, r"features: nothing, and shape \(10, 6\) is wanted"),
        (
            {"holdings": {OWNER: Holding(features=torch.zeros(10, 5))}},
            r"features: shape \(10, 5\), and shape \(10, 6\) is wanted",
        ),
        (
            {"holdings": {OWNER: Holding(torch.zeros(10, 6), weights=(torch.zeros(6, 2), torch.zeros(1)))}},
            r"weights 0: shape \(6, 2\), and shape \(6, 1\) is wanted",
        ),
        (
            {"holdings": {OWNER: Holding(torch.zeros(10, 6), weights=(torch.zeros(6, 1),))}},
            "owner holds 1 weights; the network has 2",
        ),
        ({"holdings": {"compute/2": Holding()}}, "'compute/2' holds something and is no party"),
        ({"batches": (torch.tensor([0, 10]),)}, "training 0: samples are numbers from 0 to 9"),
        ({"batches": (torch.tensor([], dtype=torch.int64),)}, "training 0: samples are numbers from 0 to 9"),
        ({"features": (torch.zeros(3, 7),)}, r"inference 0: shape \(3, 7\), and shape \(3, 6\) is wanted"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_process_starts(sums, change, message):
    what = sums()
    asked = type(what)(**{**{name: getattr(what, name) for name in what.__dataclass_fields__}, **change})
    began = time.monotonic()
    with pytest.raises(UserError, match=message):
        play(asked, started=lambda processes: pytest.fail("started"))
    assert time.monotonic() - began < 0.5


def test_a_party_is_told_its_own_holding_and_what_all_know():
    schedule = Schedule((torch.tensor([1, 2]), torch.tensor([0])), (3,))
    rows = torch.tensor([1, 2, 0])
    everybody = told(Holding(), schedule, ())
    assert list(everybody) == ["rows"]
    assert everybody["rows"].equal(rows)
    assert set(told(Holding(targets=rows), schedule, ())) == {"rows", "targets"}
    owner = told(Holding(features=rows, weights=(rows, rows)), schedule, (rows,))
    assert set(owner) == {"rows", "features", "weights/0", "weights/1", "predicted"}


WAITING = """
import sys, time
from fl_attack_bench.processes.child import Child
import queue, pathlib
events = queue.SimpleQueue()
children = [Child(str(number), pathlib.Path(sys.argv[1], str(number)), events, 1) for number in range(2)]
print(*(child.process.pid for child in children), flush=True)
time.sleep(60)
"""


def test_no_party_outlives_the_one_that_started_it(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    parties = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    deadline = time.monotonic() + 30
    # It binds itself to its parent before it imports anything large.
    while not any("torch" in each.path for each in parties[0].memory_maps()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parties[0].suspend()
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(parties, timeout=5)
    assert len(parties) == 2
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)
