"""Which datasets there are and which of them are here; imports no tensor library, so it answers at once."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from fl_attack_bench.errors import UnknownNameError, UserError

PREFIX = "npz:"
BUNDLED = frozenset({"breast_cancer", "diabetes", "digits"})
# Those whose targets are numbers and not class labels.
NUMBERS = frozenset({"diabetes"})

# Where torchvision unpacks the official sets, and one file whose presence tells that it did.
OFFICIAL = {
    "mnist": Path("MNIST/raw/train-images-idx3-ubyte"),
    "cifar10": Path("cifar-10-batches-py/data_batch_1"),
}

# NUS-WIDE as published: its low-level features and how many columns each file has, by file name, and the concepts that
# are the labels, in the order of Liu et al. 2020.
NUS_WIDE = "nus_wide"
NUS_WIDE_FOLDER = "NUS_WIDE"
NUS_WIDE_PAGE = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html"
NUS_WIDE_FEATURES = {"CH": 64, "CM55": 225, "CORR": 144, "EDH": 73, "WT": 128}
NUS_WIDE_LABELS = ("buildings", "grass", "animal", "water", "person")
NUS_WIDE_PARTS = ("Train", "Test")


def names() -> list[str]:
    """The datasets that have a name of their own; ``npz:NAME`` comes beside them."""
    return sorted({*BUNDLED, *OFFICIAL, NUS_WIDE})


def fetched(name: str) -> bool:
    """Whether ``--download`` fetches it; the bundled sets need no download, the others are put in place by hand."""
    return name in OFFICIAL


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
    if name == NUS_WIDE:
        return all(path.is_file() for path in nus_wide_files(data_dir).values())
    return name in BUNDLED or (data_dir / OFFICIAL[name]).is_file()


def absent(name: str, data_dir: Path) -> str:
    """What to say where a dataset is missing: the file and what to do."""
    if name.startswith(PREFIX):
        path = npz_path(name, data_dir)
        return f"{path}: no such file, needed by dataset {name!r}; put it there or give --data-dir DIR"
    if name == NUS_WIDE:
        return _absent_nus_wide(data_dir)
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


def nus_wide_files(data_dir: Path) -> dict[str, Path]:
    """The published files of NUS-WIDE that are read: where each one lies, by its name below ``NUS_WIDE``.

    The low-level features may also lie one folder deeper, in ``NUS_WID_Low_Level_Features``, as their archive is named.
    """
    folder = data_dir / NUS_WIDE_FOLDER
    deeper = folder / "NUS_WID_Low_Level_Features"
    return {
        name: (deeper if name.startswith("Low_Level") and deeper.is_dir() else folder) / name
        for part in NUS_WIDE_PARTS
        for name in _nus_wide_names(part)
    }


def _nus_wide_names(part: str) -> Iterator[str]:
    yield from (f"Groundtruth/TrainTestLabels/Labels_{label}_{part}.txt" for label in NUS_WIDE_LABELS)
    yield from (f"Low_Level_Features/{part}_Normalized_{kind}.dat" for kind in NUS_WIDE_FEATURES)
    yield f"NUS_WID_Tags/{part}_Tags1k.dat"


def _absent_nus_wide(data_dir: Path) -> str:
    missing = [name for name, path in nus_wide_files(data_dir).items() if not path.is_file()]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    either = "{Train,Test}"
    return (
        f"dataset {NUS_WIDE!r} is not complete in {data_dir / NUS_WIDE_FOLDER}: no {missing[0]}{more}; "
        f"it is not downloaded: ask for the published files at {NUS_WIDE_PAGE} and unpack them there as "
        f"Groundtruth/TrainTestLabels/Labels_{{{','.join(NUS_WIDE_LABELS)}}}_{either}.txt, "
        f"Low_Level_Features/{either}_Normalized_{{{','.join(NUS_WIDE_FEATURES)}}}.dat and "
        f"NUS_WID_Tags/{either}_Tags1k.dat"
    )


def digest(name: str, data_dir: Path) -> str:
    """sha256 of the data that a person put there: of ``npz:NAME`` its file's, of NUS-WIDE one over its files' digests.

    Empty for data that is not there and for the sets that come with a package or from its loader.
    """
    if name == NUS_WIDE and present(name, data_dir):
        lines = [f"{_sha256(path)}  {file}\n" for file, path in nus_wide_files(data_dir).items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    if not name.startswith(PREFIX):
        return ""
    path = npz_path(name, data_dir)
    return _sha256(path) if path.is_file() else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
