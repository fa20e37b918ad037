"""How an outsourced task is written, and what is refused before anything is loaded."""

import json
from typing import Any

import pytest

from fl_attack_bench.errors import UserError
from fl_attack_bench.schema import parse
from fl_attack_bench.suite import Cell, Suite
from fl_attack_bench.tasks import HorizontalTask, OutsourcedTask

DENSE = {"kind": "dense", "outputs": 10, "activation": "sigmoid"}
CONVOLUTION = {"kind": "convolution", "outputs": 4, "kernel": 4, "stride": 2, "activation": "relu"}
TASK: dict[str, Any] = {
    "name": "cnn",
    "scenario": "outsourced",
    "dataset": "digits",
    "layers": [CONVOLUTION, {"kind": "dense", "outputs": 100}, DENSE],
    "training": {"steps": 300},
    "victims": 8,
}
HORIZONTAL = {"name": "plain", "dataset": "digits", "model": "mlp", "victims": {"first": 2}}


def document(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {
        "suite": "test",
        "version": 1,
        "title": "Test",
        "seeds": [0],
        "tasks": list(tasks),
        "attacks": ["clear_reading"],
        "defenses": ["none"],
    }


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in TASK.items() if name != key}


def test_it_stands_beside_tasks_of_other_scenarios():
    found = parse(Suite, document(HORIZONTAL, TASK), "x.yaml")
    assert [type(task) for task in found.tasks] == [HorizontalTask, OutsourcedTask]
    task = found.tasks[1]
    assert isinstance(task, OutsourcedTask)
    assert task.network == "conv 4x4/2 4 relu, dense 100, dense 10 sigmoid"
    assert (task.length, task.at_stake, task.attacked) == ("300 steps", "8 victims", True)
    assert (task.training.batch_size, task.training.learning_rate, task.inference_batch) == (32, 0.1, 32)


def test_without_victims_nothing_is_attacked():
    found = parse(Suite, document(without("victims")), "x.yaml")
    assert found.tasks[0].at_stake == "nobody attacks"
    assert [cell.attack for cell in found.cells("any")] == [None]


def test_a_cell_survives_being_written_down():
    cell = parse(Suite, document(TASK), "x.yaml").cells("any")[0]
    again = Cell.model_validate(json.loads(cell.model_dump_json()))
    assert again == cell
    assert again.id == cell.id


def test_published_costs_do_not_change_a_cell():
    figures = [
        {"quantity": "seconds", "value": 10.61, "source": "Table 3", "stage": "inference", "link": "LAN"},
        {"quantity": "bytes", "value": 10.23e6, "source": "Table 4", "stage": "inference"},
    ]
    plain = parse(Suite, document(TASK), "x.yaml").cells("any")[0]
    cell = parse(Suite, document(TASK | {"published": figures}), "x.yaml").cells("any")[0]
    assert [figure.value for figure in cell.task.published] == [10.61, 10.23e6]
    assert cell.id == plain.id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": []}, r"tasks\.0\.layers"),
        ({"layers": [DENSE] * 17}, r"tasks\.0\.layers"),
        ({"layers": [DENSE | {"kind": "pooling"}]}, r"tasks\.0\.layers\.0\.kind"),
        ({"layers": [DENSE | {"activation": "tanh"}]}, r"tasks\.0\.layers\.0\.activation"),
        ({"layers": [DENSE | {"outputs": 0}]}, r"tasks\.0\.layers\.0\.outputs"),
        ({"layers": [DENSE | {"units": 3}]}, "unknown key 'units'"),
        ({"layers": [DENSE | {"kernel": 3}]}, "a convolution needs a kernel, and a dense layer has none"),
        ({"layers": [CONVOLUTION | {"kernel": None}]}, "a convolution needs a kernel, and a dense layer has none"),
        ({"layers": [CONVOLUTION | {"kernel": 0}]}, r"tasks\.0\.layers\.0\.kernel"),
        ({"layers": [CONVOLUTION | {"stride": 0}]}, r"tasks\.0\.layers\.0\.stride"),
        ({"layers": [DENSE | {"stride": 2}]}, "a dense layer has no stride"),
        ({"layers": [DENSE, CONVOLUTION]}, "a convolution cannot follow a dense layer"),
        ({"target": 0}, "one class against all others needs one output, not 10"),
        ({"target": -1, "layers": [DENSE | {"outputs": 1}]}, r"tasks\.0\.target"),
        ({"victims": 0}, r"tasks\.0\.victims"),
        ({"victims": 4097}, r"tasks\.0\.victims"),
        ({"inference_batch": 0}, r"tasks\.0\.inference_batch"),
        ({"inference_batch": 65_537}, r"tasks\.0\.inference_batch"),
        ({"training": {"steps": 0}}, r"tasks\.0\.training\.steps"),
        ({"training": {"steps": 1, "learning_rate": 0}}, r"tasks\.0\.training\.learning_rate"),
        ({"training": {"steps": 1, "batch_size": 10**30}}, r"tasks\.0\.training\.batch_size"),
        ({"training": {"epochs": 1}}, "unknown key 'epochs'"),
        ({"model": "mlp"}, "unknown key 'model'"),
        ({"dataset": "../secret"}, r"tasks\.0\.dataset"),
        ({"published": [{"quantity": "seconds", "value": 1.0, "source": "x", "stage": "setup"}]}, "stage"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        parse(Suite, document(TASK | changes), "x.yaml")


@pytest.mark.parametrize("key", ["layers", "training", "dataset"])
def test_what_is_missing_is_named(key):
    with pytest.raises(UserError, match=rf"tasks\.0\.{key}: Field required"):
        parse(Suite, document(without(key)), "x.yaml")
