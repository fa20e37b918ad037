"""Timing in turns: who is called when, what a round's seconds are, and which cells are timed."""

import json
from pathlib import Path

import pytest
import vertical_boards

from fl_attack_bench import hardware, interleaved
from fl_attack_bench.checkout import Checkout
from fl_attack_bench.errors import UserError
from fl_attack_bench.interleaved import Turns, seconds, timed_pairs
from fl_attack_bench.suite import Limits, MethodSpec

WORKER = """
import json, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
print(json.dumps({"ready": True}), flush=True)
for turn, line in enumerate(sys.stdin):
    asked = json.loads(line)
    with (root.parent / "turns").open("a") as stream:
        print(root.name, asked["job"]["kind"], asked["job"]["cell"]["defense"]["name"], file=stream)
    if (root / "broken").exists():
        print(json.dumps({"id": asked["id"], "status": "error", "reason": "no more", "seconds": 0.0}), flush=True)
        continue
    left = Path(asked["settings"]["work"]) / "timing" / "key"
    left.mkdir(parents=True)
    (left / "result.json").write_text(json.dumps({"passive_seconds": 10.0 - turn, "active_seconds": 1.0}))
    print(json.dumps({"id": asked["id"], "status": "ok", "seconds": 0.0}), flush=True)
"""


@pytest.fixture
def checkouts(tmp_path):
    found = {}
    for side in ("base", "head"):
        package = tmp_path / side / "fl_attack_bench"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "worker.py").write_text(WORKER)
        found[side] = Checkout(side, tmp_path / side)
    return found


def turns(checkouts, tmp_path, plays=2):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    profile = hardware.load("generic-cpu")
    return Turns(checkouts, profile, Limits(), scratch, tmp_path, plays)


def test_base_and_head_are_played_in_turns_and_the_fastest_play_counts(checkouts, tmp_path):
    cell = vertical_boards.hand()[0].cell
    with turns(checkouts, tmp_path) as playing:
        found = playing.time(cell, cell, 3)
    order = [line.split()[0] for line in (tmp_path / "turns").read_text().splitlines()]
    assert order == ["base", "head", *["base", "base", "head", "head"] * 3]
    assert found.base == found.head == (9.0, 7.0, 5.0)  # the first play warms up; then two a round


def test_each_side_plays_its_own_file_of_a_method(checkouts, tmp_path):
    cell = vertical_boards.hand()[0].cell.model_copy(update={"defense": MethodSpec(name="./mine/own.py")})
    with turns(checkouts, tmp_path, plays=1) as playing:
        playing.time(cell, cell, 1)
    names = {tuple(line.split()[::2]) for line in (tmp_path / "turns").read_text().splitlines()}
    assert names == {(side, str(tmp_path / side / "mine" / "own.py")) for side in ("base", "head")}


def test_a_timing_that_ends_badly_is_named(checkouts, tmp_path):
    (tmp_path / "head" / "broken").touch()
    cell = vertical_boards.hand()[0].cell
    with (
        turns(checkouts, tmp_path) as playing,
        pytest.raises(UserError, match=f"head: timing of {cell.id}: error: no more"),
    ):
        playing.time(cell, cell, 3)


def test_what_a_timing_comes_to():
    assert seconds({"client_seconds": 1.0, "defense_seconds": 0.5, "server_seconds": 2.0}) == 3.0
    assert seconds({"passive_seconds": 1.0, "active_seconds": 2.0, "defense_seconds": 1.0}) == 3.0
    stage = {"seconds": 1.0, "offline_seconds": 0.25, "party_seconds": {"a": 9.0}}
    assert seconds({"setup": stage, "training": stage, "inference": stage}) == 2.5
    with pytest.raises(UserError, match="a timing holds no seconds, only setup"):
        seconds({"setup": stage})


def test_each_task_and_defense_is_timed_once():
    records = vertical_boards.hand()
    pairs = list(timed_pairs(records, records))
    assert sorted(after.cell.defense.name for _, after in pairs) == ["noise", "none"]
    failed = [
        one.model_copy(update={"status": "error"}) if one.cell.defense.name == "noise" else one for one in records
    ]
    assert [after.cell.defense.name for _, after in timed_pairs(failed, records)] == ["none"]
    assert not list(timed_pairs([], records))


def test_the_real_worker_leaves_what_is_read_here():
    """The names that are summed are those that the players write."""
    play = Path(interleaved.__file__).parent / "play"
    text = "".join((play / f"{name}.py").read_text() for name in ("horizontal", "vertical", "outsourced"))
    for name in ("client_seconds", "server_seconds", "passive_seconds", "active_seconds", "offline_seconds"):
        assert json.dumps(name) in text
