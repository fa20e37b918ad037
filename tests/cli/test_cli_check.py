"""`flab check`: one line a check, an exit status, and bad input on one line."""

import pytest

from fl_attack_bench import testing
from fl_attack_bench.testing import Finding

FOUND = [
    Finding(check="method: file", verdict="passed", said="one defense: Test"),
    Finding(check="horizontal: mean", verdict="failed", said="off by\n\x1b[31m a lot"),
    Finding(check="horizontal: CUDA", verdict="not applicable", said="no CUDA device on this machine"),
]


@pytest.fixture
def examined(monkeypatch):
    """What is asked of the examination, which finds the same in anything."""
    asked = []

    def examine(name, kind, parameters, allowance):
        asked.append((name, kind, parameters, allowance))
        yield from FOUND

    monkeypatch.setattr(testing, "examine", examine)
    return asked


def test_a_line_a_check_and_status_1_where_one_failed(flab, examined):
    status, out, err = flab("check", "mine.py")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "passed  method: file              one defense: Test"
    assert lines[1] == "FAILED  horizontal: mean          off by [31m a lot"
    assert lines[2] == "n/a     horizontal: CUDA          no CUDA device on this machine"
    assert lines[3].startswith("1 passed, 1 failed, 1 not applicable, in ")
    assert examined == [("mine.py", None, {}, testing.Allowance(20, 8))]


def test_what_failed_for_the_same_reason_is_told_once(flab, monkeypatch):
    again = Finding(check="horizontal: bytes", verdict="failed", said=FOUND[1].said)
    monkeypatch.setattr(testing, "examine", lambda *words: iter([FOUND[1], again, again, FOUND[2], FOUND[2]]))
    lines = flab("check", "mine.py")[1].splitlines()
    assert lines[1:3] == ["FAILED  horizontal: bytes         the same"] * 2
    assert lines[3] == lines[4] == "n/a     horizontal: CUDA          no CUDA device on this machine"


def test_status_0_where_none_failed(flab, monkeypatch):
    monkeypatch.setattr(testing, "examine", lambda *words: iter([FOUND[0], FOUND[2]]))
    assert flab("check", "mine.py")[0] == 0


def test_parameters_kind_and_limits_are_handed_over(flab, examined):
    words = ["--parameter", "prune=0.5", "--parameter", "scope=model", "--kind", "defense"]
    flab("check", "gradient_compression[residual=true]", *words, "--seconds", "5", "--memory-gib", "2")
    parameters = {"residual": True, "prune": 0.5, "scope": "model"}
    assert examined == [("gradient_compression", "defense", parameters, testing.Allowance(5, 2))]


def test_a_real_one(flab):
    status, out, err = flab("check", "gradient_sparsification")
    assert (status, err) == (0, "")
    assert "passed  vertical: gradients       gradients moved by" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "nowhere.py does not exist"),
        (["soterai"], "unknown defense 'soterai'; did you mean 'soteria'?"),
        (["none", "--parameter", "x"], "write NAME"),
        (["none", "--parameter", "x=[1,2"], "write NAME"),
        (["none+none"], "one method at a time"),
        (["none", "--seconds", "0"], "Invalid value for '--seconds'"),
    ],
)
def test_bad_input_is_one_line(flab, words, message):
    status, out, err = flab("check", *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
