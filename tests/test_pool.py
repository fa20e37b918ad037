"""Workers that misbehave in every way are answered for, killed and replaced."""

import os
import subprocess
import sys
import time

import psutil
import pytest
from running import stand_in

from fl_attack_bench.jobs import Job, Settings
from fl_attack_bench.pool import Pool
from fl_attack_bench.suite import Limits

ROOMY = Limits(minutes=1, memory_gib=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pool")


@pytest.fixture(scope="module")
def pool(folder):
    with Pool(2, folder / "logs", play=stand_in.PLAY, environment=stand_in.ENVIRONMENT) as pool:
        yield pool


def request(folder, how, **parameters):
    defenses = [{"behave": how, **parameters}]
    cell = stand_in.cells(stand_in.suite(folder, defenses=defenses))[0]
    settings = Settings(work=folder / "work", data_dir=folder)
    job = Job(kind="centralised", cell=cell)
    return {"do": "play", "job": job.model_dump(mode="json"), "settings": settings.model_dump(mode="json")}


def ask(pool, message, limits=ROOMY):
    pool.submit("tag", message, limits)
    while True:
        for answer in pool.wait(5):
            assert answer.tag == "tag"
            return answer


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ("nothing", "ok", ""),
        ("print", "ok", ""),
        ("read", "ok", ""),
        ("raise", "error", "ValueError: bad luck at 0x... (stand_in.py:"),
        ("user", "error", "no data: run with --download"),
        ("skip", "skipped", "not on this task"),
        ("sys.exit", "error", "SystemExit: 4"),
        ("no memory", "out_of_memory", "MemoryError: nothing left"),
        ("allocator", "out_of_memory", "RuntimeError: DefaultCPUAllocator"),
        ("exit", "error", "worker exited with status 3"),
        ("crash", "error", "worker died: signal 11 (SIGSEGV): about to crash"),
        ("killed", "error", "worker died: signal 9 (SIGKILL)"),
        ("garbage", "error", "the worker answered nonsense"),
        ("flood", "error", "the worker's answer exceeds"),
    ],
)
def test_every_ending_has_an_answer(pool, folder, how, status, reason):
    answer = ask(pool, request(folder, how))
    assert (answer.outcome.status, answer.outcome.reason[: len(reason)]) == (status, reason)
    assert answer.user_error == (how == "user")


def test_a_hanging_job_times_out_and_its_worker_is_replaced(pool, folder):
    ask(pool, request(folder, "nothing"))  # so that a worker is warm
    answer = ask(pool, request(folder, "hang"), Limits(minutes=0.005, memory_gib=2))
    assert (answer.outcome.status, answer.outcome.reason) == ("timeout", "timeout after 0.005 min")
    assert 0.2 < answer.outcome.seconds < 5
    assert ask(pool, request(folder, "nothing")).outcome.status == "ok"


@pytest.mark.parametrize("how", ["memory", "child memory"])
def test_memory_over_the_limit_is_stopped(pool, folder, how):
    answer = ask(pool, request(folder, how), Limits(minutes=1, memory_gib=0.3))
    assert (answer.outcome.status, answer.outcome.reason) == ("out_of_memory", "used more than 0.3 GiB")
    assert answer.outcome.seconds < 20


def test_two_run_at_once_and_no_more(pool, folder):
    for tag in (1, 2):
        pool.submit(tag, request(folder, "nothing", sleep=0.3), ROOMY)
    assert (pool.busy, pool.free) == (2, 0)
    with pytest.raises(RuntimeError, match="busy"):
        pool.submit(3, request(folder, "nothing"), ROOMY)
    tags = set()
    while pool.busy:
        tags |= {answer.tag for answer in pool.wait(5)}
    assert tags == {1, 2}


def test_a_worker_that_dies_idle_is_replaced(pool, folder):
    ask(pool, request(folder, "nothing"))
    for worker in pool._slots:
        if worker is not None:
            worker.process.kill()
            worker.process.wait()
    assert ask(pool, request(folder, "nothing")).outcome.status == "ok"


def test_a_play_module_that_does_not_import_is_an_answer(tmp_path):
    with Pool(1, tmp_path, play="no_such_module:play") as pool:
        answer = ask(pool, {"do": "calibrate"})
    assert answer.outcome.status == "error"
    assert "No module named 'no_such_module'" in answer.outcome.reason


def test_what_methods_print_is_in_the_log(pool, folder):
    ask(pool, request(folder, "print"))
    log = "".join(path.read_text() for path in (folder / "logs").iterdir())
    assert "noise on stdout" in log
    assert "noise on stderr" in log


def test_workers_die_with_a_killed_parent(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, stand_in.__file__, str(tmp_path)], env={**os.environ, **stand_in.ENVIRONMENT}
    )
    deadline = time.monotonic() + 30
    while len(children := psutil.Process(parent.pid).children(recursive=True)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert children
    assert not alive
