"""Where a record comes from: the command that makes it again, revisions, versions, and methods as they were played."""

import platform
import shlex
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from fl_attack_bench import engine, notation, registry
from fl_attack_bench.method import build
from fl_attack_bench.record import MethodUsed
from fl_attack_bench.suite import Cell, MethodSpec

_PACKAGES = ("torch", "torchvision", "numpy", "dp-accounting")
_GIT_SECONDS = 10


def command(suite: str, cell: Cell, *, data_dir: Path | None = None, hardware: str | None = None) -> str:
    """The shell line that plays one cell.

    Args:
        suite: as the user named it: a bundled suite's name or a path.
        cell: the cell.
        data_dir: where datasets were looked for, if it was given.
        hardware: the profile's name, if not the cell's.
    """
    words = ["flab", "run", suite, "--task", cell.task.name]
    if cell.attack is not None:
        words += ["--attack", notation.written(cell.attack)]
    words += ["--defense", notation.written(cell.defense), "--seed", str(cell.seed)]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    words += ["--hardware", hardware or cell.hardware]
    return shlex.join(words)


def describe(kind: registry.Kind, spec: MethodSpec) -> MethodUsed:
    """A method as it will be played, defaults included. Imports the method: for workers only.

    Raises:
        UserError: no such method, or parameters that it does not take.
    """
    if spec.links:
        return _joined(spec, [describe(kind, link) for link in spec.links], registry.fingerprint(kind, spec))
    where = f"{kind} {spec.label}"
    found = registry.find(kind, spec.name)
    parameters: dict[str, Any] = build(found.cls, spec.parameters, where).parameters
    return MethodUsed(
        name=found.name,
        title=found.cls.card.title,
        paper=found.cls.card.paper,
        threat=found.cls.card.threat,
        assumes=found.cls.card.assumes,
        parameters=to_jsonable_python(parameters, fallback=repr, inf_nan_mode="strings"),
        source_sha256=found.source_sha256,
        origin=found.origin,
    )


def outlined(kind: registry.Kind, spec: MethodSpec) -> MethodUsed:
    """What can be said of a method without importing it, for one that could not be imported."""
    if spec.links:
        return _joined(spec, [outlined(kind, link) for link in spec.links], registry.fingerprint(kind, spec))
    return MethodUsed(
        name=spec.family,
        title=spec.family,
        paper="",
        parameters=dict(spec.parameters),
        source_sha256=registry.source_sha256(kind, spec.name),
        origin=registry.origin(kind, spec.name),
    )


def _joined(spec: MethodSpec, links: Sequence[MethodUsed], source_sha256: str) -> MethodUsed:
    """A chain as one method: its parameters are those of each link, by place and name."""
    origins = {link.origin for link in links}
    return MethodUsed(
        name=spec.family,
        title=", then ".join(link.title for link in links),
        paper=links[0].paper,
        threat="; ".join(dict.fromkeys(link.threat for link in links if link.threat)),
        assumes="; ".join(dict.fromkeys(link.assumes for link in links if link.assumes)),
        parameters={f"{place}. {link.name}": link.parameters for place, link in enumerate(links, start=1)},
        source_sha256=source_sha256,
        origin="path" if "path" in origins else "entry-point" if "entry-point" in origins else "built-in",
    )


@cache
def revision() -> tuple[str | None, bool | None]:
    """Git revision of the source checkout that holds the package and whether it was dirty; None when installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD").strip()
        # new files do not count: a run writes its own, and a method's file is hashed anyway
        return head, bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "fl-attack-bench": engine.version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def packages() -> dict[str, str]:
    """Versions of what the numbers depend on, read from metadata: nothing is imported."""
    return dict(_versions())


def _git(root: Path, *words: str) -> str:
    answer = subprocess.run(
        ["git", "--no-optional-locks", *words],  # noqa: S607 - the user's git
        cwd=root,
        capture_output=True,
        text=True,
        timeout=_GIT_SECONDS,
        check=True,
    )
    return answer.stdout
