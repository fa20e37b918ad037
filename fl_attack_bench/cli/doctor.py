"""``flab doctor``: what the program finds on this machine, and what to do where something is missing."""

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fl_attack_bench import __version__
from fl_attack_bench.cli import options
from fl_attack_bench.cli.output import columns, line

if TYPE_CHECKING:
    from fl_attack_bench.hardware import Machine

_PACKAGES = ("torch", "torchvision", "numpy", "mlflow", "scikit-learn", "pandas", "seaborn", "dp-accounting")
_MODULES = ("torch", "torchvision", "mlflow", "sklearn", "pandas", "seaborn", "dp_accounting")
_LITTLE_DISK = 2 * 2**30

Row = tuple[str, str, str]
OK, NOTE, BROKEN = "ok", "note", "BROKEN"


def doctor(
    data_dir: options.DataDir = None,
    folder: options.Folder = options.FOLDER,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Say what is found: machine, versions, hardware profile, data, tracking; and what to do about what is not."""
    from fl_attack_bench import hardware

    machine = hardware.detect()
    rows = [
        *_machine(machine),
        *_versions(),
        *_imports(machine),
        *_profile(machine),
        *_data(options.data_dir(data_dir)),
        *_folder(folder),
        *_tracking(folder, tracking_uri),
    ]
    columns(rows)
    if any(state == BROKEN for state, _, _ in rows):
        raise typer.Exit(1)


def _machine(machine: "Machine") -> Iterator[Row]:
    for name, value in machine.described().items():
        yield OK, name, value


def _versions() -> Iterator[Row]:
    yield OK, "fl-attack-bench", f"{__version__} in {Path(__file__).resolve().parent.parent}"
    yield OK, "python", platform.python_version()
    for name in _PACKAGES:
        try:
            yield OK, name, version(name)
        except PackageNotFoundError:
            yield BROKEN, name, "not installed: pip install -c constraints.txt -e ."


def _imports(machine: "Machine") -> Iterator[Row]:
    """Import what the program stands on: builds that do not fit together fail here, not in the middle of a run."""
    for name in _MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a library that does not fit its neighbour raises anything
            advice = "install torch and torchvision from the same index" if name.startswith("torch") else "reinstall it"
            yield BROKEN, f"import {name}", f"{type(error).__name__}: {line(error)[:160]}; {advice}"
    yield from _accelerator(machine)


def _accelerator(machine: "Machine") -> Iterator[Row]:
    try:
        import torch
    except Exception:  # told above
        return
    seen = torch.cuda.is_available()
    if machine.gpus and not seen:
        yield NOTE, "CUDA", "torch does not see the accelerator: install a CUDA build of torch that fits its driver"
    else:
        yield OK, "CUDA", f"torch sees {torch.cuda.device_count()} device(s)" if seen else "none; cells run on the CPU"


def _profile(machine: "Machine") -> Iterator[Row]:
    from fl_attack_bench import hardware

    profile, _ = hardware.choose(hardware.AUTO, machine)
    yield OK, "hardware", f"profile {profile.name} matches ({line(profile.title)}); --hardware auto takes it"


def _data(folder: Path) -> Iterator[Row]:
    from fl_attack_bench.data import catalogue

    for name in catalogue.names():
        if name in catalogue.BUNDLED:
            yield OK, name, "comes with scikit-learn"
        elif catalogue.present(name, folder):
            yield OK, name, f"in {folder}"
        else:
            yield NOTE, name, catalogue.absent(name, folder)
    for path in sorted(folder.glob("*.npz")):
        yield OK, f"{catalogue.PREFIX}{path.stem}", f"in {folder}"
    if not folder.is_dir():
        yield NOTE, "data folder", f"{folder} does not exist; give --data-dir DIR or set {options.DATA_VARIABLE}"


def _folder(folder: Path) -> Iterator[Row]:
    from fl_attack_bench.store import Store

    there = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        yield NOTE, "run folder", f"{folder} cannot be written: give another one with --folder"
        return
    if folder.is_dir():
        records, warnings = Store(folder).load()
        yield OK, "run folder", f"{folder}: {len(records)} records"
        for warning in warnings:
            yield NOTE, "run folder", f"{warning}; run its suite again to replace it"
    else:
        yield OK, "run folder", f"{folder}: none yet; `flab run quick` makes it"
    state, advice = (NOTE, ": little; free some, or give --folder elsewhere") if free < _LITTLE_DISK else (OK, "")
    yield state, "disk", f"{free / 2**30:.1f} GiB free{advice}"


def _tracking(folder: Path, uri: str | None) -> Iterator[Row]:
    from fl_attack_bench import tracking
    from fl_attack_bench.store import Store

    uri = uri or tracking.default_uri(Store(folder))
    why = tracking.unreachable(uri)
    if why:
        yield NOTE, "tracking", f"{tracking.shown(uri)} {why}; records are kept on disk, `flab sync` uploads them later"
    else:
        yield OK, "tracking", tracking.shown(uri)
