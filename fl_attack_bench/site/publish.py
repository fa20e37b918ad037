"""Put a finished folder in place at once, and never over anything that is not a board."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl_attack_bench.errors import UserError

MARKER = ".fl-attack-bench-board"


def is_board(folder: Path) -> bool:
    """Whether a folder was written by this builder."""
    return (folder / MARKER).is_file()


@contextmanager
def publishing(out: Path) -> Iterator[Path]:
    """A scratch folder beside ``out`` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        UserError: ``out`` exists and is neither an empty folder nor a board, or cannot be written.
    """
    final = out.resolve()
    if final.exists() and not is_board(final) and not (final.is_dir() and not any(final.iterdir())):
        raise UserError(f"{out}: exists and is not a board; give another folder with --out, or remove it")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    except OSError as error:
        raise UserError(f"{out}: {error.strerror or error}") from None
    try:
        scratch.chmod(0o755)  # mkdtemp makes it private; a web server must be able to read it
        yield scratch
        (scratch / MARKER).write_text("Written by `flab board build`, which may replace this folder.\n")
        _swap(scratch, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(scratch: Path, final: Path) -> None:
    if not final.exists():
        scratch.replace(final)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{final.name}-old-", dir=final.parent)) / "board"
    final.replace(old)
    try:
        scratch.replace(final)
    except OSError:
        old.replace(final)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)
