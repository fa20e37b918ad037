"""Lists, cards and the doctor."""

from functools import cache

import pytest
from tiny_suite import MINE

from fl_attack_bench import suite
from fl_attack_bench.cli.parameters import legal


def test_methods_are_shown_with_their_legal_values(flab, tmp_path):
    status, out, _ = flab("show", "gradient_compression")
    assert status == 0
    rows = [line.split("  ") for line in out.splitlines()]
    prune = next([word.strip() for word in row if word.strip()] for row in rows if "prune" in row)
    assert prune[:3] == ["prune", "number >= 0 and < 1", "default 0.9"]
    assert "layer | model" in out
    (tmp_path / "mine.py").write_text(MINE)
    status, out, _ = flab("show", "./mine.py")
    assert status == 0
    assert out.startswith("defense mine: Mine\nDoes nothing, in a new way.\n")
    assert "a [red]note[/red]" in out
    assert flab("show", "none")[1].splitlines()[-1] == "no parameters"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1.5}, "number > 0 and <= 1.5"),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, "integer >= 1 or null"),
        ({"const": "only"}, "only"),
        ({"enum": ["a", 2, None]}, "a | 2 | null"),
        ({"type": "array", "items": {"type": "boolean"}}, "list of true or false"),
        ({}, "any value"),
    ],
)
def test_legal_values_in_words(schema, words):
    assert legal(schema) == words


def test_everything_that_is_listed_can_be_shown(flab, monkeypatch):
    monkeypatch.setattr(suite, "load", cache(suite.load))  # else every name reads every suite
    for what in ("attacks", "defenses", "tasks", "suites", "hardware", "models"):
        status, out, _ = flab("list", what)
        assert status == 0
        names = {line.split()[0] for line in out.splitlines()}
        assert names
        for name in names:
            status, shown, err = flab("show", name)
            assert (status, err) == (0, ""), name
            assert name in shown.splitlines()[0]


def test_datasets_are_listed_with_what_to_do(flab, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.npz").touch()
    rows = dict(line.split(maxsplit=1) for line in flab("list", "datasets")[1].splitlines())
    assert rows == {
        "breast_cancer": "comes with the package",
        "cifar10": "not in data: `flab run ... --download`",
        "diabetes": "comes with the package",
        "digits": "comes with the package",
        "mnist": "not in data: `flab run ... --download`",
        "npz:mine": "in data",
        "nus_wide": "not in data: `flab doctor` tells where to ask for it",
    }


def test_the_doctor_finds_what_is_there_and_says_what_to_do(flab, tmp_path):
    status, out, _ = flab("doctor", "--data-dir", tmp_path, "--tracking-uri", "http://127.0.0.1:9")
    assert status == 0
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    found = {name: (state, text) for state, name, text in rows}
    for name in ("cpu", "torch", "mlflow", "python", "hardware", "digits", "disk"):
        assert found[name][0] == "ok", name
    assert found["mnist"][0] == "note"
    assert "--download" in found["mnist"][1]
    assert found["tracking"][0] == "note"
    assert "flab sync" in found["tracking"][1]


def test_the_doctor_names_a_library_that_does_not_fit(flab, monkeypatch):
    import importlib

    whole = importlib.import_module

    def broken(name, *rest):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return whole(name, *rest)

    monkeypatch.setattr(importlib, "import_module", broken)
    status, out, _ = flab("doctor")
    assert status == 1
    assert "BROKEN  import torchvision" in out
    assert "install torch and torchvision from the same index" in out


def test_a_cell_of_another_run_folder_is_missed_by_name(flab):
    status, _, err = flab("show", "digits--none--dlg--s0-77e64517a571")
    assert status == 2
    assert "no cell 'digits--none--dlg--s0-77e64517a571' in" in err
    assert "--folder" in err
    assert len(err) < 300
