"""The clients that the attacks of these tests are played on."""

import pytest
import torch

from fl_attack_bench.data import datasets
from fl_attack_bench.scenarios.horizontal import Samples


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The test images of the embedded digits."""
    data = datasets.load("digits", tmp_path_factory.mktemp("data"))
    return Samples(data.x_test, data.y_test)


@pytest.fixture(scope="session")
def victims(digits: Samples) -> Samples:
    """Four of them."""
    return digits.pick(torch.arange(4))
