"""A party's process as the one who started it sees it."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

from fl_attack_bench.processes import pipe
from fl_attack_bench.processes.pipe import Note

# What a party said last: its name, and the note, or None where its process has ended.
Event = tuple[str, Note | None]
_TAIL = 300


class Child:
    """A started process. Notes are written and read by threads: one that hangs blocks nobody.

    Args:
        name: the party's.
        log: what it prints goes there.
        events: where its answers go.
        threads: of its numerical libraries.
    """

    def __init__(self, name: str, log: Path, events: "queue.SimpleQueue[Event]", threads: int) -> None:
        self.name, self._log, self._events = name, log, events
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                # -P: the folder that the user happens to be in must not shadow modules
                [sys.executable, "-u", "-P", "-m", "fl_attack_bench.processes", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": "0"},
                start_new_session=True,
            )
        self._orders: queue.SimpleQueue[Note | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def order(self, note: Note) -> None:
        """Give a note; does not wait."""
        self._orders.put(note)

    def state(self) -> str:
        """How the process ended, in words; empty while it has not."""
        status = self.process.poll()
        if status is None:
            return ""
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        with self._log.open("rb") as stream:
            said = stream.read().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1][-_TAIL:]
        return f"{how} ({said})" if said and status > 0 else how

    def stop(self) -> None:
        """End it and all that it started, at once and whatever state it is in."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._orders.put(None)
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _write(self) -> None:
        stream = self.process.stdin
        with contextlib.suppress(OSError, ValueError):
            while stream is not None and (note := self._orders.get()) is not None:
                pipe.write(stream, note)

    def _read(self) -> None:
        stream = self.process.stdout
        with contextlib.suppress(OSError, ValueError):
            while stream is not None and (note := pipe.read(stream)) is not None:
                self._events.put((self.name, note))
        self._events.put((self.name, None))
