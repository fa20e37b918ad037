"""Which engine made a number: its version, and a hash of the code that numbers come from.

The hash keeps results apart that a changed checkout made under one version number. What only schedules, stores, logs or
shows is left out: editing a page must not make anyone play a suite again.
"""

import hashlib
from functools import cache
from pathlib import Path

from fl_attack_bench import __version__

ROOMS = ("api", "crypto", "data", "inversion", "models", "play", "representation", "scenarios", "sharing", "tasks")
MODULES = (
    "accountant",
    "aggregation",
    "chain",
    "codec",
    "flat_model",
    "hardware",
    "inference",
    "jobs",
    "link",
    "method",
    "metrics",
    "reconstruction",
    "secure_aggregation",
    "seeds",
    "suite",
    "update",
    "wire",
    "worker",
)


@cache
def version() -> str:
    """``0.1.0+engine.`` and the first 12 hexadecimal digits of the sha256 over the files, names included."""
    package = Path(__file__).parent
    paths = [path for room in ROOMS for path in (package / room).rglob("*.py")]
    paths += [package / f"{name}.py" for name in MODULES]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{__version__}+engine.{digest.hexdigest()[:12]}"
