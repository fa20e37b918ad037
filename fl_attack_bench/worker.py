"""The child process that plays jobs: ``python -m fl_attack_bench.worker``, started by the pool.

One JSON line in is one request, one JSON line out its answer; nothing is pickled, as methods are strangers' code. The
answers leave on a private copy of standard output. What a method prints goes to the worker's log.

=============  ==========================  ==========================================================
``do``         with                        the answer's ``value``
=============  ==========================  ==========================================================
``play``       ``job``, ``settings``       nothing: the result is the job's folder
``describe``   ``kind``, ``spec``          the method as a record names it
``calibrate``  ``profile``                 figures of the machine's speed
=============  ==========================  ==========================================================
"""

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import queue
import random
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from fl_attack_bench import hardware, provenance
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import Job, Settings
from fl_attack_bench.suite import MethodSpec

PLAY = "fl_attack_bench.play:play"
MAX_REASON = 1_000
_PR_SET_PDEATHSIG = 1


class Player:
    """Carries out requests.

    Args:
        play: ``module:function`` that plays a job. A stand-in's module may define ``describe`` and ``calibrate`` too:
            tests of the running need none of the real networks.
        tf32: whether products may round to TF32.
    """

    def __init__(self, play: str, *, tf32: bool = False) -> None:
        module, _, function = play.partition(":")
        self._module: ModuleType = importlib.import_module(module)
        self._play: Callable[[Job, Settings], None] = getattr(self._module, function)
        self._tf32 = tf32

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, whatever happens inside."""
        begun = time.perf_counter()
        try:
            answer: dict[str, Any] = {"status": "ok", "value": self._do(request)}
        except BaseException as error:  # a method may call sys.exit()
            traceback.print_exc()
            answer = failure(error)
        gc.collect()
        return {"id": request.get("id"), "seconds": time.perf_counter() - begun} | answer

    def _do(self, request: dict[str, Any]) -> Any:
        what = request["do"]
        if what == "play":
            job, settings = Job.model_validate(request["job"]), Settings.model_validate(request["settings"])
            reset(job.key, settings.threads, tf32=self._tf32)
            self._play(job, settings)
            return None
        if what == "describe":
            describe = getattr(self._module, "describe", provenance.describe)
            return describe(request["kind"], MethodSpec.model_validate(request["spec"])).model_dump(mode="json")
        if what == "calibrate":
            profile = hardware.Profile.model_validate(request["profile"])
            reset(profile.name, profile.threads, tf32=self._tf32)
            return getattr(self._module, "calibrate", hardware.calibrate)(profile)
        raise ValueError(f"unknown request {what!r}")


def reset(stream: str, threads: int, *, tf32: bool) -> None:
    """The same state before every job, whatever the job before it left behind.

    Methods draw from generators that they are given; the global ones are seeded for those that do not.
    """
    random.seed(stream)
    if "torch" not in sys.modules:
        return
    import numpy as np
    import torch

    seed = random.getrandbits(32)
    np.random.seed(seed)  # noqa: NPY002 - the global state is what must not leak from job to job
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def failure(error: BaseException) -> dict[str, Any]:
    """Status and short reason of what was raised; the whole traceback is in the log."""
    if isinstance(error, SkipCell):
        return {"status": "skipped", "reason": str(error)[:MAX_REASON]}
    if isinstance(error, UserError):
        return {"status": "error", "reason": str(error)[:MAX_REASON], "user": True}
    message = " ".join(re.sub(r"0x[0-9a-fA-F]{6,}", "0x...", str(error)).split())
    reason = f"{type(error).__name__}: {message}"[:MAX_REASON] + _place(error)
    return {"status": "out_of_memory" if _exhausted(error) else "error", "reason": reason}


def _exhausted(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or any(cls.__name__ == "OutOfMemoryError" for cls in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost frame of a method or the engine, not of a library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _ours(frame.filename)]
    if not frames:
        return ""
    frame = (own or frames)[-1]
    return f" ({Path(frame.filename).name}:{frame.lineno} in {frame.name})"


def _ours(filename: str) -> bool:
    if "/fl_attack_bench/" in filename:
        return True
    return "site-packages" not in filename and not filename.startswith((sys.base_prefix, sys.prefix, "<"))


def _private_streams() -> tuple[TextIO, TextIO]:
    """Requests and answers on descriptors that no method and no child of a method holds."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _bind_to_parent(parent: int) -> None:
    """Make sure that no worker outlives its parent, nor takes it down when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if sys.platform == "linux":  # a thread cannot see the end of its input while native code holds the interpreter
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _listen(requests: TextIO, inbox: "queue.SimpleQueue[str]") -> None:
    for line in requests:
        inbox.put(line)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Answer requests until the parent is gone."""
    options = argparse.ArgumentParser(prog="fl_attack_bench.worker")
    options.add_argument("--play", default=PLAY)
    options.add_argument("--parent", type=int, required=True)
    options.add_argument("--tf32", action="store_true")
    chosen = options.parse_args()
    requests, answers = _private_streams()
    _bind_to_parent(chosen.parent)
    faulthandler.enable()
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    player = Player(chosen.play, tf32=chosen.tf32)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    while True:
        request = json.loads(inbox.get())
        print(json.dumps(player.answer(request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
