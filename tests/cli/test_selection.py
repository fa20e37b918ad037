"""What of a suite is played: the command line narrows its grid, and a record's command names its cell again."""

import json
import shlex

import pytest
from tiny_suite import MINE, TINY

from fl_attack_bench import hardware, provenance, suite
from fl_attack_bench.cli.selection import check_tasks, narrow
from fl_attack_bench.errors import UserError


def test_the_whole_grid_and_its_narrowing():
    grid = suite.load("quick")
    everything = {cell.id for cell in grid.cells("generic-cpu")}
    assert {cell.id for cell in narrow(grid).cells("generic-cpu")} == everything
    for chosen in (
        {"attacks": ["dlg"]},
        {"defenses": ["gaussian_noise", "laplace_noise"]},
        {"defenses": ["gaussian_noise[scale=0.1]", "gaussian_noise"], "attacks": ["idlg[iterations=60,patience=10]"]},
        {"tasks": ["digits-lenet_dlg"], "seeds": [0]},
    ):
        cells = narrow(grid, **chosen).cells("generic-cpu")
        assert cells
        assert {cell.id for cell in cells} <= everything
        assert len({cell.id for cell in cells}) == len(cells)
        assert any(cell.defense.name == suite.BASELINE for cell in cells)
    noisy = narrow(grid, defenses=["gaussian_noise"]).cells("generic-cpu")
    assert [cell.defense.label for cell in noisy[::2]] == [
        "none", "gaussian_noise[scale=0.0001]", "gaussian_noise[scale=0.1]",
    ]  # fmt: skip


def test_methods_that_the_suite_does_not_name_take_the_place_of_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    grid = suite.load("quick")
    cells = narrow(grid, defenses=[f"{path}[strength=2]", "gaussian_noise[scale=7]"], attacks=["dlg[restarts=2]"])
    assert [spec.label for spec in cells.defenses] == ["mine[strength=2]", "gaussian_noise[scale=7]"]
    assert [spec.label for spec in cells.attacks] == ["dlg[restarts=2]"]
    assert len(cells.cells("generic-cpu")) == 3


def test_a_chain_by_its_names_stands_for_the_suite_s_own_and_with_parameters_for_itself():
    grid = suite.Suite.model_validate(TINY | {"defenses": ["none", [{"gaussian_noise": {"scale": 0.5}}, "none"]]})
    named = narrow(grid, defenses=["gaussian_noise+none"]).defenses
    assert [spec.label for spec in named] == ["gaussian_noise[scale=0.5]+none"]
    other = narrow(grid, defenses=["gaussian_noise[scale=0.7]+none"]).defenses
    assert [spec.label for spec in other] == ["gaussian_noise[scale=0.7]+none"]


def test_naming_an_attack_leaves_out_tasks_without_victims():
    data = TINY | {
        "attacks": ["dlg"],
        "tasks": [*TINY["tasks"], TINY["tasks"][0] | {"name": "v", "victims": {"first": 1}}],
    }
    grid = suite.Suite.model_validate(data)
    assert [task.name for task in narrow(grid, attacks=["dlg"]).tasks] == ["v"]
    assert len(narrow(grid).tasks) == 2


@pytest.mark.parametrize("name", sorted(suite.bundled()))
def test_the_command_of_a_record_names_its_cell_again(name):
    """And plays nothing else but the undefended baseline."""
    grid = suite.load(name)
    for cell in grid.cells("generic-cpu"):
        words = shlex.split(provenance.command(name, cell))
        chosen = dict(zip(words[3::2], words[4::2], strict=True))
        part = narrow(
            grid,
            tasks=[chosen["--task"]],
            attacks=[chosen["--attack"]] if "--attack" in chosen else [],
            defenses=[chosen["--defense"]],
            seeds=[int(chosen["--seed"])],
        )
        undefended = cell.model_copy(update={"defense": suite.MethodSpec(name=suite.BASELINE)})
        assert {found.id for found in part.cells(chosen["--hardware"])} == {cell.id, undefended.id}


