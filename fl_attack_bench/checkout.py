"""Another revision of the source checkout beside this one: in a temporary folder, as a program of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fl_attack_bench.errors import UserError

PACKAGE = Path("fl_attack_bench", "__init__.py")
_GIT_SECONDS = 300
_PROGRAM = "import sys; from fl_attack_bench.cli import main; sys.exit(main(sys.argv[1:]))"
_BAD_INPUT = 2
_TAIL = 300
_HOOKED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


class RefusedError(UserError):
    """A checkout's own program refused what it was asked for."""


@dataclass(frozen=True)
class Checkout:
    """A folder with the whole source.

    Args:
        name: how the user named it.
        root: the folder that holds ``fl_attack_bench/``.
        revision: the full revision; None for a folder that is played as it is.
    """

    name: str
    root: Path
    revision: str | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables under which a Python program imports this source, whatever is installed."""
        return {"PYTHONPATH": str(self.root)}

    def flab(self, words: Sequence[str], log: Path) -> int:
        """Play this source's own ``flab`` in its root; returns its exit status, 0 or 1.

        Args:
            words: what stands behind ``flab``; paths are absolute or the source's own.
            log: where what it prints is kept.

        Raises:
            RefusedError: it refused its input; its last line is the reason.
            UserError: it ended in another way.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            # -P: the folder it is played in must not shadow the source
            command = [sys.executable, "-P", "-c", _PROGRAM, *words]
            environment = {**os.environ, **self.environment}
            status = subprocess.run(
                command, cwd=self.root, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False
            ).returncode
        if status in (0, 1):
            return status
        told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = told[-1].removeprefix("flab: ")[-_TAIL:] if told else "it said nothing"
        if status == _BAD_INPUT:
            raise RefusedError(f"{self.name}: {last}")
        raise UserError(f"{self.name}: `flab {' '.join(words[:2])}` ended with status {status}: {last}; see {log}")


def source(folder: Path) -> bool:
    """Whether a folder holds the whole source, rather than records."""
    return (folder / PACKAGE).is_file()


def repository(start: Path, wanted: str) -> Path:
    """The root of the git checkout that a folder is in, in which a revision is ``wanted``.

    Raises:
        UserError: it is in none, or git is not there.
    """
    try:
        return Path(_git(start, "rev-parse", "--show-toplevel").strip())
    except _Refused:
        raise UserError(
            f"{wanted}: no such folder, and {start} is in no git checkout whose revision it could be; a folder that is "
            f"to be made is written ./{wanted}"
        ) from None


def resolve(root: Path, name: str) -> str:
    """The full revision that a name stands for.

    Raises:
        UserError: there is no such commit.
    """
    if name.startswith("-"):
        raise UserError(f"{name}: no revision begins with a dash")
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except _Refused:
        raise UserError(
            f"{name}: neither a folder nor a revision of {root}; a folder that is to be made is written ./{name}"
        ) from None


@contextmanager
def worktrees(root: Path, names: Mapping[str, str]) -> Iterator[dict[str, Checkout]]:
    """Check revisions out with ``git worktree`` for as long as the block lasts.

    Args:
        root: the checkout's.
        names: the user's name of a revision by the side it is for.

    Yields:
        The checkouts by side.

    Raises:
        UserError: no such revision, or git cannot check it out.
    """
    revisions = {side: resolve(root, name) for side, name in names.items()}
    with tempfile.TemporaryDirectory(prefix="flab-regress-") as scratch, ExitStack() as undo:
        found = {}
        for side, revision in revisions.items():
            place = Path(scratch).resolve() / side
            try:
                _git(root, "worktree", "add", "--detach", "--force", str(place), revision)
            except _Refused as error:
                raise UserError(f"{names[side]}: git cannot check it out: {error}") from None
            undo.callback(_remove, root, place)
            if not source(place):
                raise UserError(f"{names[side]}: holds no {PACKAGE}")
            found[side] = Checkout(names[side], place, revision)
        yield found


class _Refused(Exception):  # noqa: N818 - says what git said
    """Git did not do what it was asked to."""


def _remove(root: Path, place: Path) -> None:
    try:
        _git(root, "worktree", "remove", "--force", str(place))
    except _Refused as error:
        print(f"flab: {place}: git cannot remove this worktree: {error}", file=sys.stderr)


def _git(root: Path, *words: str) -> str:
    # In a hook git names its own folders in these, whatever folder it is called in.
    kept = {name: value for name, value in os.environ.items() if name not in _HOOKED}
    try:
        answer = subprocess.run(
            ["git", *words],  # noqa: S607 - the user's git
            cwd=root,
            env=kept,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Refused(str(error)) from None
    if answer.returncode:
        raise _Refused((answer.stderr.strip().splitlines() or [f"status {answer.returncode}"])[-1])
    return answer.stdout
