"""How a vertical task is written, and what is refused before anything is loaded."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench import suite
from fl_attack_bench.errors import UserError
from fl_attack_bench.schema import parse
from fl_attack_bench.suite import Cell, Suite
from fl_attack_bench.tasks import HorizontalTask, VerticalTask
from fl_attack_bench.tasks.vertical import Split

TASK: dict[str, Any] = {
    "name": "halves",
    "scenario": "vertical",
    "dataset": "digits",
    "split": {"by": "rows", "parties": {"upper": "0-13", "lower": "14-27"}},
    "training": {"epochs": 3},
    "malicious": "lower",
    "backdoor": {"target": 0, "trigger": {"pixels": [[27, 27]]}},
}
HORIZONTAL = {"name": "plain", "dataset": "digits", "model": "mlp", "victims": {"first": 2}}


def document(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {
        "suite": "test",
        "version": 1,
        "title": "Test",
        "seeds": [0],
        "tasks": list(tasks),
        "attacks": ["dlg"],
        "defenses": ["none"],
    }


def test_both_kinds_of_task_stand_in_one_suite():
    found = parse(Suite, document(HORIZONTAL, TASK), "x.yaml")
    assert [type(task) for task in found.tasks] == [HorizontalTask, VerticalTask]
    vertical = found.tasks[1]
    assert isinstance(vertical, VerticalTask)
    assert vertical.split.parties == {"upper": [(0, 13)], "lower": [(14, 27)]}
    assert (vertical.network, vertical.length) == ("2 x (32 relu, 32)", "3 epochs")
    assert vertical.attacked


def test_a_task_without_a_malicious_party_is_not_attacked():
    quiet = {key: value for key, value in TASK.items() if key not in ("malicious", "backdoor")}
    found = parse(Suite, document(quiet), "x.yaml")
    assert [cell.attack for cell in found.cells("any")] == [None]


def test_a_cell_survives_being_written_down():
    cell = parse(Suite, document(TASK), "x.yaml").cells("any")[0]
    again = Cell.model_validate(json.loads(cell.model_dump_json()))
    assert again == cell
    assert again.id == cell.id


@given(
    st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(0, 10**4)).map(lambda pair: (pair[0], sum(pair))),
        min_size=1,
        max_size=5,
    )
)
def test_places_are_ranges_and_single_ones(ranges):
    written = [f"{first}-{last}" if first < last else first for first, last in ranges]
    assert Split.model_validate({"by": "features", "parties": {"a": written}}).parties["a"] == ranges


@pytest.mark.parametrize("places", ["13-0", "a", "0-", "-3", -1, 1.5, True, None, [], [[13, 0]], [[0, 1, 2]], {"0": 1}])
def test_what_is_no_place_is_refused(places):
    with pytest.raises(UserError, match=r"x.yaml: tasks\.0\.split\.parties\.upper"):
        parse(Suite, document(TASK | {"split": {"by": "rows", "parties": {"upper": places}}}), "x.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"malicious": "middle"}, "malicious='middle' is none of the parties: upper, lower"),
        ({"malicious": None}, "a backdoor needs a malicious party"),
        ({"backdoor": {"target": -1, "trigger": {"pixels": [[0, 0]]}}}, r"tasks\.0\.backdoor\.target"),
        ({"backdoor": {"target": 0, "trigger": {}}}, "give one of pixels"),
        ({"backdoor": {"target": 0, "trigger": {"pixels": [[0, 0]], "features": [1]}}}, "give one of pixels"),
        ({"backdoor": {"target": 0, "trigger": {"pixels": []}}}, "at least one place"),
        ({"backdoor": {"target": 0, "trigger": {"features": [1], "natural": True}, "train": 0.5}}, "drop train"),
        ({"backdoor": {"target": 0, "trigger": {"features": [1], "value": 1.5}}}, "value"),
        ({"training": {"epochs": 0}}, r"tasks\.0\.training\.epochs"),
        ({"training": {"epochs": 1, "rounds": 3}}, "unknown key 'rounds'"),
        ({"split": {"by": "rows", "parties": {}}}, "parties"),
        ({"split": {"by": "rows", "parties": {"A B": "0-27"}}}, "parties"),
        ({"split": {"by": "rows", "parties": {"all": "0-27"}}}, "cannot be called 'all'"),
        ({"split": {"by": "rows", "parties": {"active": "0-27"}}}, "cannot be called 'active'"),
        ({"training": {"epochs": 1, "batch_size": 10**30}}, "batch_size"),
        ({"model": "mlp"}, "unknown key 'model'"),
        ({"scenario": "diagonal"}, "horizontal"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        parse(Suite, document(TASK | changes), "x.yaml")


def test_horizontal_cells_keep_their_ids():
    """Records of earlier versions stay those of the same cells."""
    cell = suite.load("quick").cells("generic-cpu")[0]
    assert cell.id == "digits-lenet_dlg--none--dlg-iterations-60-patience-10---s0-0c4942657ef6"
