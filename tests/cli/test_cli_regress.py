"""`flab regress`: records against records, revisions in turns, a first run, its files, and bad input."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import vertical_boards
from tiny_suite import TINY

from fl_attack_bench.store import Store

ROOT = Path(__file__).resolve().parents[2]
# A source whose program "plays" by putting down the records in `made/`, and whose timings last what `seconds` says.
PROGRAM = """
import shutil, sys
from pathlib import Path

def main(words):
    if not Path("made").is_dir():
        print("flab: unknown suite")
        return 2
    shutil.copytree("made/records", Path(words[words.index("--folder") + 1]) / "records", dirs_exist_ok=True)
    return 0
"""
WORKER = """
import json, sys
from pathlib import Path

spent = [float(word) for word in (Path(__file__).parent.parent / "seconds").read_text().split()]
print(json.dumps({"ready": True}), flush=True)
for turn, line in enumerate(sys.stdin):
    asked = json.loads(line)
    left = Path(asked["settings"]["work"]) / "timing" / "key"
    left.mkdir(parents=True)
    told = {"passive_seconds": spent[turn % len(spent)], "active_seconds": 0.0, "defense_seconds": 99.0}
    (left / "result.json").write_text(json.dumps(told))
    print(json.dumps({"id": asked["id"], "status": "ok", "seconds": 0.0}), flush=True)
"""


def records(folder, loss=0.0, defense="noise"):
    """A run folder with the vertical board, one defense's accuracy less by a loss."""
    store = Store(folder)
    for one in vertical_boards.hand():
        lower = loss if one.cell.defense.name == defense else 0.0
        honest = one.vertical.honest.model_copy(update={"accuracy": one.vertical.honest.accuracy - lower})
        store.put(one.model_copy(update={"vertical": one.vertical.model_copy(update={"honest": honest})}))
    return folder


def git(folder, *words):
    named = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    answer = subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


@pytest.fixture
def source(tmp_path):
    """A repository of the stand-in, in which the program is called."""
    package = tmp_path / "fl_attack_bench"
    package.mkdir()
    for name, text in (("__init__", ""), ("cli", PROGRAM), ("worker", WORKER)):
        (package / f"{name}.py").write_text(text)
    git(tmp_path, "init", "-q")

    def commit(tag, seconds="1.0", loss=0.0, played=True):
        (tmp_path / "seconds").write_text(seconds)
        if played:
            records(tmp_path / "made", loss)
        git(tmp_path, "add", "fl_attack_bench", "seconds", *(["made"] if played else []))
        git(tmp_path, "commit", "-qm", tag)
        git(tmp_path, "tag", tag)

    return commit


def test_records_against_themselves_pass_and_seconds_are_told_with_a_warning(flab, tmp_path):
    records(tmp_path / "a")
    status, out, err = flab(*shlex.split("regress --base a --head a --junit j.xml --markdown m.md"))
    assert (status, err) == (0, "")
    *_, note, last = out.splitlines()
    assert note.startswith("note: seconds are not judged: they were recorded in different jobs; ")
    assert last.startswith("passed: ")
    assert "seconds, recorded" in out
    (suite,) = ElementTree.parse("j.xml").getroot()
    assert suite.get("failures") == "0"
    assert Path("m.md").read_text().startswith("### No regression: a against a\n")


def test_a_loss_of_two_points_fails_and_every_file_says_so(flab, tmp_path):
    records(tmp_path / "a")
    records(tmp_path / "b", loss=0.02)
    status, out, _ = flab(*shlex.split("regress --base a --head b --junit j.xml --markdown m.md"))
    assert status == 1
    assert out.splitlines()[1].startswith("REGRESSION  ")
    assert "2.0 points worse (more than 1)" in out
    assert out.splitlines()[-1].endswith(", 1 regression")
    (suite,) = ElementTree.parse("j.xml").getroot()
    assert suite.get("failures") == "1"
    assert Path("m.md").read_text().startswith("### Regression: b against a\n")
    assert flab(*shlex.split("regress --base a --head b --accuracy-tolerance 3"))[0] == 0
    assert flab(*shlex.split("regress --base b --head a"))[0] == 0


@pytest.mark.parametrize("made", [False, True])
def test_a_first_run_records_a_base_and_passes_and_the_second_compares(flab, tmp_path, made):
    records(tmp_path / "head")
    if made:
        (tmp_path / "base").mkdir()
    status, out, _ = flab(*shlex.split("regress --base ./base --head head"))
    assert (status, out) == (
        0,
        "note: no base to compare with: recorded the head's 20 records in ./base, and the run passes\n"
        "passed: 0 checks, no regressions\n",
    )
    records(tmp_path / "worse", loss=0.02)
    assert flab(*shlex.split("regress --base ./base --head head"))[0] == 0
    assert flab(*shlex.split("regress --base ./base --head worse"))[0] == 1


