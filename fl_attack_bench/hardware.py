"""Hardware profiles, what this machine is, how fast it is, and a clock that waits for the accelerator.

Seconds are compared within one profile only. Nothing here imports torch until something is measured: the machine is
read from the operating system and from the accelerator's own tool.
"""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import AfterValidator, Field

from fl_attack_bench import safe_yaml
from fl_attack_bench.conditions import Figure, Range
from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.link import Link
from fl_attack_bench.schema import Document, Name, parse

AUTO = "auto"
_GPU_QUERY_SECONDS = 10


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles), Field(max_length=200)]


class Match(Document):
    """Regular expressions, searched in the names that the machine gives; an absent one matches everything."""

    cpu: Pattern | None = None
    gpu: Pattern | None = None


class Machine(Document):
    """What the program runs on."""

    cpu: str
    cores: int
    memory_gib: float
    gpus: list[str]
    system: str

    def described(self) -> dict[str, str]:
        """As it stands in a record's provenance."""
        return {
            "cpu": self.cpu,
            "cores": str(self.cores),
            "memory": f"{self.memory_gib:.1f} GiB",
            "accelerator": ", ".join(self.gpus) or "none",
            "system": self.system,
        }


class Profile(Document):
    """A class of machines whose seconds may be compared.

    Args:
        name: how suites, records and the command line call it.
        title: for people.
        match: which machines belong to it; one with ``device: cuda`` needs an accelerator besides.
        device: where models run.
        threads: for torch's operations in each worker; part of the profile, as it changes rounding and seconds.
        tf32: whether products may round to TF32; off, so that numbers compare across accelerators.
        links: the networks that the cost model reports.
        calibration: what the figures of :func:`calibrate` may be on such a machine, as far as that can be said of all
            of them; a record outside is marked.
    """

    name: Name
    title: str = Field(max_length=200)
    match: Match = Match()
    device: Literal["cpu", "cuda"]
    threads: int = Field(ge=1, le=1024)
    tf32: bool = False
    links: list[Link] = Field(min_length=1)
    calibration: dict[Figure, Range] = {}

    def mismatch(self, machine: Machine) -> str:
        """Why a machine does not belong to this profile; empty where it does."""
        if self.match.cpu is not None and not re.search(self.match.cpu, machine.cpu):
            return f"the processor is {machine.cpu!r}, not {self.match.cpu!r}"
        if self.device == "cuda" and not machine.gpus:
            return "no accelerator was found"
        if self.match.gpu is not None and not any(re.search(self.match.gpu, gpu) for gpu in machine.gpus):
            return f"the accelerator is {', '.join(machine.gpus)!r}, not {self.match.gpu!r}"
        return ""

    @property
    def specificity(self) -> tuple[bool, int]:
        """Sorts accelerators before processors, and the more particular profile before the generic one."""
        return (self.device == "cuda", sum(term is not None for term in (self.match.cpu, self.match.gpu)))


def bundled() -> dict[str, Traversable]:
    """The profiles that come with the package, by name."""
    folder = files("fl_attack_bench.benchmarks").joinpath("hardware")
    return {e.name.removesuffix(".yaml"): e for e in folder.iterdir() if e.name.endswith(".yaml")}


def load(name_or_path: str) -> Profile:
    """A bundled profile by its name, or one from a YAML file.

    Raises:
        UserError: no such profile, or a file that is not a sound one; the message names the file and the key.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return parse(Profile, safe_yaml.load(Path(name_or_path)), name_or_path)
    known = bundled()
    if name_or_path not in known:
        raise UnknownNameError("hardware profile", name_or_path, [*known, AUTO])
    entry = known[name_or_path]
    return parse(Profile, safe_yaml.loads(entry.read_text(encoding="utf-8"), str(entry)), str(entry))


def detect() -> Machine:
    """This machine, without importing torch."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpus=_gpus(),
        system=platform.platform(),
    )


def choose(name: str, machine: Machine, *, force: bool = False) -> tuple[Profile, bool]:
    """The profile to play on, and whether the machine matches it.

    Args:
        name: ``auto`` for the most particular profile that matches, or a profile's name or file.
        machine: what ``detect`` found.
        force: go on although the named profile does not match; its records are marked.

    Raises:
        UserError: no such profile, or one that does not match.
    """
    if name == AUTO:
        matching = [p for p in map(load, sorted(bundled())) if not p.mismatch(machine)]
        return max(matching, key=lambda profile: profile.specificity), True
    profile = load(name)
    why = profile.mismatch(machine)
    if why and not force:
        raise UserError(
            f"hardware profile {profile.name!r} does not match this machine: {why}; "
            "use --hardware auto, or --force-hardware to go on with marked records"
        )
    return profile, not why


def clock(device: str) -> Callable[[], float]:
    """A clock in seconds that first waits until the device has finished what it was given."""
    if device == "cpu":
        return time.perf_counter
    import torch

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


def calibrate(profile: Profile) -> dict[str, float]:
    """How fast this machine is now, in about a second: figures to judge a record's seconds by.

    Returns:
        Giga floating-point operations a second of a matrix product and of a convolution, and gigabytes a second of a
        copy; the best of a few repetitions, as load only ever slows down.

    Raises:
        UserError: the profile wants an accelerator that torch does not see.
    """
    import torch

    if profile.device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"hardware profile {profile.name!r}: torch sees no CUDA device; try --hardware generic-cpu")
    # On a processor the convolution's output is small, as it is allocated anew each time: beyond some 100 KB the figure
    # is that of the allocator, and halves when the same process is asked a second time.
    size, samples, channels, side = (4096, 32, 64, 128) if profile.device == "cuda" else (512, 4, 32, 16)
    matrix = torch.ones(size, size, device=profile.device)
    images = torch.ones(samples, channels, side, side, device=profile.device)
    kernel = torch.ones(channels, channels, 3, 3, device=profile.device)
    block = torch.ones(2**24, device=profile.device)
    target = torch.zeros_like(block)
    read = clock(profile.device)
    with torch.no_grad():
        product = _best(read, lambda: matrix @ matrix)
        convolution = _best(read, lambda: torch.nn.functional.conv2d(images, kernel, padding=1))
        copy = _best(read, lambda: target.copy_(block))
    return {
        "matrix_product_gflops": round(2 * size**3 / product / 1e9, 2),
        "convolution_gflops": round(2 * images.numel() * channels * 9 / convolution / 1e9, 2),
        "memory_copy_gb_per_second": round(2 * block.numel() * 4 / copy / 1e9, 2),
    }


def _best(read: Callable[[], float], action: Callable[[], object], budget: float = 0.3) -> float:
    action()
    best, begun = float("inf"), read()
    while True:
        before = read()
        action()
        after = read()
        best = min(best, after - before)
        if after - begun > budget:
            return best


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine() or "unknown"


def _gpus() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    try:
        answer = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_GPU_QUERY_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
