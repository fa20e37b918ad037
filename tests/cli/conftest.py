"""The program in an empty folder, and a folder in which it was run."""

import json

import pytest
import tiny_suite

from fl_attack_bench import runner
from fl_attack_bench.cli import main


@pytest.fixture
def flab(tmp_path, monkeypatch, capsys):
    """The program in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "FLAB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)

    def call(*words):
        status = main(list(map(str, words)))
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(tiny_suite.TINY))
    return path


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A folder in which two cells of the tiny suite were played."""
    folder = tmp_path_factory.mktemp("played")
    (folder / "tiny.yaml").write_text(json.dumps(tiny_suite.TINY))
    words = ["run", "tiny.yaml", "--seed", "0", "--defense", "gaussian_noise[scale=0.1]", "--no-tracking"]
    return folder, tiny_suite.start(folder, *words, wait=True)


@pytest.fixture
def asked(monkeypatch):
    """The cells that `flab run` hands to the runner, which does not play them."""
    found = []

    def record(suite, cells, settings, **options):
        found.append((suite, list(cells), settings, options))
        return runner.Summary()

    monkeypatch.setattr(runner, "run", record)
    monkeypatch.setattr("fl_attack_bench.cli.selection.check_tasks", lambda *words, **options: None)
    return found
