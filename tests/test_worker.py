"""What a worker does inside: the same state before every job, and failures told apart."""

import random

import pytest
import torch

from fl_attack_bench import hardware
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.pool import Pool
from fl_attack_bench.suite import Limits, MethodSpec
from fl_attack_bench.worker import failure, reset

METHOD = """
from dataclasses import dataclass
from fl_attack_bench.api import Card, HorizontalDefense

@dataclass(frozen=True)
class Mine(HorizontalDefense):
    card = Card(title="My defense", paper="https://example.org/mine", threat="none")
    prune: float = 0.5
"""


@pytest.fixture
def kept_state():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.usefixtures("kept_state")
def test_every_job_starts_from_the_same_state():
    drawn = []
    for _ in range(2):
        reset("key", 1, tf32=False)
        drawn.append((random.random(), torch.rand(3).tolist(), torch.is_grad_enabled(), torch.get_default_dtype()))
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
    reset("another", 1, tf32=False)
    assert drawn[0] == drawn[1]
    assert torch.rand(3).tolist() != drawn[0][1]
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out_of_memory"),
        (RuntimeError("size mismatch"), "error"),
        (SkipCell("no"), "skipped"),
        (UserError("no"), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
def test_failures_are_told_apart(error, status):
    assert failure(error)["status"] == status


def test_a_reason_is_short_and_names_the_place():
    try:
        torch.zeros(3) @ torch.zeros(4)
    except RuntimeError as error:
        reason = failure(error)["reason"]
    assert reason.startswith("RuntimeError: ")
    assert "(test_worker.py:" in reason
    assert len(failure(ValueError("x" * 10_000))["reason"]) <= 1000


def test_a_worker_describes_and_calibrates_for_real(tmp_path):
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "bare.py").write_text("import torch\ndef play(job, settings): pass\n")
    spec = MethodSpec(name=str(tmp_path / "mine.py"))
    wrong = MethodSpec(name=str(tmp_path / "mine.py"), parameters={"prune": "x"})
    profile = hardware.load("generic-cpu")
    answers = {}
    with Pool(1, tmp_path / "logs", play="bare:play", environment={"PYTHONPATH": str(tmp_path)}) as pool:
        for tag, request in {
            "describe": {"do": "describe", "kind": "defense", "spec": spec.model_dump(mode="json")},
            "wrong": {"do": "describe", "kind": "defense", "spec": wrong.model_dump(mode="json")},
            "calibrate": {"do": "calibrate", "profile": profile.model_dump(mode="json")},
        }.items():
            pool.submit(tag, request, Limits())
            while tag not in answers:
                answers |= {answer.tag: answer for answer in pool.wait(5)}
    assert answers["describe"].value["parameters"] == {"prune": 0.5}
    assert answers["wrong"].user_error
    assert answers["wrong"].outcome.reason.startswith("defense mine[prune=x]: Mine: prune='x'")
    assert answers["calibrate"].value["matrix_product_gflops"] > 0
