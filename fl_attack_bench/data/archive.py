"""Reads the four arrays of a dataset from an ``.npz`` file that a stranger may have made.

Each array's header is checked before any of its data is read, so a small file can neither run code (pickled objects)
nor fill the memory (a header or a compressed member that promises more than the file should hold).
"""

import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_attack_bench.errors import UserError

Array = npt.NDArray[Any]

KEYS = ("x_train", "y_train", "x_test", "y_test")
MAX_BYTES = 8 * 2**30
MAX_CHANNELS = 4
MAX_CLASSES = 10_000


def read(path: Path) -> dict[str, Array]:
    """The arrays of ``path`` as they are stored, checked.

    Args:
        path: an ``.npz`` file with ``x_train``, ``y_train``, ``x_test``, ``y_test``. Images: ``(N, H, W)`` or
            ``(N, H, W, C)``, uint8, or floats in [0, 1]. Tables: ``(N, D)``, floats in [0, 1]. Labels: ``(N,)``,
            integers from 0.

    Returns:
        One array for each name of ``KEYS``.

    Raises:
        UserError: names the file, the array, what is wrong with it and what is expected.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {key: _member(archive, key, path) for key in KEYS}
    except (UserError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds over damaged bytes
        raise UserError(f"{path}: not a sound .npz file ({_line(error)}); write it again with numpy.savez") from None
    _check_split(arrays, "train", path)
    _check_split(arrays, "test", path)
    train, test = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if train != test:
        raise UserError(f"{path}: x_test holds samples of shape {test}, x_train of shape {train}: make them equal")
    return arrays


def _member(archive: zipfile.ZipFile, key: str, path: Path) -> Array:
    try:
        entry = archive.getinfo(f"{key}.npy")
    except KeyError:
        held = ", ".join(sorted(name.removesuffix(".npy") for name in archive.namelist())[:8]) or "nothing"
        raise UserError(f"{path}: no array {key!r} (it holds {held}); it needs {', '.join(KEYS)}") from None
    with archive.open(entry) as stream:
        _check_header(stream, entry.file_size, f"{path}: {key}")
    with archive.open(entry) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _check_header(stream: Any, size: int, where: str) -> None:
    """Refuse objects, and arrays whose data is not exactly what the zip member holds."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(stream)
        offset = stream.tell()
    except Exception as error:  # the parser of a header is Python's own, with all of its errors
        raise UserError(f"{where} has no sound .npy header ({_line(error)}); write it with numpy.savez") from None
    if dtype.hasobject:
        raise UserError(f"{where} holds pickled Python objects, which are never loaded; save plain numbers")
    stored = prod(shape) * dtype.itemsize
    if max(stored, size, prod(shape) * 4) > MAX_BYTES:
        raise UserError(
            f"{where} takes {max(stored, size, prod(shape) * 4):,} bytes in memory, more than {MAX_BYTES:,}: save fewer"
        )
    if stored != size - offset:
        raise UserError(
            f"{where} is cut or padded: its header promises {stored:,} bytes, the file holds {size - offset:,}; "
            "copy the file again"
        )


def _check_split(arrays: Mapping[str, Array], split: str, path: Path) -> None:
    images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    where = f"{path}: x_{split}"
    if images.ndim not in (2, 3, 4) or 0 in images.shape:
        raise UserError(
            f"{where} has shape {images.shape}; expected images (N, H, W) or (N, H, W, C), or a table (N, D), "
            "nothing empty"
        )
    if images.ndim == 2 and images.dtype.kind != "f":
        raise UserError(
            f"{where} has shape {images.shape} and dtype {images.dtype}; a table (N, D) holds floats in [0, 1], images "
            "are (N, H, W) or (N, H, W, C)"
        )
    if images.ndim == 4 and images.shape[3] > MAX_CHANNELS:
        raise UserError(
            f"{where} has shape {images.shape}, so {images.shape[3]} channels; channels stand last, {MAX_CHANNELS} at "
            "most: use x.transpose(0, 2, 3, 1) if yours stand second"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UserError(f"{where} has dtype {images.dtype}; expected uint8, or floats in [0, 1]")
    if images.dtype.kind == "f" and not (images.min() >= 0 and images.max() <= 1):
        raise UserError(f"{where} lies in [{images.min():g}, {images.max():g}]; floats must lie in [0, 1]: rescale")
    where = f"{path}: y_{split}"
    if labels.shape != images.shape[:1]:
        raise UserError(
            f"{where} has shape {labels.shape}; x_{split} holds {images.shape[0]} samples: give one label each"
        )
    if labels.dtype.kind not in "iu":
        raise UserError(f"{where} has dtype {labels.dtype}; labels must be integers from 0")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise UserError(
            f"{where} lies in [{labels.min()}, {labels.max()}]; labels run from 0 to {MAX_CLASSES - 1} at most"
        )


def _line(error: BaseException) -> str:
    """An error's kind and the start of its message, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
