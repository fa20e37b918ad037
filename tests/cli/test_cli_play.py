"""Suites that are really played: what is printed, exit statuses, the board, uploads."""

import signal
from pathlib import Path

import pytest
from tiny_suite import MINE, start

from fl_attack_bench.cli import main
from fl_attack_bench.store import Store

pytestmark = pytest.mark.xdist_group("cli-play")  # one worker plays the suite, once


def test_a_run_says_how_it_ended_and_what_comes_next(played):
    folder, answer = played
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [
        "cells     2 ok (0 played before)",
        f"records   {folder}/flab-runs/records",
        "next      flab board build",
    ]
    assert "ok      t | gaussian_noise[scale=0.1] | no attack | seed 0" in answer.stderr


def test_a_second_run_plays_what_is_missing_only(played, monkeypatch, capsys):
    folder, _ = played
    monkeypatch.chdir(folder)
    assert main(["run", "tiny.yaml", "--seed", "0", "--defense", "none", "--no-tracking"]) == 0
    assert "cells     1 ok (1 played before)" in capsys.readouterr().out


def test_a_cell_is_shown_by_its_id_or_its_end(played, monkeypatch, capsys):
    folder, _ = played
    monkeypatch.chdir(folder)
    (cell_id,) = (entry.name for entry in Path("flab-runs/records").iterdir() if "--none--" in entry.name)
    assert main(["show", cell_id]) == 0
    out = capsys.readouterr().out
    for word in (
        cell_id,
        "tiny, version 1",
        "status    ok",
        "accuracy",
        "bytes",
        "flab run tiny.yaml --task t --defense none",
    ):
        assert word in out
    assert main(["show", cell_id[-12:]]) == 0
    assert capsys.readouterr().out == out
    assert main(["show", "t--"]) == 2
    assert "'t--' begins or ends 2 cells" in capsys.readouterr().err
    assert main(["show", cell_id[:-3] + "xyz"]) == 2
    assert f"did you mean {cell_id!r}?" in capsys.readouterr().err


def test_the_board_is_built_and_built_again(played, monkeypatch, capsys):
    folder, _ = played
    monkeypatch.chdir(folder)
    assert main(["board", "build"]) == 0
    assert "2 records: site/index.html" in capsys.readouterr().out
    broken = Path("flab-runs/records/broken")
    broken.mkdir()
    (broken / "record.json").write_text("{")
    try:
        assert main(["board", "build", "--out", "site"]) == 0
        assert "skipped a corrupt record" in capsys.readouterr().err
        assert "skipped a corrupt record" in Path("site/index.html").read_text()
        assert main(["doctor"]) == 0
        assert "run its suite again" in capsys.readouterr().out
    finally:
        (broken / "record.json").unlink()
        broken.rmdir()
    Path("other").mkdir()
    Path("other/file").touch()
    assert main(["board", "build", "--out", "other"]) == 2
    assert "exists and is not a board" in capsys.readouterr().err


def test_an_empty_run_folder_makes_no_board(flab, tmp_path):
    (tmp_path / "flab-runs").mkdir()
    assert flab("board", "build") == (2, "", "flab: flab-runs: no records; `flab run SUITE` makes some\n")


def test_records_are_uploaded_afterwards_and_read_back(played, monkeypatch, capsys):
    folder, _ = played
    monkeypatch.chdir(folder)
    uri = "sqlite:///later.db"
    assert main(["sync", "--tracking-uri", uri]) == 0
    assert capsys.readouterr().out == f"2 records uploaded to {uri}\n"
    assert main(["sync", "--tracking-uri", uri]) == 0
    assert capsys.readouterr().out == f"0 records uploaded to {uri}\n"
    assert main(["board", "build", "--from", uri, "--out", "site2"]) == 0
    assert capsys.readouterr().out.startswith("2 records: site2/index.html")
    assert main(["sync", "--tracking-uri", "http://127.0.0.1:9/"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_the_board_is_served_on_this_machine(played):
    import urllib.request

    folder, _ = played
    start(folder, "board", "build", "--out", "served", wait=True)
    program = start(folder, "board", "serve", "--out", "served", "--port", "0")
    try:
        address = program.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}horizontal.html", timeout=10) as page:
            assert b"gaussian_noise" in page.read()
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=20) == 0
    finally:
        program.kill()
        program.communicate()


def test_failures_are_listed_and_tell_in_the_exit_status(flab, tiny, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(MINE + '\n    def upload(self, update, client):\n        raise ValueError("bad <luck>\\x1b[31m")\n')
    status, out, _ = flab("run", tiny, "--seed", "0", "--defense", "./bad.py", "--no-tracking", "--folder", "there")
    assert status == 1, out
    lines = out.splitlines()
    assert lines[0] == "cells     1 ok, 1 error (0 played before)", out
    assert lines[1] == "1 failed:"
    assert lines[2].startswith("  error  t--bad--utility--s0-")
    assert "ValueError: bad <luck>" in lines[2]
    assert "\x1b" not in out
    assert lines[3].startswith("`flab show CELL --folder there` tells")
    assert lines[4] == "`flab check ./bad.py` says what to change in a file of your own"
    assert lines[-1] == "next      flab board build --from there"
    records, _ = Store(tmp_path / "there").load()
    assert {record.status for record in records} == {"ok", "error"}
    assert "--defense ./bad.py" in next(r for r in records if r.status == "error").provenance.command


def test_ctrl_c_stops_a_run_with_130(tiny, tmp_path):
    program = start(tmp_path, "run", "tiny.yaml", "--no-tracking", "--jobs", "1")
    assert "cells" in program.stderr.readline()
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "stopped: " in err
    assert "Traceback" not in err
    assert "next " not in out
