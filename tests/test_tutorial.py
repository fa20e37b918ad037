"""The README's tutorial, done as a new user would: in an empty folder, with the installed program."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
(SECTION,) = re.findall(r"^## A defense of your own\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", SECTION, flags=re.DOTALL | re.MULTILINE)
PROSE = " ".join(re.sub(r"^```.*?^```$", "", SECTION, flags=re.DOTALL | re.MULTILINE).split())


def command(folder, words):
    """One line of the tutorial; what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "FLAB_DATA_DIR")}
    played = subprocess.run(
        words, cwd=folder, env=kept | {"PATH": path}, capture_output=True, text=True, check=False, timeout=500
    )
    assert played.returncode == 0, f"{shlex.join(words)}\n{played.stdout}\n{played.stderr}"
    return played.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which the tutorial was followed, and what each command printed."""
    folder, printed = tmp_path_factory.mktemp("tutorial"), {}
    for kind, text in BLOCKS:
        if kind == "python":
            (folder / "rounding.py").write_text(text)
            continue
        for line in text.splitlines():
            words = shlex.split(line)
            assert words[0] == "flab", line
            printed[words[1]] = command(folder, words)
    return folder, printed


def test_it_goes_from_a_form_to_a_board():
    assert [kind for kind, _ in BLOCKS] == ["sh", "python", "sh"]
    commands = [line.split()[1] for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    assert commands == ["new", "check", "run", "compare", "board"]


@pytest.mark.xdist_group("tutorial")
def test_its_defense_keeps_the_contract_and_plays(followed):
    folder, printed = followed
    assert printed["new"].splitlines()[0] == "wrote rounding.py and test_rounding.py"
    claimed = re.search(r"`check` ends with `(.+?)`", PROSE)[1]
    assert claimed in printed["check"].splitlines()[-1]
    assert "cells     2 ok (0 played before)" in printed["run"]
    assert (folder / "test_rounding.py").is_file()


@pytest.mark.xdist_group("tutorial")
def test_it_says_what_comes_out(followed):
    folder, printed = followed
    before, after, undefended, defended = map(
        float,
        re.search(r"rises from (\S+) to (\S+) while the accuracy goes from (\S+)% to (\S+)%", PROSE).groups(),
    )
    told = json.loads(command(folder, ["flab", "compare", "none", "rounding", "--format", "json"]))
    figures = {(row["measure"], row["defense"]): row["value"] for row in told}
    assert after / 1.5 < figures["reconstruction MSE", "rounding"] < after * 1.5
    assert figures["reconstruction MSE", "none"] < before * 10  # of the order that is told: another processor rounds
    assert 100 * figures["test accuracy", "none"] == pytest.approx(undefended, abs=1.5)
    assert 100 * figures["test accuracy", "rounding"] == pytest.approx(defended, abs=1.5)
    assert "one seed" in PROSE
    assert "one seed, cannot tell" in printed["compare"]


@pytest.mark.xdist_group("tutorial")
def test_the_board_names_the_defense_and_marks_it_local(followed):
    folder, _ = followed
    pages = {path.name: path.read_text() for path in (folder / "site").glob("*.html")}
    assert "index.html" in pages
    (own,) = [text for name, text in pages.items() if name.startswith("defense-rounding")]
    assert "local: the defense was given by path" in own
    rows = [row for text in pages.values() for row in re.findall(r"<tr\b.*?</tr>", text, flags=re.DOTALL)]
    marked = [row for row in rows if re.search(r">\s*local\s*<", row)]
    assert marked
    assert all("rounding" in row for row in marked)
