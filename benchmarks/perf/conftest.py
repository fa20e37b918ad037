"""What the speed tests share: the clock, the storage, two threads, memory that is kept, and the victims."""

import ctypes
from typing import Any

import measured
import pytest
import torch

from fl_attack_bench import hardware, models
from fl_attack_bench.data import datasets
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.tasks.horizontal import Model


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The profile's clock and a storage of its own, unless the command line says otherwise."""
    if hasattr(config, "_benchmarksession"):
        raise pytest.UsageError("name benchmarks/perf on the command line: its clock must be set before anything else")
    own = {
        "benchmark_timer": ("time.perf_counter", "measured.clock"),
        "benchmark_storage": ("file://./.benchmarks", f"file://{config.rootpath}/.benchmarks/{measured.PROFILE.name}"),
    }
    for name, (default, ours) in own.items():
        if config.getoption(name) == default:
            setattr(config.option, name, ours)


def pytest_report_header() -> str:
    """Whose seconds these are."""
    return f"hardware profile: {measured.PROFILE.name}, on {measured.PROFILE.device}"


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Seconds are compared within one profile, and judged by how fast the machine was."""
    machine_info["hardware_profile"] = measured.PROFILE.name
    machine_info["device"] = measured.PROFILE.device
    machine_info["described"] = hardware.detect().described()
    machine_info["calibration"] = hardware.calibrate(measured.PROFILE)


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Both contestants run under what a worker runs under: see the pool's environment."""
    torch.set_num_threads(min(2, hardware.detect().cores))
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return datasets.load("digits", tmp_path_factory.mktemp("data"))


@pytest.fixture
def lenet() -> FlatModel:
    network = models.build(Model(name="lenet_dlg"), (1, 28, 28), 10, torch.Generator().manual_seed(1))
    return FlatModel(network.eval(), torch.device("cpu"))
