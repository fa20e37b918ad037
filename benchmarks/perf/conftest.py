"""What the speed tests share: two threads, memory that is kept, and the victims."""

import ctypes
import os

import pytest
import torch

from fl_attack_bench import models
from fl_attack_bench.data import datasets
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.tasks.horizontal import Model


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Both contestants run under what a worker runs under: see the pool's environment."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))
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
