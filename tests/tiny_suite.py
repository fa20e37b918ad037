"""A suite of few and small cells, a defense outside of the package, and the program in a process of its own."""

import subprocess
import sys

MINE = """
from dataclasses import dataclass
from fl_attack_bench.api import Card, HorizontalDefense


@dataclass(frozen=True)
class Mine(HorizontalDefense):
    \"\"\"Does nothing, in a new way.\"\"\"

    card = Card(title="Mine", paper="https://example.org/mine", threat="none", notes="a [red]note[/red]")
    strength: float = 1.0
"""
TINY = {
    "suite": "tiny",
    "version": 1,
    "title": "Tiny",
    "seeds": [0, 1],
    "limits": {"minutes": 2, "memory_gib": 4},
    "tasks": [
        {
            "name": "t",
            "dataset": "digits",
            "model": "logistic",
            "training": {
                "partition": {"kind": "iid", "devices": 2, "per_device": 8},
                "rounds": 1,
                "sampled": 1,
                "learning_rate": 0.1,
            },
        }
    ],
    "defenses": ["none", {"gaussian_noise": {"scale": [0.1, 0.2]}}],
}


def start(folder, *words, wait=False):
    """The program in a process of its own."""
    command = [sys.executable, "-c", "import sys; from fl_attack_bench.cli import main; sys.exit(main())", *words]
    options = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return (
        subprocess.run(command, check=False, timeout=120, **options) if wait else subprocess.Popen(command, **options)
    )
