"""NUS-WIDE from small files in its published layout, and from files that are wrong in every way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fl_attack_bench.data import catalogue, datasets, nus_wide
from fl_attack_bench.errors import UserError

LABELS = ("buildings", "grass", "animal", "water", "person")
WIDTHS = {"CH": 64, "CM55": 225, "CORR": 144, "EDH": 73, "WT": 128}
ROWS = {"Train": 40, "Test": 24}


class Published:
    """The files as published: what each holds, and where."""

    def __init__(self, data_dir: Path, rows: dict[str, int]) -> None:
        self.root = data_dir / "NUS_WIDE"
        rng = np.random.default_rng(4)
        self.labels, self.features, self.tags = {}, {}, {}
        for part, count in rows.items():
            marks = np.zeros((count, 5), dtype=int)
            marks[np.arange(count), np.arange(count) % 5] = 1
            marks[3::7] = 0  # no label
            marks[5::7, :2] = 1  # more than one
            self.labels[part] = marks
            self.features[part] = {
                kind: (rng.random((count, width)) * 3 - 1).round(5) for kind, width in WIDTHS.items()
            }
            self.tags[part] = (rng.random((count, 1000)) < 0.1).astype(int)
        self.write()

    def write(self) -> None:
        for part in ROWS:
            self._lines("Groundtruth/TrainTestLabels/Labels_{}_{}.txt", part)
            for kind, values in self.features[part].items():
                text = "".join("".join(f"{value:g} " for value in row) + "\n" for row in values)
                self.put(f"Low_Level_Features/{part}_Normalized_{kind}.dat", text)
            text = "".join("".join(f"{value}\t" for value in row) + "\r\n" for row in self.tags[part])
            self.put(f"NUS_WID_Tags/{part}_Tags1k.dat", text)

    def _lines(self, pattern: str, part: str) -> None:
        for at, label in enumerate(LABELS):
            self.put(pattern.format(label, part), "".join(f"{value}\n" for value in self.labels[part][:, at]))

    def put(self, name: str, text: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def chosen(self, part: str) -> np.ndarray:
        return np.flatnonzero(self.labels[part].sum(1) == 1)

    def edit(self, name: str, line: int, change) -> None:
        lines = (self.root / name).read_bytes().splitlines(keepends=True)
        lines[line - 1] = change(lines[line - 1])
        self.put(name, b"".join(lines))


@pytest.fixture
def published(tmp_path) -> Published:
    return Published(tmp_path, ROWS)


def refused(data_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        datasets.load("nus_wide", data_dir)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_samples_with_one_label_become_rows_of_features_and_tags(published, tmp_path):
    assert datasets.present("nus_wide", tmp_path)
    data = datasets.load("nus_wide", tmp_path)
    assert (data.name, data.classes, data.image_shape) == ("nus_wide", 5, (1, 1, 1634))
    raw = {}
    for part, rows, labels in (("Train", data.x_train, data.y_train), ("Test", data.x_test, data.y_test)):
        chosen = published.chosen(part)
        assert 0 < len(chosen) < ROWS[part]
        assert rows.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert labels.tolist() == [published.labels[part][at].tolist().index(1) for at in chosen]
        raw[part] = np.concatenate([published.features[part][kind] for kind in sorted(WIDTHS)], axis=1)[chosen]
        assert torch.equal(rows[:, 0, 0, 634:], torch.from_numpy(published.tags[part][chosen]).float())
    low, high = raw["Train"].min(0), raw["Train"].max(0)
    for part, rows in (("Train", data.x_train), ("Test", data.x_test)):
        wanted = ((raw[part] - low) / (high - low)).clip(0, 1)
        assert np.allclose(rows[:, 0, 0, :634].numpy(), wanted, atol=1e-6)
    # The test is not empty: some of the test's values lie beyond the training's.
    assert (raw["Test"] < low).any()
    assert (raw["Test"] > high).any()


def test_a_feature_that_never_changes_becomes_zero():
    train, test = (np.full((rows, nus_wide.IMAGE_FEATURES + nus_wide.TAGS), 0.25, np.float32) for rows in (3, 2))
    nus_wide.scale(train, test)
    assert (train[:, :634] == 0).all()
    assert (test[:, :634] == 0).all()
    assert (test[:, 634:] == 0.25).all()


def test_the_first_so_many_are_taken(published, tmp_path, monkeypatch):
    whole = datasets.load("nus_wide", tmp_path)
    assert (nus_wide.NUS_WIDE_TRAIN, nus_wide.NUS_WIDE_TEST) == (60_000, 40_000)
    monkeypatch.setattr(nus_wide, "NUS_WIDE_TRAIN", 7)
    monkeypatch.setattr(nus_wide, "NUS_WIDE_TEST", 3)
    found = nus_wide.read(tmp_path)
    assert found["y_train"].tolist() == whole.y_train[:7].tolist()
    assert found["y_test"].tolist() == whole.y_test[:3].tolist()
    assert (found["x_train"].shape, found["x_test"].shape) == ((7, 1634), (3, 1634))
    assert found["x_train"][6, 0] == np.float32(published.features["Train"]["CH"][published.chosen("Train")[6], 0])


def test_it_is_loaded_once_until_a_file_changes(published, tmp_path):
    first = datasets.load("nus_wide", tmp_path)
    assert datasets.load("nus_wide", tmp_path) is first
    digest = catalogue.digest("nus_wide", tmp_path)
    line = published.chosen("Test")[0] + 1
    published.edit("NUS_WID_Tags/Test_Tags1k.dat", line, lambda text: b"1\t" + text[2:-2] + b"\n")
    second = datasets.load("nus_wide", tmp_path)
    assert second.x_test[0, 0, 0, 634] == 1
    assert second.fingerprint != first.fingerprint
    assert len(digest) == 64
    assert catalogue.digest("nus_wide", tmp_path) != digest


def test_the_features_may_lie_in_the_folder_of_their_archive(published, tmp_path):
    first = datasets.load("nus_wide", tmp_path)
    deeper = tmp_path / "NUS_WIDE" / "NUS_WID_Low_Level_Features"
    deeper.mkdir()
    (tmp_path / "NUS_WIDE" / "Low_Level_Features").rename(deeper / "Low_Level_Features")
    assert datasets.load("nus_wide", tmp_path).fingerprint == first.fingerprint


def test_no_line_at_the_end_and_empty_ones_there_change_nothing(published, tmp_path):
    first = nus_wide.read(tmp_path)
    for name in ("Low_Level_Features/Train_Normalized_CH.dat", "Groundtruth/TrainTestLabels/Labels_grass_Test.txt"):
        whole = (published.root / name).read_bytes()
        for end in (b"", b"\n\n \r\n"):
            published.put(name, whole.rstrip() + end)
            again = nus_wide.read(tmp_path)
            assert all(np.array_equal(again[key], first[key]) for key in first)


def test_absent_files_are_named_with_where_to_ask(published, tmp_path):
    (published.root / "NUS_WID_Tags" / "Test_Tags1k.dat").unlink()
    assert not datasets.present("nus_wide", tmp_path)
    text = refused(tmp_path)
    assert f"{tmp_path / 'NUS_WIDE'}: no NUS_WID_Tags/Test_Tags1k.dat; it is not downloaded" in text
    (published.root / "Groundtruth" / "TrainTestLabels" / "Labels_animal_Train.txt").unlink()
    text = refused(tmp_path)
    assert "no Groundtruth/TrainTestLabels/Labels_animal_Train.txt and 1 more" in text


def test_nothing_there_says_which_files_go_where_and_never_to_download(tmp_path):
    text = refused(tmp_path)
    for part in (
        str(tmp_path / "NUS_WIDE"),
        "and 21 more",
        "https://lms.comp.nus.edu.sg/",
        "Groundtruth/TrainTestLabels/Labels_{buildings,grass,animal,water,person}_{Train,Test}.txt",
        "Low_Level_Features/{Train,Test}_Normalized_{CH,CM55,CORR,EDH,WT}.dat",
        "NUS_WID_Tags/{Train,Test}_Tags1k.dat",
    ):
        assert part in text
    assert "--download" not in text
    with pytest.raises(UserError) as caught:
        datasets.load("nus_wide", tmp_path, download=True)
    assert str(caught.value) == text
    assert not catalogue.fetched("nus_wide")
    assert catalogue.digest("nus_wide", tmp_path) == ""


CH = "Low_Level_Features/Train_Normalized_CH.dat"
WT = "Low_Level_Features/Test_Normalized_WT.dat"
TAGS = "NUS_WID_Tags/Train_Tags1k.dat"
GRASS = "Groundtruth/TrainTestLabels/Labels_grass_Train.txt"


def replaced(at, token):
    def change(line):
        tokens = line.split()
        tokens[at] = token
        return b" ".join(tokens) + b"\n"

    return change


@pytest.mark.parametrize(
    ("name", "line", "change", "says"),
    [
        (GRASS, 3, lambda _: b"2\n", "line 3: '2'; expected 0 or 1"),
        (GRASS, 4, lambda _: b"0 1\n", "line 4: '0 1'; expected 0 or 1"),
        (GRASS, 4, lambda _: b"\xff\x00\x1b[31m\n", "line 4: '\\ufffd\\x00\\x1b[31m'; expected 0 or 1"),
        (GRASS, 4, lambda _: b"7" * 999 + b"\n", f"line 4: '{'7' * 24}'...; expected"),
        (GRASS, 5, lambda _: b"\n", "line 5: empty; expected one line for each image"),
        (GRASS, 9, lambda _: b"", "39 lines, but 40 in Labels_buildings_Train.txt; expected one line for each image"),
        (CH, 1, lambda text: b"0.5 " + text, "line 1: 65 columns, expected 64"),
        (CH, 2, lambda text: text.split(b" ", 1)[1], "line 2: 63 columns, expected 64"),
        (CH, 3, replaced(63, b"x"), "line 3: column 64 holds 'x'; expected a number"),
        (CH, 3, replaced(0, b"nan"), "line 3: column 1 holds 'nan'; expected a finite number"),
        (CH, 3, replaced(5, b"-inf"), "line 3: column 6 holds '-inf'; expected a finite number"),
        (CH, 3, replaced(5, b"1e39"), "line 3: column 6 holds '1e39'; expected a finite number"),
        (CH, 3, replaced(5, b"-1.#IND"), "line 3: column 6 holds '-1.#IND'; expected a number"),
        (CH, 40, lambda _: b"", "39 lines, but 40 in the files of labels"),
        (CH, 40, lambda text: text * 2, "41 lines, but 40 in the files of labels"),
        (CH, 4, lambda text: b"0" * 70_000 + text, "line 4: longer than 65,536 bytes"),
        (WT, 2, replaced(127, b"0,5"), "line 2: column 128 holds '0,5'; expected a number"),
        (TAGS, 2, replaced(999, b"2"), "line 2: column 1000 holds '2'; expected 0 or 1"),
        (TAGS, 2, replaced(7, b"10"), "line 2: column 8 holds '10'; expected 0 or 1"),
        (TAGS, 2, replaced(7, b"-"), "line 2: column 8 holds '-'; expected 0 or 1"),
        (TAGS, 2, lambda text: text[2:], "line 2: 999 columns, expected 1,000"),
    ],
)
def test_a_wrong_line_is_named(published, tmp_path, name, line, change, says):
    published.edit(name, line, change)
    text = refused(tmp_path)
    assert str(published.root / name) in text
    assert says in text


def test_an_empty_file_is_refused(published, tmp_path):
    published.put(CH, b"")
    assert f"{published.root / CH}: 0 lines, but 40" in refused(tmp_path)


def test_files_are_bounded(published, tmp_path, monkeypatch):
    monkeypatch.setattr(nus_wide, "MAX_ROWS", 39)
    assert "more than 39 lines" in refused(tmp_path)
    monkeypatch.setattr(nus_wide, "MAX_BYTES", 79)
    assert "80 bytes, more than 79" in refused(tmp_path)


def test_files_that_cannot_be_read_are_a_line(published, tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    assert "Labels_buildings_Train.txt: cannot be read (Permission denied)" in refused(tmp_path)


def test_a_part_without_a_sample_of_one_label_is_refused(published, tmp_path):
    for label in LABELS:
        published.put(f"Groundtruth/TrainTestLabels/Labels_{label}_Test.txt", "1\n" * 24)
    text = refused(tmp_path)
    assert "none of the 24 images of the Test part has exactly one of the labels buildings, grass" in text
