"""Which datasets there are and which of them are here; imports no tensor library, so it answers at once."""

import hashlib
import re
from pathlib import Path

from fl_attack_bench.errors import UnknownNameError, UserError

PREFIX = "npz:"
BUNDLED = frozenset({"diabetes", "digits"})
# Those whose targets are numbers and not class labels.
NUMBERS = frozenset({"diabetes"})

# Where torchvision unpacks the official sets, and one file whose presence tells that it did.
OFFICIAL = {
    "mnist": Path("MNIST/raw/train-images-idx3-ubyte"),
    "cifar10": Path("cifar-10-batches-py/data_batch_1"),
}


def names() -> list[str]:
    """The datasets that have a name of their own; ``npz:NAME`` comes beside them."""
    return sorted({*BUNDLED, *OFFICIAL})


def check(name: str) -> None:
    """Refuse a name that no dataset has.

    Raises:
        UserError: the nearest name is suggested.
    """
    if name not in names() and not name.startswith(PREFIX):
        raise UnknownNameError("dataset", name, [*names(), f"{PREFIX}NAME"])


def present(name: str, data_dir: Path) -> bool:
    """Whether the dataset can be loaded from ``data_dir`` without a download.

    Raises:
        UserError: no such name.
    """
    check(name)
    if name.startswith(PREFIX):
        return npz_path(name, data_dir).is_file()
    return name in BUNDLED or (data_dir / OFFICIAL[name]).is_file()


def absent(name: str, data_dir: Path) -> str:
    """What to say where a dataset is missing: the file and what to do."""
    if name.startswith(PREFIX):
        path = npz_path(name, data_dir)
        return f"{path}: no such file, needed by dataset {name!r}; put it there or give --data-dir DIR"
    return f"dataset {name!r} is not in {data_dir}; fetch it with `flab run ... --download --data-dir {data_dir}`"


def npz_path(name: str, data_dir: Path) -> Path:
    """The file of ``npz:NAME``, which may not leave the folder.

    Raises:
        UserError: the name is no plain file name.
    """
    stem = name.removeprefix(PREFIX)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", stem):
        raise UserError(
            f"dataset {name!r}: {stem!r} is no plain file name (letters, digits, '_', '.', '-'); "
            f"put the file into {data_dir} and name it without folder and ending"
        )
    return data_dir / f"{stem}.npz"


def digest(name: str, data_dir: Path) -> str:
    """sha256 of the file of ``npz:NAME``; empty for a file that is not there and for the sets that have a name."""
    if not name.startswith(PREFIX):
        return ""
    path = npz_path(name, data_dir)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
