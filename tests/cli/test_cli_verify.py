"""`flab verify`: exit status, what is printed, and the mark; the cells are handed back as played, not played again."""

import json
from pathlib import Path

import pytest
from tiny_suite import TINY

from fl_attack_bench.store import Store
from fl_attack_bench.submission import manifest, verify
from fl_attack_bench.suite import Suite

LABEL = "gaussian_noise[scale=0.1]"


@pytest.fixture(scope="module")
def really_played(tmp_path_factory):
    """The record of the suite's one cell under the defense, as the runner made it."""
    suite = Suite.model_validate(TINY | {"seeds": [0]})
    cells = [cell for cell in suite.cells("generic-cpu") if cell.defense.label == LABEL]
    return verify.replay(suite, cells, tmp_path_factory.mktemp("data"))


@pytest.fixture
def replayed(really_played, monkeypatch):
    """How often a cell is played again; what comes out are the records in here."""
    told = {"records": really_played, "plays": 0}

    def replay(suite, cells, data_dir):
        told["plays"] += 1
        return {cell.id: told["records"][cell.id] for cell in cells}

    monkeypatch.setattr(verify, "replay", replay)
    return told


@pytest.fixture
def place(flab, tmp_path, replayed):
    """A sound submission of one cell in the empty folder."""
    for record in replayed["records"].values():
        Store(tmp_path / "flab-runs").put(record)
    (tmp_path / "whole.yaml").write_text(json.dumps(TINY | {"seeds": [0]}))
    assert flab("submit", LABEL, "--suite", "whole.yaml", "--allow-dirty")[0] == 0
    (found,) = Path("leaderboard/results").rglob("manifest.json")
    return found.parent


def cheat(place, accuracy):
    """Another accuracy, with the manifest's hash made to fit."""
    (path,) = (place / "records").iterdir()
    data = json.loads(path.read_text())
    before, data["utility"]["accuracy"] = data["utility"]["accuracy"], accuracy
    path.write_text(json.dumps(data))
    whole = json.loads((place / "manifest.json").read_text())
    whole["cells"][0]["sha256"] = manifest.sha256(path.read_bytes())
    (place / "manifest.json").write_text(json.dumps(whole))
    return before


def test_the_same_again_is_marked(flab, place, replayed):
    assert manifest.standing(place) == "self-reported"
    status, out, err = flab("verify", place, "--suite", "whole.yaml")
    assert (status, err) == (0, "")
    (cell_id,) = [path.stem for path in (place / "records").iterdir()]
    assert out.splitlines() == [
        "sound      1 cells of tiny, version 1",
        f"same       {cell_id}, bit for bit",
        f"written    {place / 'verified.json'}: its rows are re-run",
    ]
    assert replayed["plays"] == 1
    assert manifest.standing(place) == "re-run"


@pytest.mark.parametrize("accuracy", [0.999, None])
def test_a_changed_number_is_named_with_both_figures(flab, place, accuracy):
    accuracy = accuracy or json.loads(next((place / "records").iterdir()).read_text())["utility"]["accuracy"] * 1.001
    before = cheat(place, accuracy)
    status, out, err = flab("verify", place, "--suite", "whole.yaml")
    assert status == 1
    assert ["utility.accuracy", str(accuracy), str(before)] in [line.split() for line in out.splitlines()]
    assert err == "flab: refused: 1 of 1 cells came out otherwise\n"
    assert manifest.standing(place) == "self-reported"
    assert not (place / "verified.json").exists()


def test_a_mark_is_taken_away_by_a_cell_that_comes_out_otherwise(flab, place, replayed):
    assert flab("verify", place, "--suite", "whole.yaml")[0] == 0
    replayed["records"] = {
        cell_id: record.model_copy(update={"utility": record.utility.model_copy(update={"accuracy": 0.0})})
        for cell_id, record in replayed["records"].items()
    }
    assert flab("verify", place, "--suite", "whole.yaml")[0] == 1
    assert not (place / "verified.json").exists()


def test_what_is_not_sound_is_not_played(flab, place, replayed):
    (path,) = (place / "records").iterdir()
    path.write_bytes(path.read_bytes() + b" ")
    status, out, err = flab("verify", place, "--suite", "whole.yaml")
    assert (status, out) == (1, "")
    assert err.startswith(f"flab: refused: {path}: changed since it was collected: ")
    assert replayed["plays"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere/manifest.json: no such file"),
        (("PLACE",), "unknown suite 'tiny'"),
        (("PLACE", "--sample", "0"), "Invalid value for '--sample'"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(flab, place, words, message):
    status, out, err = flab("verify", *(place if word == "PLACE" else word for word in words))
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
