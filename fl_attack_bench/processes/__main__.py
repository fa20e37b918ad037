"""``python -m fl_attack_bench.processes PARENT``: one party's process, which dies with the one that started it."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bind_to_parent(parent: int) -> None:
    """Have the kernel end this process with its parent, also while it is stopped, and before anything else is done."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Be a party. What it needs takes seconds to import."""
    bind_to_parent(int(sys.argv[1]))
    from fl_attack_bench.processes import party

    party.main()


if __name__ == "__main__":
    main()
