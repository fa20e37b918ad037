"""The run folder: one owner, whole files, corrupt ones named."""

import os
import subprocess
import sys

import numpy as np
import pytest
from running import stand_in

from fl_attack_bench.errors import UserError
from fl_attack_bench.jobs import PICTURES
from fl_attack_bench.store import GRID, Store, grid, write


@pytest.fixture
def played(tmp_path):
    stand_in.go(tmp_path, stand_in.suite(tmp_path))
    return Store(tmp_path / "runs")


def test_two_runs_on_one_folder_are_refused_by_pid(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from fl_attack_bench.store import Store\n"
        "with Store(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=rf"in use by another run \(pid {other.pid}\)"), Store(tmp_path).locked():
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with Store(tmp_path).locked():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file"), Store(tmp_path / "file" / "runs").locked():
        pass


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        Store(tmp_path / "absent").load()


def test_corrupt_records_are_warnings_and_the_rest_is_read(played):
    records, warnings = played.load()
    assert (len(records), warnings) == (3, [])
    first, second, third = (played.place(record.cell_id) / "record.json" for record in records)
    first.write_bytes(b"\xff\x00{")
    second.write_bytes(third.read_bytes())
    records, warnings = played.load()
    assert [record.cell_id for record in records] == [third.parent.name]
    assert [str(path) in warning for path, warning in zip((first, second), warnings, strict=True)] == [True, True]


def test_put_replaces_pictures_with_the_record(played):
    record = next(record for record in played.load()[0] if record.reconstructed)
    place = played.place(record.cell_id)
    assert {path.name for path in place.iterdir()} == {"record.json", PICTURES, GRID}
    played.put(record)
    assert {path.name for path in place.iterdir()} == {"record.json"}
    assert played.read(record.cell_id) == record


def test_broken_pictures_do_not_lose_the_record(played, tmp_path):
    record = played.load()[0][0]
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 no archive")
    played.put(record, broken)
    assert played.read(record.cell_id) == record
    assert not (played.place(record.cell_id) / GRID).exists()


def test_sweep_removes_only_what_was_left_half_done(played):
    before = {path for path in played.folder.rglob("*") if path.name != ".lock"}
    scratch = played.work / "attack" / ".abc-xyz"
    scratch.mkdir()
    (scratch / "result.json").write_text("{")
    next(played.records.iterdir()).joinpath(".record.json-1").write_text("{")
    (played.records / ".record.json-2").write_text("{")
    played.sweep()
    assert not list(played.work.rglob(".*")) + list(played.records.rglob(".*"))
    assert before <= set(played.folder.rglob("*"))


def test_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_grid_shows_originals_above_reconstructions(tmp_path):
    from PIL import Image

    path = tmp_path / "pictures.npz"
    black = np.zeros((3, 3, 8, 8), np.uint8)
    np.savez(path, originals=black, initial=black + 100, trained=black + 200)
    (tmp_path / "grid.png").write_bytes(grid(path, scale=1))
    image = np.asarray(Image.open(tmp_path / "grid.png"))
    assert image.shape == (30, 30, 3)
    assert [image[row, 5, 0] for row in (5, 15, 25)] == [0, 100, 200]
    np.savez(path, originals=black.astype(float))
    with pytest.raises(ValueError, match="holds no images"):
        grid(path)
