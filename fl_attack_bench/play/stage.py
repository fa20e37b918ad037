"""What every job of a cell begins with: its data, its methods, its random streams."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_attack_bench import registry
from fl_attack_bench.data import datasets
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import Job, Settings
from fl_attack_bench.method import build
from fl_attack_bench.seeds import Streams, derive
from fl_attack_bench.suite import MethodSpec


class Stage:
    """A job with its dataset and its seeds.

    Args:
        job: what is to be done.
        settings: where data lies, and the device.

    Raises:
        SkipCell: the task is too much for a CPU.
        UserError: there is no such dataset.
    """

    def __init__(self, job: Job, settings: Settings) -> None:
        self.job, self.cell = job, job.cell
        self.settings = settings
        self.device = torch.device(settings.device)
        if self.cell.task.gpu and self.device.type == "cpu":
            raise SkipCell(f"task {self.cell.task.name!r} is marked gpu: it would take many hours on a CPU")
        self.dataset = datasets.load(self.cell.task.dataset, settings.data_dir, settings.download)
        self.root = Streams(derive(self.cell.suite, self.cell.suite_version, self.cell.task.name))
        self.seed = self.root.child("seed", self.cell.seed)

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Images and labels of ``train`` or ``test``, on the device."""
        return getattr(self.dataset, f"x_{name}").to(self.device), getattr(self.dataset, f"y_{name}").to(self.device)

    def made(self, kind: registry.Kind) -> Any:
        """The cell's attack or defense, made from its parameters; a list of links for a chain.

        Raises:
            UserError: no such method, or its file was edited meanwhile.
        """
        spec = self.cell.defense if kind == "defense" else self.cell.attack
        if spec is None:
            raise UserError(f"cell {self.cell.id} names no {kind}")
        return [_make(kind, link) for link in spec.links] if spec.links else _make(kind, spec)

    def random(self, *axes: str) -> Streams:
        """The attack's randomness. Not of the defense: every defense meets the same starting points."""
        attack = self.cell.attack
        return self.seed.child(*axes, attack.model_dump_json() if attack else "")


def _make(kind: registry.Kind, spec: MethodSpec) -> Any:
    found = registry.find(kind, spec.name)
    if found.source_sha256 != registry.source_sha256(kind, spec.name):
        raise UserError(f"{kind} {spec.name!r} was edited while the suite ran; run it again")
    return build(found.cls, spec.parameters, f"{kind} {found.name}")


def pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """Images in [0, 1] as the bytes that a picture shows."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