def test_two_revisions_are_played_and_timed_in_turns(flab, source, tmp_path):
    source("old", "0.010 0.0102 0.0101")
    source("new", "0.0120 0.0123 0.0121", loss=0.02)
    status, out, err = flab(*shlex.split("regress --base old --head new --suite tiny --rounds 4 --junit j.xml"))
    assert status == 1
    assert "base old: plays tiny; what it prints is in" in err
    found = [line for line in out.splitlines() if line.startswith("REGRESSION")]
    assert len(found) == 3  # one accuracy, and two defenses that are slower
    slow = [line for line in found if "seconds, in turns" in line]
    assert "10 ms" in slow[0]
    assert "12 ms" in slow[0]
    assert "the fastest of 4 head rounds is 20% slower than the slowest base round (more than 10%)" in slow[0]
    assert git(tmp_path, "worktree", "list").count("\n") == 0
    assert len(list((tmp_path / "flab-regress").iterdir())) == 2
    assert flab(*shlex.split("regress --base old --head new --tolerance 25 --accuracy-tolerance 3"))[0] == 0
    assert flab(*shlex.split("regress --base new --head old"))[0] == 0


def test_a_timing_that_other_load_leaves_open_is_taken_again_with_more_plays(flab, source):
    source("old", "0.010 0.0135")  # every other play is disturbed: the least of one play may be, that of two never is
    source("new", "0.0125")
    status, out, err = flab(*shlex.split("regress --base old --head new --plays 1"))
    assert status == 1
    assert "its rounds differ too much to tell: times it again, 2 plays a round" in err
    assert "the fastest of 3 head rounds is 25% slower than the slowest base round" in out
    source("never", "0.010 0.010 0.010 0.010 0.010 0.010 0.010 0.010 0.010 0.0101")
    assert "times it again" not in flab(*shlex.split("regress --base never --head never --plays 1"))[2]


def test_a_revision_against_itself_passes(flab, source):
    source("same", "0.010 0.013 0.009 0.011 0.0101")
    status, out, _ = flab(*shlex.split("regress --base same --head HEAD"))
    assert status == 0
    assert out.splitlines()[-1].startswith("passed: ")


def test_a_base_revision_that_cannot_play_the_suite_is_a_first_run(flab, source, tmp_path):
    source("before", played=False)
    source("after")
    status, out, _ = flab(*shlex.split("regress --base before --head after"))
    assert status == 0
    assert out.startswith("note: no base to compare with: before: unknown suite; the head's 20 records are kept in ")
    status, _, err = flab(*shlex.split("regress --base after --head before"))
    assert status == 2
    assert err.splitlines()[-1] == "flab: before: unknown suite"


def test_a_revision_against_records_is_not_timed(flab, source, tmp_path):
    records(tmp_path / "kept")
    source("now", "0.5", loss=0.02)
    status, out, _ = flab(*shlex.split("regress --base kept --head now"))
    assert status == 1
    assert "seconds, in turns" not in out
    assert "note: seconds are not judged" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--base a", "Missing option '--head'"),
        ("--base a --head a --rounds 2", "Invalid value for '--rounds'"),
        ("--base a --head a --tolerance -1", "Invalid value for '--tolerance'"),
        ("--base a --head ./none", "--head ./none: no records; `flab run SUITE` makes some"),
        ("--base nothing --head a", "nothing: no such folder, and"),
        ("--base a --head a --junit no/where.xml", "--junit no/where.xml: No such file or directory"),
        ("--base a --head a --hardware t5", "unknown hardware profile 't5'; did you mean 't4'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(flab, tmp_path, monkeypatch, text, message):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    records(tmp_path / "a")
    status, _, err = flab("regress", *shlex.split(text))
    assert status == 2
    assert err.startswith("flab: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["nothing", "-x", "--all", "old..new"])
def test_what_is_no_revision_is_refused(flab, source, name):
    source("old")
    status, _, err = flab("regress", "--base=" + name, "--head", "old")
    assert status == 2
    assert f"{name}: n" in err


@pytest.mark.skipif("FLAB_SLOW" not in os.environ, reason="plays and times this checkout; set FLAB_SLOW")
def test_this_checkout_against_itself(flab, tmp_path):
    (tmp_path / "tiny.yaml").write_text(json.dumps(TINY | {"seeds": [0]}))
    words = ["regress", "--base", ROOT, "--head", ROOT, "--suite", "tiny.yaml", "--hardware", "generic-cpu"]
    status, out, _ = flab(*words)
    assert status == 0
    assert "seconds, in turns" in out
