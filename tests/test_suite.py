"""Suites: their YAML, the cells that they name, and what is said of a suite that is not sound."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import suite as suites
from fl_attack_bench.errors import UserError
from fl_attack_bench.schema import parse
from fl_attack_bench.suite import MethodSpec, Suite

TRAINING = {"partition": {"kind": "iid", "devices": 4}, "rounds": 2, "sampled": 2, "learning_rate": 0.1}


def document(**changes):
    data = {
        "suite": "small",
        "version": 1,
        "title": "Small",
        "seeds": [0, 1],
        "tasks": [
            {"name": "t1", "dataset": "digits", "model": "mlp", "training": TRAINING, "victims": {"first": 2}},
            {"name": "t2", "dataset": "npz:mine", "model": {"name": "mlp", "options": {}}, "training": TRAINING},
        ],
        "attacks": ["dlg", {"idlg": {"restarts": 4}}],
        "defenses": ["none", {"gradient_compression": {"prune": [0.5, 0.9], "residual": [True, False]}}],
    }
    return data | changes


def made(**changes):
    return parse(Suite, document(**changes), "small.yaml")


def refused(**changes):
    with pytest.raises(UserError) as caught:
        made(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def task(**changes):
    return [document()["tasks"][0] | changes]


def test_methods_are_names_or_mappings_and_lists_sweep():
    suite = made()
    assert [spec.label for spec in suite.attacks] == ["dlg", "idlg[restarts=4]"]
    assert [spec.parameters for spec in suite.defenses] == [
        {},
        {"prune": 0.5, "residual": True},
        {"prune": 0.5, "residual": False},
        {"prune": 0.9, "residual": True},
        {"prune": 0.9, "residual": False},
    ]
    assert suite.tasks[0].model == suite.tasks[1].model
    assert made(defenses=[{"none": None}]).defenses == [MethodSpec(name="none")]


def test_a_list_of_defenses_is_a_chain_and_its_links_sweep():
    suite = made(defenses=["none", [{"gaussian_noise": {"scale": [0.1, 0.2]}}, "gradient_compression"]])
    assert [spec.label for spec in suite.defenses[1:]] == [
        "gaussian_noise[scale=0.1]+gradient_compression",
        "gaussian_noise[scale=0.2]+gradient_compression",
    ]
    assert {spec.family for spec in suite.defenses[1:]} == {"gaussian_noise+gradient_compression"}
    assert [[link.name for link in spec.parts] for spec in suite.defenses] == [["none"]] + [
        ["gaussian_noise", "gradient_compression"]
    ] * 2
    assert MethodSpec.model_validate(suite.defenses[1].model_dump()) == suite.defenses[1]
    assert not suite.defenses[1].is_baseline


def test_a_chain_is_named_after_its_links():
    with pytest.raises(ValueError, match="named after its links"):
        MethodSpec(name="none", links=[MethodSpec(name="a"), MethodSpec(name="b")])


@pytest.mark.parametrize(
    ("victims", "samples", "description"),
    [
        ({"first": 1}, [0], "1 victim"),
        ({"first": 3}, [0, 1, 2], "3 victims"),
        ({"ids": [7, 4, 9, 1], "batch": 2}, [7, 4, 9, 1], "2 victims of 2 samples"),
        ({"devices": 3}, None, "3 devices"),
    ],
)
def test_victims_are_samples_or_devices(victims, samples, description):
    found = made(tasks=task(victims=victims)).tasks[0].victims
    assert (found.samples, found.description) == (samples, description)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_what_a_paper_published_is_no_part_of_a_cell_s_identity():
    published = [{"quantity": "accuracy", "value": 0.9, "source": "Table 1"}]
    plain, cited = (made(tasks=task(published=p)).cells("generic-cpu") for p in ([], published))
    assert [cell.id for cell in plain] == [cell.id for cell in cited]


def test_cells_are_the_grid_and_tasks_without_victims_have_no_attack():
    suite = made()
    cells = suite.cells("generic-cpu")
    assert len(cells) == 5 * 2 * (2 + 1)
    assert {cell.attack for cell in cells if cell.task.name == "t2"} == {None}
    assert all("--utility--" in cell.id for cell in cells if cell.attack is None)


def test_the_undefended_baseline_is_always_played():
    cells = made(defenses=["gaussian_noise"]).cells("generic-cpu")
    assert {cell.defense.name for cell in cells} == {suites.BASELINE, "gaussian_noise"}
    assert cells[0].defense.name == suites.BASELINE
    with_parameters = made(defenses=["none", "gaussian_noise"]).cells("generic-cpu")
    assert [cell.id for cell in cells] == [cell.id for cell in with_parameters]


def test_cell_ids_do_not_change():
    cell = made().cells("generic-cpu")[2]
    # A change here orphans every record that was ever kept: it needs a new schema version and a migration.
    assert cell.id == "t1--none--dlg--s1-f9809e99ff71"


def test_what_a_task_that_clients_attack_is_made_of():
    tasks = [task()[0], task(name="t2", victims=None, adversary="clients")[0], task(name="t3", victims=None)[0]]
    cells = made(tasks=tasks, defenses=["none"], seeds=[0]).cells("generic-cpu")
    assert [(cell.task.name, cell.attack and cell.attack.label) for cell in cells] == [
        ("t1", "dlg"), ("t1", "idlg[restarts=4]"), ("t2", "dlg"), ("t2", "idlg[restarts=4]"), ("t3", None),
    ]  # fmt: skip
    assert [task.attacked for task in made(tasks=tasks).tasks] == [True, True, False]


def test_who_attacks_is_part_of_a_cell_s_identity_unless_it_is_the_server():
    server, clients = (
        made(tasks=task(victims=None, adversary=who), attacks=["dlg"]).cells("generic-cpu")[0]
        for who in ("server", "clients")
    )
    unsaid = made(tasks=task(victims=None), attacks=["dlg"]).cells("generic-cpu")[0]
    assert server.id == unsaid.id
    assert "adversary" not in server.model_dump(exclude_defaults=True)["task"]
    assert clients.id != server.model_copy(update={"attack": clients.attack}).id


values = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(0, 1, allow_nan=False), st.text(max_size=6), st.none())
specs = st.lists(
    st.builds(
        lambda name, parameters: {name: parameters},
        st.sampled_from(["dlg", "x.y", "./a b.py", "é"]),
        st.dictionaries(st.sampled_from(["p", "q"]), values, max_size=2),
    ),
    min_size=1,
    max_size=4,
)


@given(specs, specs, st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True))
@settings(max_examples=60, deadline=None)
def test_cell_ids_are_unique_stable_and_legal_file_names(attacks, defenses, seeds):
    try:
        suite = made(attacks=attacks, defenses=defenses, seeds=seeds)
    except UserError as error:
        assert "stands twice" in str(error)  # noqa: PT017 - the other outcome is tested below
        return
    ids = [cell.id for cell in suite.cells("generic-cpu")]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,140}", cell_id) and cell_id[0] not in ".-" for cell_id in ids)
    again = made(attacks=attacks, defenses=defenses, seeds=seeds[::-1])
    assert {cell.id for cell in again.cells("generic-cpu")} == set(ids)
    assert not {cell.id for cell in again.cells("t4")} & set(ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": [1]}, "small.yaml: sedes: unknown key 'sedes'; did you mean 'seeds'?"),
        ({"tasks": task(modle="mlp")}, "small.yaml: tasks.0.modle: unknown key 'modle'; did you mean 'model'?"),
        (
            {"tasks": task(training=TRAINING | {"partition": {"kind": "shards", "devices": 4, "clases": 2}})},
            "unknown key 'clases'; did you mean 'classes'?",
        ),
        ({"tasks": task(training=TRAINING | {"partition": {"kind": "shard", "devices": 4}})}, "'shards'"),
        ({"tasks": task(model={"name": "mlp", "opts": {}})}, "unknown key 'opts'; did you mean 'options'?"),
        ({"limits": {"minuts": 3}}, "limits.minuts: unknown key 'minuts'; did you mean 'minutes'?"),
        ({"version": "one"}, "small.yaml: version: "),
        ({"version": 0}, "(got 0)"),
        ({"seeds": []}, "seeds: "),
        ({"seeds": [-1]}, "seeds.0: "),
        ({"seeds": [3, 3]}, "seed '3' stands twice"),
        ({"tasks": task() * 2}, "task 't1' stands twice"),
        ({"attacks": ["dlg", "dlg"]}, "attack 'dlg' stands twice"),
        ({"defenses": [{"x": {"p": [1, 1]}}]}, "defense 'x[p=1]' stands twice"),
        ({"attacks": []}, "names no attack"),
        ({"tasks": task(victims=None, adversary="clients"), "attacks": []}, "names malicious clients as adversary"),
        ({"tasks": task(adversary="clients")}, "adversary: clients goes with no victims"),
        ({"tasks": task(victims=None, training=None, adversary="clients")}, "adversary: clients needs a training"),
        ({"tasks": task(adversary="client")}, "tasks.0.adversary: Input should be 'server' or 'clients'"),
        ({"attacks": "dlg"}, "a list of methods is expected"),
        ({"attacks": [3]}, "3 is neither a name, "),
        ({"attacks": [{"dlg": {}, "idlg": {}}]}, "is neither a name, "),
        ({"attacks": [{"dlg": 3}]}, "the parameters of 'dlg' must be a mapping"),
        ({"tasks": task(victims={})}, "give one of first: N, ids: [...] and devices: N"),
        ({"tasks": task(victims={"first": 1, "ids": [1]})}, "give one of first: N, ids: [...] and devices: N"),
        ({"tasks": task(victims={"ids": [1, 1]})}, "ids must be distinct"),
        ({"tasks": task(victims={"first": 5, "batch": 2})}, "5 samples do not make victims of batch=2"),
        ({"tasks": task(victims={"first": 4, "batch": 2, "local_batch": 3})}, "local_batch=3 exceeds batch=2"),
        ({"tasks": task(victims={"devices": 2, "local_epochs": 2})}, "drop local_epochs"),
        ({"tasks": task(victims={"first": 1, "rounds": 3})}, "rounds=3 exceeds the training's 2"),
        ({"tasks": task(victims={"devices": 2}, training=None)}, "devices needs a training"),
        ({"tasks": task(victims={"first": 1, "rounds": 2}, training=None)}, "rounds needs a training"),
        ({"attacks": [["dlg", "idlg"]]}, "attacks cannot be chained"),
        ({"defenses": [["gaussian_noise"]]}, "a chain is two or more"),
        ({"defenses": [[]]}, "a chain is two or more"),
        ({"tasks": task(victims={"ids": [10**30]})}, "ids"),
        ({"defenses": [["none", ["none", "none"]]]}, "a chain is two or more single methods"),
        ({"tasks": task(victims=None, training=None)}, "a task needs training, victims or both"),
        ({"tasks": task(training=TRAINING | {"sampled": 5})}, "sampled=5 exceeds the partition's 4 devices"),
        ({"tasks": task(training=TRAINING | {"algorithm": "fedsgd", "local_epochs": 2})}, "leave local_epochs at 1"),
        ({"tasks": task(training=TRAINING | {"learning_rate": float("nan")})}, "learning_rate"),
        ({"tasks": task(training=TRAINING | {"learning_rate": float("inf")})}, "learning_rate"),
        ({"tasks": task(dataset="../etc")}, "tasks.0.dataset"),
        ({"tasks": task(name="a/b")}, "tasks.0.name"),
        ({"title": "x" * 300}, "title"),
        ({"gate": {"share": 2}}, "gate.share"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    assert message in refused(**changes)


def test_a_misspelt_required_key_is_called_misspelt_rather_than_missing():
    data = document()
    data["sedes"] = data.pop("seeds")
    with pytest.raises(UserError, match=r"unknown key 'sedes'; did you mean 'seeds'\?"):
        parse(Suite, data, "small.yaml")
    del data["sedes"]
    with pytest.raises(UserError, match=r"small.yaml: seeds: Field required"):
        parse(Suite, data, "small.yaml")


def test_a_grid_has_a_largest_size():
    suite = made(seeds=list(range(suites.MAX_CELLS // 10)))
    with pytest.raises(UserError, match=r"suite 'small' has 30000 cells, more than 20000: split it"):
        suite.cells("generic-cpu")


def test_every_bundled_suite_is_sound_and_is_called_as_its_file():
    assert "quick" in suites.bundled()
    for name in suites.bundled():
        suite = suites.load(name)
        assert suite.suite == name
        assert suite.cells("generic-cpu")


def test_a_suite_is_found_by_name_or_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(document()))  # JSON is YAML, and shares no values by anchors
    assert suites.load(str(path)) == made()
    with pytest.raises(UserError, match=r"unknown suite 'quikc'; did you mean 'quick'\?"):
        suites.load("quikc")
    with pytest.raises(UserError, match=r"nowhere.yaml: No such file"):
        suites.load("nowhere.yaml")
    path.write_text("- 1\n")
    with pytest.raises(UserError, match=r"mine.yaml: expected a mapping with the keys of a suite, got list"):
        suites.load(str(path))
