"""Reads NUS-WIDE (Chua et al. 2009) from its published files, as Liu et al. 2020 use it (section 7.1).

A sample is one image that has exactly one of the five labels, as a row of 1,634 places: 634 low-level image features,
then 1,000 tags. The low-level features stand in the order of their files' names:

======== ========================= =======
places   what                      file
======== ========================= =======
0-63     color histogram           CH
64-288   block-wise color moments  CM55
289-432  color correlogram         CORR
433-505  edge direction histogram  EDH
506-633  wavelet texture           WT
634-1633 tags                      Tags1k
======== ========================= =======

The files may have been made by a stranger: each line is checked before it is used.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_attack_bench.data.archive import Array
from fl_attack_bench.data.catalogue import NUS_WIDE_FEATURES, NUS_WIDE_LABELS, NUS_WIDE_PARTS, nus_wide_files
from fl_attack_bench.errors import UserError

# The paper's Table 1 counts 60,000 training and 40,000 test samples and does not say which of all images with exactly
# one of the labels they are. Our reading: the first so many in the order of the files, or all where there are fewer.
NUS_WIDE_TRAIN = 60_000
NUS_WIDE_TEST = 40_000

IMAGE_FEATURES = sum(NUS_WIDE_FEATURES.values())
TAGS = 1_000

MAX_BYTES = 4 * 2**30
MAX_LINE = 64 * 2**10
MAX_ROWS = 1_000_000
GREATEST = 1e30
Row = npt.NDArray[np.float64] | npt.NDArray[np.uint8]


def read(data_dir: Path) -> dict[str, Array]:
    """The chosen samples of the training and the test part, as published.

    Args:
        data_dir: the folder that holds ``NUS_WIDE``.

    Returns:
        ``x_train``, shape ``(N, 1634)``, float32, not scaled; ``y_train``, shape ``(N,)``, int64: 0 buildings,
        1 grass, 2 animal, 3 water, 4 person; ``x_test`` and ``y_test`` likewise.

    Raises:
        UserError: names the file, the line, what was found and what was expected.
    """
    files = nus_wide_files(data_dir)
    stored: dict[str, Array] = {}
    for part, most in zip(NUS_WIDE_PARTS, (NUS_WIDE_TRAIN, NUS_WIDE_TEST), strict=True):
        found = _read_part(files, part, most)
        stored[f"x_{part.lower()}"], stored[f"y_{part.lower()}"] = found
    return stored


def scale(train: Array, test: Array) -> None:
    """Scale the image features to [0, 1], in place, by their least and greatest value over the training samples.

    Test values beyond them are clipped; a feature that is the same in all training samples becomes 0 there. Tags stay
    as they are.
    """
    low = train[:, :IMAGE_FEATURES].min(0)
    span = train[:, :IMAGE_FEATURES].max(0) - low
    span[span == 0] = 1
    for rows in (train, test):
        features = rows[:, :IMAGE_FEATURES]
        features -= low
        features /= span
        np.clip(features, 0, 1, out=features)


def _read_part(files: dict[str, Path], part: str, most: int) -> tuple[Array, Array]:
    marks = _read_labels([path for name, path in files.items() if name.endswith(f"_{part}.txt")])
    chosen = np.flatnonzero(marks.sum(1) == 1)[:most]
    if not len(chosen):
        where = files[f"Groundtruth/TrainTestLabels/Labels_{NUS_WIDE_LABELS[0]}_{part}.txt"].parent
        raise UserError(
            f"{where}: none of the {len(marks):,} images of the {part} part has exactly one of the labels "
            f"{', '.join(NUS_WIDE_LABELS)}; take the published files"
        )
    samples = np.empty((len(chosen), IMAGE_FEATURES + TAGS), dtype=np.float32)
    at = 0
    for kind, columns in NUS_WIDE_FEATURES.items():
        path = files[f"Low_Level_Features/{part}_Normalized_{kind}.dat"]
        _fill(samples[:, at : at + columns], path, chosen, len(marks), _numbers)
        at += columns
    _fill(samples[:, at:], files[f"NUS_WID_Tags/{part}_Tags1k.dat"], chosen, len(marks), _marks)
    return samples, marks[chosen].argmax(1)


def _read_labels(paths: list[Path]) -> npt.NDArray[np.uint8]:
    """Which labels each image has: shape ``(images, labels)``, 0 or 1."""
    columns: list[npt.NDArray[np.uint8]] = []
    for path in paths:
        values = bytearray()
        for number, line in _lines(path):
            if line not in (b"0", b"1"):
                raise UserError(f"{path}, line {number}: {_shown(line)}; expected 0 or 1 and nothing else")
            values += line
        column = np.frombuffer(bytes(values), dtype=np.uint8) - ord("0")
        if columns and len(column) != len(columns[0]):
            raise _uneven(path, len(column), len(columns[0]), paths[0].name)
        columns.append(column.astype(np.uint8))
    return np.stack(columns, axis=1)


def _fill(
    out: Array,
    path: Path,
    chosen: npt.NDArray[np.int64],
    images: int,
    convert: Callable[[list[bytes]], Row],
) -> None:
    """Read the chosen lines of a file into ``out``; the others are only counted."""
    wanted = [*(chosen + 1).tolist(), 0]
    taken = last = 0
    for last, line in _lines(path):
        if last != wanted[taken]:
            continue
        tokens = line.split()
        if len(tokens) != out.shape[1]:
            raise UserError(f"{path}, line {last}: {len(tokens):,} columns, expected {out.shape[1]:,}")
        try:
            out[taken] = convert(tokens)
        except ValueError as error:
            raise UserError(f"{path}, line {last}: {error}") from None
        taken += 1
    if last != images:
        raise _uneven(path, last, images, "the files of labels")


def _numbers(tokens: list[bytes]) -> npt.NDArray[np.float64]:
    try:
        row = np.fromiter(map(float, tokens), np.float64, len(tokens))
    except ValueError:
        at, token = next((at, token) for at, token in enumerate(tokens) if not _is_number(token))
        raise ValueError(f"column {at + 1} holds {_shown(token)}; expected a number") from None
    # Not the other way round: a comparison with NaN is false.
    sound = np.abs(row) <= GREATEST
    if not sound.all():
        at = int(np.flatnonzero(~sound)[0])
        raise ValueError(f"column {at + 1} holds {_shown(tokens[at])}; expected a finite number")
    return row


def _marks(tokens: list[bytes]) -> npt.NDArray[np.uint8]:
    digits = b"".join(tokens)
    row = np.frombuffer(digits, dtype=np.uint8) - np.uint8(ord("0"))
    if len(digits) != len(tokens) or row.max() > 1:
        at, token = next((at, token) for at, token in enumerate(tokens) if token not in (b"0", b"1"))
        raise ValueError(f"column {at + 1} holds {_shown(token)}; expected 0 or 1")
    return row


def _is_number(token: bytes) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, counted from 1, without the blanks around them; empty ones may stand at its end only."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise UserError(f"{path}: {size:,} bytes, more than {MAX_BYTES:,}; take the published file")
            number, empty = 0, 0
            while line := file.readline(MAX_LINE):
                number += 1
                if number > MAX_ROWS:
                    raise UserError(f"{path}: more than {MAX_ROWS:,} lines; take the published file")
                if len(line) == MAX_LINE and not line.endswith(b"\n"):
                    raise UserError(f"{path}, line {number}: longer than {MAX_LINE:,} bytes; take the published file")
                if text := line.strip():
                    if empty:
                        raise UserError(f"{path}, line {empty}: empty; expected one line for each image")
                    yield number, text
                else:
                    empty = empty or number
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _uneven(path: Path, found: int, expected: int, reference: str) -> UserError:
    return UserError(
        f"{path}: {found:,} lines, but {expected:,} in {reference}; expected one line for each image of the part in "
        "every file: copy it again"
    )


def _shown(token: bytes) -> str:
    """The start of what a file holds, on one line and printable."""
    text = ascii(token[:24].decode("ascii", "replace"))
    return text if len(token) <= 24 else f"{text}..."
