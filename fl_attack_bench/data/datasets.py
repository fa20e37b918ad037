"""Datasets by name.

``digits``, ``diabetes`` and ``breast_cancer`` need no download; ``mnist`` and ``cifar10`` are the full official sets;
``nus_wide`` is read from its published files, which a person has to ask for. ``npz:NAME`` is the file ``NAME.npz`` in
the data folder, for subsets, tables and data of one's own; results measured on it carry that name and never the
official one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_attack_bench import seeds
from fl_attack_bench.data import archive
from fl_attack_bench.data.archive import KEYS, Array
from fl_attack_bench.data.catalogue import (
    NUS_WIDE,
    NUS_WIDE_LABELS,
    OFFICIAL,
    PREFIX,
    absent,
    check,
    digest,
    names,
    npz_path,
    nus_wide_files,
    present,
)
from fl_attack_bench.errors import UserError

__all__ = ["Dataset", "load", "names", "present"]

DIGITS_TEST = 360
DIABETES_TEST = 88
BREAST_CANCER_TEST = 114


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset, ready for any network. It is shared within a process: never write into its tensors.

    Samples of a table are grey images of one row.

    Its targets are class labels, or one number a sample: then they are float32 and ``classes`` is 1, the network's
    single output.

    Args:
        name: as a suite writes it.
        x_train: shape ``(N, C, H, W)``, float32, in [0, 1].
        y_train: shape ``(N,)``, int64 in ``[0, classes)``, or float32 numbers.
        x_test: shape ``(M, C, H, W)``, float32, in [0, 1].
        y_test: shape ``(M,)``, likewise.
        classes: number of labels; 1 where the targets are numbers.
        fingerprint: sha256 over the arrays as they are stored, before any scaling: their shapes, dtypes and bytes.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width


def load(name: str, data_dir: Path, download: bool = False) -> Dataset:
    """Load a dataset; a second call in the same process returns the same object while its file is unchanged.

    Args:
        name: ``breast_cancer``, ``cifar10``, ``diabetes``, ``digits``, ``mnist``, ``nus_wide`` or ``npz:NAME``.
        data_dir: the folder in which datasets lie.
        download: whether the official sets may be fetched into ``data_dir``.

    Raises:
        UserError: no such name, no such file, or a file that is not a sound dataset; the message says what to do.
    """
    if name.startswith(PREFIX):
        path = npz_path(name, data_dir)
        try:
            status = path.stat()
        except OSError:
            status = None
        if status is None or not path.is_file():
            raise UserError(absent(name, data_dir))
        return _load_npz(name, path.resolve(), status.st_mtime_ns, status.st_size)
    check(name)
    if name == NUS_WIDE:
        return _find_nus_wide(data_dir)
    bundled = {"breast_cancer": _load_breast_cancer, "diabetes": _load_diabetes, "digits": _load_digits}
    return bundled[name]() if name in bundled else _load_official(name, data_dir.resolve(), download)


@lru_cache(maxsize=2)
def _load_npz(name: str, path: Path, modified: int, size: int) -> Dataset:
    del modified, size  # part of the cache's key only: a changed file is read again
    loaded = _assemble(name, archive.read(path))
    # The file itself, as `sha256sum` tells it: that is what a stranger can compare.
    return replace(loaded, fingerprint=digest(name, path.parent))


@lru_cache(maxsize=1)
def _load_digits() -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels, scaled up to the 28x28 that the networks of the papers expect."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    train, test = _split("digits", len(labels), DIGITS_TEST)
    stored = {
        "x_train": images[train].reshape(-1, 8, 8).astype(np.uint8),
        "y_train": labels[train].astype(np.int64),
        "x_test": images[test].reshape(-1, 8, 8).astype(np.uint8),
        "y_test": labels[test].astype(np.int64),
    }
    return _assemble("digits", stored, brightest=16, size=28)


@lru_cache(maxsize=1)
def _load_diabetes() -> Dataset:
    """scikit-learn's 442 diabetes patients (Efron et al. 2004, "Least angle regression"): regression.

    Ten features (age, sex, body mass index, blood pressure, six of blood serum) as a grey image of one row, shape
    ``(1, 1, 10)``. Features and target are scaled by their least and greatest value over all 442 patients. The target,
    disease progression after a year, is ``(y - 25) / 321``: an error of 0.1 is 32.1 of its units.
    """
    from sklearn.datasets import load_diabetes

    features, targets = load_diabetes(return_X_y=True, scaled=False)
    train, test = _split("diabetes", len(targets), DIABETES_TEST)
    rows = _scaled_rows(features)
    span = targets.max() - targets.min()
    numbers = torch.from_numpy(((targets - targets.min()) / span).astype(np.float32))
    stored = {"x_train": features[train], "y_train": targets[train], "x_test": features[test], "y_test": targets[test]}
    return Dataset("diabetes", rows[train], numbers[train], rows[test], numbers[test], 1, _fingerprint(stored))


@lru_cache(maxsize=1)
def _load_breast_cancer() -> Dataset:
    """scikit-learn's 569 tumours of Wisconsin (Street et al. 1993): class 0 is malignant, class 1 benign.

    Thirty features as a grey image of one row, shape ``(1, 1, 30)``, each scaled by its least and greatest value over
    all 569 patients. Ten of a cell's nucleus (radius, texture, perimeter, area, smoothness, compactness, concavity,
    concave points, symmetry, fractal dimension), three times in this order: places 0-9 are the means over a patient's
    cells, 10-19 their standard errors, 20-29 the worst (mean of the three greatest).
    """
    from sklearn.datasets import load_breast_cancer

    features, targets = load_breast_cancer(return_X_y=True)
    train, test = _split("breast_cancer", len(targets), BREAST_CANCER_TEST)
    rows, labels = _scaled_rows(features), torch.from_numpy(targets.astype(np.int64))
    stored = {"x_train": features[train], "y_train": targets[train], "x_test": features[test], "y_test": targets[test]}
    return Dataset("breast_cancer", rows[train], labels[train], rows[test], labels[test], 2, _fingerprint(stored))


def _scaled_rows(features: Array) -> Tensor:
    """A table ``(N, D)``, each column scaled to [0, 1], as grey images of one row ``(N, 1, 1, D)``."""
    low, high = features.min(0), features.max(0)
    return torch.from_numpy(((features - low) / (high - low)).astype(np.float32)).view(-1, 1, 1, features.shape[1])


def _find_nus_wide(data_dir: Path) -> Dataset:
    state = []
    for path in nus_wide_files(data_dir).values():
        if not path.is_file():
            raise UserError(absent(NUS_WIDE, data_dir))
        status = path.stat()
        state.append((status.st_mtime_ns, status.st_size))
    return _load_nus_wide(data_dir.resolve(), tuple(state))


@lru_cache(maxsize=1)
def _load_nus_wide(data_dir: Path, state: tuple[tuple[int, int], ...]) -> Dataset:
    del state  # part of the cache's key only: changed files are read again
    from fl_attack_bench.data import nus_wide

    stored = nus_wide.read(data_dir)
    fingerprint = _fingerprint(stored)
    nus_wide.scale(stored["x_train"], stored["x_test"])
    rows = {part: torch.from_numpy(stored[f"x_{part}"])[:, None, None] for part in ("train", "test")}
    labels = {part: torch.from_numpy(stored[f"y_{part}"]) for part in ("train", "test")}
    return Dataset(
        name=NUS_WIDE,
        x_train=rows["train"],
        y_train=labels["train"],
        x_test=rows["test"],
        y_test=labels["test"],
        classes=len(NUS_WIDE_LABELS),
        fingerprint=fingerprint,
    )


def _split(name: str, samples: int, held_out: int) -> tuple[list[int], list[int]]:
    """Training and test samples. Hashing orders them alike under every version of every random generator."""
    order = sorted(range(samples), key=lambda sample: seeds.derive(name, "split", sample))
    return order[held_out:], order[:held_out]


@lru_cache(maxsize=2)
def _load_official(name: str, data_dir: Path, download: bool) -> Dataset:
    if not (download or present(name, data_dir)):
        raise UserError(absent(name, data_dir))
    from torchvision import datasets

    source = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[name]
    try:
        train = source(root=str(data_dir), train=True, download=download)
        test = source(root=str(data_dir), train=False, download=download)
    except MemoryError:
        raise
    except Exception as error:  # a loader of many kinds of trouble: network, disk, checksum, format
        text = " ".join(str(error).split())[:160]
        raise UserError(
            f"dataset {name!r} in {data_dir} cannot be loaded ({type(error).__name__}: {text}); "
            f"remove {data_dir / OFFICIAL[name].parts[0]} and fetch it again with `flab run ... --download "
            f"--data-dir {data_dir}`"
        ) from None
    stored = {
        "x_train": np.asarray(train.data),
        "y_train": np.asarray(train.targets, dtype=np.int64),
        "x_test": np.asarray(test.data),
        "y_test": np.asarray(test.targets, dtype=np.int64),
    }
    return _assemble(name, stored)


def _assemble(name: str, stored: Mapping[str, Array], brightest: int = 255, size: int | None = None) -> Dataset:
    """Turn stored arrays into tensors; integer images are divided by ``brightest``, ``size`` scales up bilinearly."""
    labels = {key: torch.from_numpy(stored[key].astype(np.int64)) for key in ("y_train", "y_test")}
    return Dataset(
        name=name,
        x_train=_images(stored["x_train"], brightest, size),
        y_train=labels["y_train"],
        x_test=_images(stored["x_test"], brightest, size),
        y_test=labels["y_test"],
        classes=int(max(values.max() for values in labels.values())) + 1,
        fingerprint=_fingerprint(stored),
    )


def _images(stored: Array, brightest: int, size: int | None) -> Tensor:
    # A table (N, D) is images of one row, (N, 1, D).
    images_only = stored[:, None] if stored.ndim == 2 else stored
    channels_last = images_only if images_only.ndim == 4 else images_only[..., None]
    # A contiguous array in native byte order, whatever the file held.
    images = torch.from_numpy(np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2), dtype=np.float32))
    if stored.dtype.kind != "f":
        images /= brightest
    if size is not None:
        images = torch.nn.functional.interpolate(images, size=(size, size), mode="bilinear").clamp_(0, 1)
    return images


def _fingerprint(stored: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for key in KEYS:
        values: np.ndarray[Any, Any] = np.ascontiguousarray(stored[key])
        digest.update(f"{key}:{values.dtype.str}:{values.shape};".encode())
        digest.update(values.data)
    return digest.hexdigest()
