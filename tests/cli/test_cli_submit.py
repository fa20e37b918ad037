"""`flab submit`: a folder for a pull request, or why there is none."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_suite import TINY

LABEL = "gaussian_noise[scale=0.1]"


@pytest.fixture
def run_folder(played, tmp_path):
    """A copy of the run folder, and the suite without the seed that was not played."""
    folder, answer = played
    assert answer.returncode == 0, answer.stderr
    shutil.copytree(folder / "flab-runs" / "records", tmp_path / "flab-runs" / "records")
    (tmp_path / "whole.yaml").write_text(json.dumps(TINY | {"seeds": [0]}))
    return tmp_path / "flab-runs"


def record_file(run_folder):
    (path,) = run_folder.glob("records/*gaussian*/record.json")
    return path


def edit(path, *keys, value):
    data = json.loads(path.read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(data))


def test_a_whole_suite_is_collected(flab, run_folder):
    status, out, err = flab("submit", LABEL, "--suite", "whole.yaml", "--allow-dirty")
    assert (status, err) == (0, "")
    (manifest,) = Path("leaderboard/results/tiny-v1").rglob("manifest.json")
    place = manifest.parent
    assert out.splitlines()[:3] == [
        "collected  1 cells: 1 ok",
        f"written    {place}",
        f"next       flab verify {place} --suite whole.yaml",
    ]
    assert "git add" in out
    assert "pull request" in out
    assert "flab submit none --suite whole.yaml, too: no undefended row" in out
    status, baseline, err = flab("submit", "none", "--suite", "whole.yaml", "--allow-dirty")
    assert (status, err) == (0, "")
    assert "undefended row" not in baseline
    assert "undefended row" not in flab("submit", LABEL, "--suite", "whole.yaml", "--allow-dirty")[1]
    (entry,) = json.loads(manifest.read_text())["cells"]
    assert (place / "records" / f"{entry['cell_id']}.json").is_file()
    assert entry["cell_id"] == record_file(run_folder).parent.name


def test_a_seed_that_was_not_played_is_missing(flab, tiny, run_folder):
    status, out, err = flab("submit", LABEL, "--suite", tiny, "--from", run_folder, "--allow-dirty")
    assert (status, out) == (1, "")
    assert err.startswith("flab: refused: missing cell t--gaussian_noise-scale-0.1---utility--s1-")
    assert err.endswith("task 't', attack none, seed 1; a cell that failed is a row too\n")
    assert not Path("leaderboard").exists()


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (
            ("defense", "source_sha256"),
            "0" * 64,
            f"defense {LABEL}: source hash 000000000000... is not that of the file",
        ),
        (("cost", "bytes_up"), 1e30, "a cost below 0 or above 1e+18 is impossible"),
        (("gate", "mse"), 1.0, "gate: not that of suite 'tiny', version 1"),
    ],
)
def test_a_record_that_is_not_sound(flab, run_folder, keys, value, message):
    edit(record_file(run_folder), *keys, value=value)
    status, out, err = flab("submit", LABEL, "--suite", "whole.yaml", "--allow-dirty")
    assert (status, out) == (1, "")
    assert f"flab: refused: {message}" in err


def test_uncommitted_changes_have_to_be_marked(flab, run_folder):
    edit(record_file(run_folder), "provenance", "dirty", value=True)
    status, _, err = flab("submit", LABEL, "--suite", "whole.yaml")
    assert status == 1
    assert "refused: from a checkout with uncommitted changes" in err
    edit(record_file(run_folder), "provenance", "dirty", value=False)
    assert flab("submit", LABEL, "--suite", "whole.yaml", "--out", "elsewhere")[0] == 0
    assert len(list(Path("elsewhere").rglob("manifest.json"))) == 1


def test_a_record_that_cannot_be_read_is_named_and_missing(flab, run_folder):
    record_file(run_folder).write_text("{")
    status, _, err = flab("submit", LABEL, "--suite", "whole.yaml")
    assert status == 2
    first, second = err.splitlines()
    assert first.startswith("flab: skipped a corrupt record: ")
    assert second.startswith(f"flab: no records of {LABEL} on suite 'tiny', version 1; `flab run tiny --defense")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gaussian_noise", "--suite", "whole.yaml"), "suite 'tiny' has 2 of it: hand in one at a time: "),
        (("gausian_noise", "--suite", "whole.yaml"), "did you mean 'gaussian_noise'"),
        ((LABEL, "--suite", "nowhere.yaml"), "nowhere.yaml: No such file or directory"),
        ((LABEL, "--suite", "whole.yaml", "--from", "nowhere"), "nowhere: no such folder"),
        ((LABEL,), "Missing option '--suite'"),
    ],
)
@pytest.mark.usefixtures("run_folder")
def test_bad_input_is_one_line_and_exit_status_2(flab, words, message):
    status, out, err = flab("submit", *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
