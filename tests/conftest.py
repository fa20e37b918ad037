"""What the tests share: where the real images lie."""

import os
import signal
import threading
from pathlib import Path

import pytest

# Under pytest-xdist each worker has its share of the cores; torch would start a thread for every core in each of them.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has Ctrl-C ignored, and so would every program that they start.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder with the real MNIST and CIFAR-10 subsets; tests marked `shared` are skipped where it is absent."""
    if not (SHARED_DATA / "mnist.npz").is_file():
        pytest.skip(f"{SHARED_DATA} holds no images")
    return SHARED_DATA
