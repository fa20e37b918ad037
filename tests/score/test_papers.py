"""A paper's figures beside ours: the right row, attack, layer and moment, or none at all."""

import pytest
from boards import TASK, inferring, record

from fl_attack_bench import score
from fl_attack_bench.tasks.base import Published

SOURCE = "Sun et al. 2021, Table 1"


def beside(*figures, records=None):
    task = TASK.model_copy(update={"published": [Published(source=SOURCE, **figure) for figure in figures]})
    found = records(task) if records else board(task)
    return [[(ours.value, ours.moment) for ours in item.ours] for item in score.published(score.rows(found))]


def board(task):
    """Two seeds. `noise`: dlg 0.2 at round 0 and 0.3 after training, idlg 0.4 and 0.1, labels and representations."""
    found = []
    for name, dlg, idlg in (("none", [0.0, 0.0], [0.0, 0.0]), ("noise", [0.2, 0.3], [0.4, 0.1])):
        for seed in (0, 1):
            shared = {"accuracy": 0.9 - 0.1 * seed, "task": task}
            found += [
                record(name, "dlg", seed, [dlg[0]] * 2, [dlg[1]] * 2, **shared),
                record(name, "idlg", seed, [idlg[0]] * 2, [idlg[1]] * 2, **shared),
                inferring(record(name, "labels", seed, **shared), 0.5 + 0.2 * seed),
                inferring(record(name, "guess", seed, **shared), 0.2),
                inferring(record(name, "rep", seed, **shared), correlations={"fc1": 0.9, "fc2": 0.5 + 0.1 * seed}),
                inferring(record(name, "one-layer", seed, **shared), correlations={"fc1": 0.4}),
            ]
    return found


def near(*pairs):
    return [(pytest.approx(value), moment) for value, moment in pairs]


@pytest.mark.parametrize(
    ("figure", "ours"),
    [
        ({"quantity": "mse", "attack": "dlg"}, near((0.2, "initial"))),
        ({"quantity": "mse", "attack": "idlg"}, near((0.1, "trained"))),
        ({"quantity": "mse"}, near((0.1, "trained"))),  # the row's worst case
        ({"quantity": "mse", "attack": "labels"}, []),
        ({"quantity": "accuracy"}, near((0.85, None))),
        ({"quantity": "label_accuracy", "attack": "labels"}, near((0.6, "initial"), (0.6, "trained"))),
        ({"quantity": "label_accuracy", "attack": "guess"}, near((0.2, "initial"), (0.2, "trained"))),
        ({"quantity": "label_accuracy"}, near((0.6, "initial"), (0.6, "trained"))),
        ({"quantity": "correlation", "attack": "rep", "layer": "fc2"}, near((0.55, "initial"), (0.55, "trained"))),
        ({"quantity": "correlation", "attack": "rep"}, []),  # two layers: which one is meant?
        ({"quantity": "correlation", "attack": "one-layer"}, near((0.4, "initial"), (0.4, "trained"))),
        ({"quantity": "correlation", "attack": "rep", "layer": "conv1"}, []),
        ({"quantity": "correlation", "attack": "gone", "layer": "fc1"}, []),
    ],
)
def test_ours(figure, ours):
    assert beside({"value": 0.5, "defense": "noise"} | figure) == [ours]


def test_a_defense_that_was_not_played_and_the_undefended_by_default():
    assert beside({"quantity": "accuracy", "value": 1, "defense": "gone"}, {"quantity": "accuracy", "value": 1}) == [
        [],
        near((0.85, None)),
    ]
    assert score.published([]) == ()


def test_no_undefended_record_leaves_the_attacks_own_figures():
    def only_noise(task):
        return [made for made in board(task) if made.cell.defense.name == "noise"]

    figures = (
        {"quantity": "mse", "value": 1, "defense": "noise"},
        {"quantity": "mse", "value": 1, "defense": "noise", "attack": "dlg"},
    )
    assert beside(*figures, records=only_noise) == [[], near((0.2, "initial"))]


def test_a_corrected_figure_parts_no_records_and_the_latest_record_tells_it():
    early, late = (
        TASK.model_copy(update={"published": [Published(quantity="accuracy", value=value, source=SOURCE)]})
        for value in (0.1, 0.2)
    )
    records = [record("none", "dlg", 0, [0, 0], [0, 0], task=late, day=2)]
    records += [record("none", "idlg", 0, [0, 0], [0, 0], task=early, day=1), record("noise", "dlg", task=TASK)]
    for order in (records, records[::-1]):
        rows = score.rows(order)
        assert [row.defense for row in rows] == ["none", "noise"]
        assert [item.published.value for item in score.published(rows)] == [0.2]