def test_the_command_parses_back_to_the_very_same_cell(flab, asked, tmp_path):
    defense = tmp_path / "my defense.py"
    defense.write_text(MINE)
    added = [
        "--defense",
        f"{defense}[strength=1e-07]",
        "--attack",
        "dlg[line_search=none,restarts=2,learning_rate=1.0]",
    ]
    assert flab("run", "quick", "--hardware", "generic-cpu", "--data-dir", "here [x]", *added)[0] == 0
    ((_, cells, settings, options),) = asked
    for cell in cells:
        words = shlex.split(options["command"](cell))
        assert words[0] == "flab"
        asked.clear()
        assert flab(*words[1:])[0] == 0
        ((_, again, settings_again, _),) = asked
        assert cell.id in {found.id for found in again}
        assert len(again) <= 2
        assert settings_again == settings


def test_options_reach_the_runner(flab, asked, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAB_DATA_DIR", str(tmp_path / "data here"))
    assert (
        flab("run", "quick", "--jobs", "3", "--folder", "there", "--retry-failed", "--no-tracking", "--download")[0]
        == 0
    )
    _, cells, settings, options = asked.pop()
    assert settings.data_dir == tmp_path / "data here"
    assert settings.download
    assert (options["workers"], options["retry_failed"], options["log"]) == (3, True, None)
    assert options["store"].folder == tmp_path / "there"
    assert "data here" not in options["command"](cells[0])
    assert flab("run", "quick", "--tracking-uri", "http://me:secret@127.0.0.1:1")[0] == 0
    _, cells, settings, options = asked.pop()
    assert not settings.download
    assert options["log"].uri == "http://me:secret@127.0.0.1:1"
    cores = hardware.detect().cores
    assert options["workers"] == max(1, cores // options["profile"].threads)


def test_a_profile_is_taken_by_name_by_file_or_by_force(flab, asked, tmp_path):
    path = tmp_path / "mine.yaml"
    links = [{"name": "LAN", "bits_per_second": 1e9, "round_trip_seconds": 0}]
    match = {"cpu": "no such processor"}
    path.write_text(
        json.dumps({"name": "mine", "title": "Mine", "device": "cpu", "threads": 1, "links": links, "match": match})
    )
    status, _, err = flab("run", "quick", "--hardware", path)
    assert status == 2
    assert "does not match this machine" in err
    assert flab("run", "quick", "--hardware", path, "--force-hardware")[0] == 0
    _, cells, _, options = asked.pop()
    assert (cells[0].hardware, options["matched"]) == ("mine", False)
    assert options["command"](cells[0]).endswith(f"--hardware {path}")
    assert "does not match this machine: the processor is" in flab("show", path)[1]


def test_tasks_that_clients_attack_are_attacked_and_numbers_have_no_victims(tmp_path):
    base = TINY["tasks"][0] | {"dataset": "diabetes", "model": "linear_regression"}
    task = base | {"name": "c", "adversary": "clients"}
    grid = suite.Suite.model_validate(TINY | {"attacks": ["dropout"], "tasks": [*TINY["tasks"], task]})
    assert [task.name for task in narrow(grid, attacks=["dropout"]).tasks] == ["c"]
    check_tasks(grid.cells("generic-cpu"), tmp_path, download=False)
    for changes, why in (
        ({"victims": {"first": 1}}, "task 't': the targets of diabetes are numbers"),
        ({"model": "mlp"}, "task 't': model 'mlp' predicts class labels"),
        ({"dataset": "digits"}, "task 't': model 'linear_regression' predicts numbers"),
    ):
        wrong = suite.Suite.model_validate(TINY | {"attacks": ["dropout"], "tasks": [base | changes]})
        with pytest.raises(UserError, match=why):
            check_tasks(wrong.cells("generic-cpu"), tmp_path, download=False)
