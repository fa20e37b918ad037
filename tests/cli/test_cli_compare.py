"""`flab compare`: the triple side by side, for people, for programs and as a picture, and bad input."""

import csv
import io
import json
import shlex
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import vertical_boards
from PIL import Image

from fl_attack_bench.cli.compare import blocks as parts
from fl_attack_bench.compare import picture
from fl_attack_bench.store import Store
from fl_attack_bench.tracking import Tracker


@pytest.fixture
def board(tmp_path):
    """A run folder with the vertical board; the reconstructions of seed 0 are flat grey pictures."""
    store = Store(tmp_path / "board")
    for record in vertical_boards.hand():
        drawn = None
        if record.cell.attack.name == "invert" and record.cell.seed == 0:
            drawn = tmp_path / f"{record.cell.defense.name}.npz"
            level = 200 if record.cell.defense.is_baseline else 100
            flat = np.full((2, 1, 4, 4), level, np.uint8)
            np.savez(drawn, originals=np.full((2, 1, 4, 4), 255, np.uint8), trained=flat)
        store.put(record, drawn)
    return store


def test_the_table(flab, board):
    status, out, err = flab("compare", "none", "noise", "--from", "board")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    task = board.load()[0][0].cell.task.name
    assert lines[0].startswith(f"{task}, suite ")
    assert lines[1].split() == ["none", "noise"]
    assert lines[2].split()[:3] == ["backdoor", "success", "↓"]
    assert "90.0% [0.0%, 100.0%]" in lines[2]
    assert "−50.0 points" in lines[3]
    assert "test accuracy ↑" in out
    assert "Higher is better where an arrow points up." in lines[-1]


def test_a_tracking_store_by_its_uri_says_what_the_run_folder_says(flab, board, tmp_path):
    uri = f"sqlite:///{tmp_path}/tracked.db"
    tracker = Tracker(board, uri)
    tracker.start()
    for record in board.load()[0]:
        tracker.log(record)
    tracker.close(wait=True)
    for words in (["none", "noise"], ["none", "noise", "--format", "json"]):
        status, out, err = flab("compare", *words, "--from", uri)
        assert (status, err) == (0, "")
        assert out == flab("compare", *words, "--from", "board")[1]
    pictures = []
    for source in (uri, "board"):
        assert flab("compare", "none", "noise", "--from", source, "--format", "png", "--out", "x.png")[0] == 0
        with Image.open("x.png") as image:
            pictures.append(np.asarray(image))
    assert np.array_equal(*pictures)
    status, out, err = flab("compare", "none", "noise", "--from", "sqlite:///nowhere.db")
    assert (status, out) == (2, "")
    assert "nowhere.db: no such database" in err


def test_rows_for_programs(flab, board):
    status, out, _ = flab(*shlex.split("compare noise none --from board --format csv"))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert {row["first"] for row in rows} == {"noise"}
    status, out, _ = flab(*shlex.split("compare noise none --from board --format json --out rows.json"))
    assert (status, out) == (0, "rows.json\n")
    told = json.loads(Path("rows.json").read_text())
    assert [row["measure"] for row in told] == [row["measure"] for row in rows]
    success = next(row for row in told if row["measure"] == "backdoor success" and row["defense"] == "none")
    assert success["difference"] == pytest.approx(0.5)
    assert success["by"] == "strong"


def test_one_attack_and_one_task(flab, board):
    task = board.load()[0][0].cell.task.name
    status, out, _ = flab("compare", "none", "noise", "--from", "board", "--attack", "invert", "--task", task)
    assert status == 0
    assert "feature MSE" in out
    assert "backdoor" not in out


def test_the_picture_holds_the_same_victims_under_each_defense(flab, board):
    status, out, err = flab(*shlex.split("compare none noise --from board --format png --out side.png"))
    assert (status, out, err) == (0, "side.png\n", "")
    levels = np.asarray(Image.open(BytesIO(Path("side.png").read_bytes())).convert("L"))
    for level in (200, 100):  # two pictures of each defense
        assert (levels == level).sum() > 2 * 50 * 50


def test_what_the_lines_of_the_picture_are(board):
    from fl_attack_bench import compare, notation

    records, _ = board.load()
    (found,) = compare.compare(records, [notation.parse("none"), notation.parse("noise")])
    folders = {record.cell_id: board.place(record.cell_id) for record in records}
    warnings = []
    lines = picture.gathered(found, folders, warnings)
    assert [name for name, _ in lines] == ["original, seed 0", "none", "noise"]
    assert [[int(image.mean()) for image in images] for _, images in lines] == [[255, 255], [200, 200], [100, 100]]
    assert not warnings
    broken = next(place for place in folders.values() if (place / "reconstructions.npz").is_file())
    (broken / "reconstructions.npz").unlink()  # a hard link
    (broken / "reconstructions.npz").write_bytes(b"PK")
    lines = picture.gathered(found, folders, warnings)
    assert len(warnings) == 1
    assert broken.name in warnings[0]
    assert len(lines) == 3


def test_without_pictures_the_figures_are_drawn_alone(flab, board):
    for place in board.records.glob("*/reconstructions.npz"):
        place.unlink()
    status, _, err = flab(*shlex.split("compare none noise --from board --format png --out side.png"))
    assert (status, err) == (0, "")
    assert Image.open("side.png").width > 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("none nois", "the records: unknown defense 'nois'; did you mean 'noise'?"),
        ("none", "none: one defense; name at least two to compare"),
        ("", "Missing argument 'DEFENSE DEFENSE ...'"),
        ("none noise[", "'noise[' is no method"),
        ("none noise --task tsk", "unknown task 'tsk'"),
        ("none noise --attack stron", "unknown attack 'stron'; did you mean 'strong'?"),
        ("none noise --hardware gpu", "unknown hardware profile 'gpu'"),
        ("none noise --format png", "--format png: say where to with --out FILE.png"),
        ("none noise --format svg", "Invalid value for '--format'"),
        ("none noise --out no/where.txt", "--out no/where.txt: No such file or directory"),
        ("none noise --from nowhere", "nowhere: no such folder; `flab run SUITE` makes one"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(flab, board, text, message):
    words = shlex.split(text)
    status, out, err = flab("compare", *words, *([] if "--from" in words else ["--from", "board"]))
    assert (status, out) == (2, "")
    assert err.startswith("flab: ")
    assert message in err
    assert err.count("\n") == 1


def test_many_defenses_are_told_in_parts_that_fit_a_screen_each_beside_the_first():
    for sides in (1, 2, 4, 5, 9):
        names = [f"d{number}" for number in range(sides)]
        lines = [("", *names), ("MSE", *(f"{number}.0" for number in range(sides)))]
        found = list(parts(lines))
        assert all(len(head) <= 5 and head[1] == "d0" for head, _ in found)
        assert [name for head, _ in found for name in head[2:]] == names[1:]
        assert all(
            [figure[:-2] for figure in figures[1:]] == [name[1:] for name in head[1:]] for head, figures in found
        )
