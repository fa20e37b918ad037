"""What the tests share: where the real images lie."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder with the real MNIST and CIFAR-10 subsets; tests marked `shared` are skipped where it is absent."""
    if not (SHARED_DATA / "mnist.npz").is_file():
        pytest.skip(f"{SHARED_DATA} holds no images")
    return SHARED_DATA
