"""What every task has, whatever its scenario."""

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fl_attack_bench.schema import Document, Name

Value = bool | int | float | str | None
Dataset = Annotated[str, StringConstraints(pattern=r"^(npz:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
BASELINE = "none"


class Published(Document):
    """A figure that a paper gives for a cell of the task, to be shown beside ours.

    Args:
        quantity: ``mse``: mean over victims; ``accuracy`` and ``label_accuracy``: in [0, 1]; ``correlation``: of the
            class-wise representations at a layer; ``backdoor``: the success of a backdoor, in [0, 1]. An accuracy
            without an attack is that of honest training, with one that of the main task under it. Of an outsourced
            task also ``seconds`` and ``bytes`` of one ``stage``: computing and the network together, all parties.
        value: as published, in our unit.
        source: where in the paper: ``Sun et al. 2021, Table 1``.
        defense: its label, as ``gradient_compression[prune=0.9]``.
        attack: its label; None where the quantity knows no attack.
        layer: of a correlation.
        stage: of seconds and bytes: one training step or one predicted batch.
        link: of seconds: the network's name in the hardware profile.
        note: what differs from our set-up.
    """

    quantity: Literal["mse", "accuracy", "label_accuracy", "correlation", "backdoor", "seconds", "bytes"]
    value: float
    source: str = Field(max_length=200)
    defense: str = Field(default=BASELINE, max_length=300)
    attack: str | None = Field(default=None, max_length=300)
    layer: str | None = Field(default=None, max_length=200)
    stage: Literal["training", "inference"] | None = None
    link: str | None = Field(default=None, max_length=40)
    note: str = Field(default="", max_length=500)


class BaseTask(Document):
    """What is learned, and what a paper said about it.

    Args:
        name: unique within its suite.
        dataset: a name of the catalogue, or ``npz:NAME``.
        published: figures of the paper, to be shown beside ours.
        gpu: whether it is too much for CPU cores.
    """

    name: Name
    dataset: Dataset
    published: list[Published] = []
    gpu: bool = Field(
        default=False, description="too much for CPU cores: skipped, with the reason, where there is no GPU"
    )

    @property
    @abstractmethod
    def network(self) -> str:
        """What is trained, in a few words."""

    @property
    @abstractmethod
    def length(self) -> str:
        """How long the training is, with its unit."""

    @property
    @abstractmethod
    def at_stake(self) -> str:
        """Who attacks, or is attacked."""

    @property
    @abstractmethod
    def attacked(self) -> bool:
        """Whether attacks are played on it."""
