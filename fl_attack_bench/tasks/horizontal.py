"""Tasks in which the parties hold different samples: how the federation learns, and whose data is attacked."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from fl_attack_bench.schema import Document, Name
from fl_attack_bench.tasks.base import BaseTask, Value


class Model(Document):
    """A network of ``fl_attack_bench.models`` and its options."""

    name: Name
    options: dict[str, Value] = {}


class Iid(Document):
    """Training samples dealt at random, the same number to each device."""

    kind: Literal["iid"]
    devices: int = Field(ge=1)
    per_device: int | None = Field(default=None, ge=1, description="samples a device; all that there are by default")


class Shards(Document):
    """Each device holds ``classes`` random classes with ``per_class`` samples of each (McMahan 2017; Soteria 6.1)."""

    kind: Literal["shards"]
    devices: int = Field(ge=1)
    classes: int = Field(ge=1)
    per_class: int = Field(ge=1)


class Dirichlet(Document):
    """Class proportions of each device drawn from a symmetric Dirichlet distribution."""

    kind: Literal["dirichlet"]
    devices: int = Field(ge=1)
    alpha: float = Field(gt=0, description="small: few classes a device; large: near iid")


Partition = Annotated[Iid | Shards | Dirichlet, Field(discriminator="kind")]


class Training(Document):
    """How the federation learns: FedAvg, or FedSGD where every round is one gradient step on all of a client's data."""

    algorithm: Literal["fedavg", "fedsgd"] = "fedavg"
    partition: Partition
    rounds: int = Field(ge=1)
    sampled: int = Field(ge=1, description="devices that take part in a round")
    local_epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(gt=0)
    evaluate_every: int = Field(default=10, ge=1, description="rounds between two points of the accuracy curve")

    @model_validator(mode="after")
    def _enough_devices(self) -> "Training":
        if self.sampled > self.partition.devices:
            raise ValueError(f"sampled={self.sampled} exceeds the partition's {self.partition.devices} devices")
        if self.algorithm == "fedsgd" and self.local_epochs != 1:
            raise ValueError("fedsgd takes one step a round: leave local_epochs at 1")
        return self


class Victims(Document):
    """Whose data the attack goes for: clients that hold a few samples each, named by their ids in the dataset's split.

    They come from the test split by default: clients that join the federation with a fresh state, so that nothing that
    they sent before blurs what they send now. With ``devices`` they are devices of the training's partition instead,
    with all their samples and the training's own local work.
    """

    split: Literal["train", "test"] = "test"
    first: int | None = Field(default=None, ge=1, le=4096)
    ids: list[Annotated[int, Field(ge=0, lt=2**31)]] | None = None
    devices: int | None = Field(default=None, ge=1, le=1024, description="the partition's first devices")
    batch: int = Field(default=1, ge=1, le=1024, description="samples of one victim: consecutive ones of those named")
    local_epochs: int = Field(default=1, ge=1, le=100)
    local_batch: int | None = Field(default=None, ge=1, description="samples of a local step; all by default")
    rounds: int = Field(
        default=1, ge=1, le=64, description="rounds in which they take part: the training's first, and its last"
    )

    @model_validator(mode="after")
    def _one_form(self) -> "Victims":
        if sum(form is not None for form in (self.first, self.ids, self.devices)) != 1:
            raise ValueError("give one of first: N, ids: [...] and devices: N")
        if self.ids is not None and (not self.ids or len(set(self.ids)) != len(self.ids)):
            raise ValueError("ids must be distinct and at least one")
        if self.samples is not None and len(self.samples) % self.batch:
            raise ValueError(f"{len(self.samples)} samples do not make victims of batch={self.batch} each")
        theirs = ("split", "batch", "local_epochs", "local_batch")
        own = [name for name in theirs if getattr(self, name) != type(self).model_fields[name].default]
        if self.devices is not None and own:
            raise ValueError(f"devices bring their own samples and local work: drop {own[0]}")
        if self.local_batch is not None and self.local_batch > self.batch:
            raise ValueError(f"local_batch={self.local_batch} exceeds batch={self.batch}")
        return self

    @property
    def samples(self) -> list[int] | None:
        """The ids, in order; None for devices, whose samples the partition deals."""
        if self.devices is not None:
            return None
        return list(range(self.first)) if self.first is not None else list(self.ids or [])

    @property
    def description(self) -> str:
        """``16 victims``, ``4 victims of 8 samples``, ``10 devices``."""
        if self.samples is None:
            return f"{self.devices} devices"
        count = len(self.samples) // self.batch
        return f"{count} victim{'s'[: count > 1]}" + (f" of {self.batch} samples" if self.batch > 1 else "")


class HorizontalTask(BaseTask):
    """What is learned, and against whom.

    A curious server goes for the victims' data: without ``training`` only round 0 is attacked, without ``victims``
    nothing is. Malicious clients go for the training itself: the task then has a training and no victims, and the
    suite's attacks are active ones.
    """

    scenario: Literal["horizontal"] = "horizontal"
    model: Annotated[Model, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)]
    training: Training | None = None
    victims: Victims | None = None
    adversary: Literal["server", "clients"] = Field(
        default="server", description="who attacks: a curious server, or clients that depart from the protocol"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="of the victims' steps; the training's by default, 1 without"
    )

    @property
    def network(self) -> str:
        """The network's name."""
        return self.model.name

    @property
    def length(self) -> str:
        """``120 rounds``, or ``no training``."""
        return f"{self.training.rounds} rounds" if self.training else "no training"

    @property
    def at_stake(self) -> str:
        """Who is attacked, or who attacks."""
        nobody = "malicious clients" if self.attacked else "no victims"
        return self.victims.description if self.victims else nobody

    @property
    def attacked(self) -> bool:
        """Whether attacks are played on it."""
        return self.victims is not None or self.adversary == "clients"

    @model_validator(mode="after")
    def _something_to_do(self) -> "HorizontalTask":
        if self.adversary == "clients" and self.training is None:
            raise ValueError("adversary: clients needs a training: it is what malicious clients attack")
        if self.adversary == "clients" and self.victims is not None:
            raise ValueError("adversary: clients goes with no victims: these are what a curious server attacks")
        if self.training is None and self.victims is None:
            raise ValueError("a task needs training, victims or both")
        if self.training is None and self.victims is not None:
            for what, asked in (("devices", self.victims.devices is not None), ("rounds", self.victims.rounds > 1)):
                if asked:
                    raise ValueError(f"victims: {what} needs a training")
        if self.training is not None and self.victims is not None and self.victims.rounds > self.training.rounds:
            raise ValueError(f"victims: rounds={self.victims.rounds} exceeds the training's {self.training.rounds}")
        return self
