"""Suites, tasks and cells, and the YAML they are written in.

A suite is a grid: every task is played with every attack, every defense and every seed. A method is written as its
name, or as ``name: {parameter: value}``; a list of values sweeps the parameter. A list of defenses in place of one is a
chain: they act one after the other.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from fl_attack_bench import safe_yaml
from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.schema import Document, parse

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,79}$")]
Value = bool | int | float | str | None
BASELINE = "none"
CHAINED = "+"
MAX_CELLS = 20_000


class MethodSpec(Document):
    """A method with one value for each parameter that the suite sets.

    Args:
        name: as the registry finds it: a name, or a path that ends in ``.py``; of a chain, those of its links.
        parameters: only those that differ from the method's defaults need to stand here.
        links: the defenses of a chain, in the order in which they act; empty for a single method.
    """

    name: str
    parameters: dict[str, Value | list[Value]] = {}
    links: list["MethodSpec"] = []

    @classmethod
    def chain(cls, links: Sequence["MethodSpec"]) -> "MethodSpec":
        """Several defenses as one."""
        return cls(name=CHAINED.join(link.name for link in links), links=list(links))

    @model_validator(mode="after")
    def _sound_chain(self) -> "MethodSpec":
        if self.links and (len(self.links) < 2 or self.parameters or any(link.links for link in self.links)):
            raise ValueError("a chain is two or more single methods, each with its own parameters")
        if self.links and self.name != CHAINED.join(link.name for link in self.links):
            raise ValueError(f"a chain is named after its links, joined by {CHAINED!r}")
        return self

    @property
    def parts(self) -> list["MethodSpec"]:
        """The single methods that it is made of."""
        return self.links or [self]

    @property
    def is_baseline(self) -> bool:
        """Whether, as a defense, it is none: the undefended federation."""
        return self.name == BASELINE and not self.parameters

    @property
    def family(self) -> str:
        """The name without parameters and folders: ``soteria+gradient_compression``."""
        return CHAINED.join(Path(part.name).stem if part.name.endswith(".py") else part.name for part in self.parts)

    @property
    def label(self) -> str:
        """Short and readable: ``gradient_compression[prune=0.9]``."""
        if self.links:
            return CHAINED.join(link.label for link in self.links)
        stem = Path(self.name).stem if self.name.endswith(".py") else self.name
        inside = ",".join(f"{key}={_plain(value)}" for key, value in sorted(self.parameters.items()))
        return f"{stem}[{inside}]" if inside else stem


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


class Published(Document):
    """A figure that a paper gives for a cell of the task, to be shown beside ours.

    Args:
        quantity: ``mse``: mean over victims; ``accuracy`` and ``label_accuracy``: in [0, 1]; ``correlation``: of the
            class-wise representations at a layer.
        value: as published, in our unit.
        source: where in the paper: ``Sun et al. 2021, Table 1``.
        defense: its label, as ``gradient_compression[prune=0.9]``.
        attack: its label; None where the quantity knows no attack.
        layer: of a correlation.
        note: what differs from our set-up.
    """

    quantity: Literal["mse", "accuracy", "label_accuracy", "correlation"]
    value: float
    source: str = Field(max_length=200)
    defense: str = Field(default=BASELINE, max_length=300)
    attack: str | None = Field(default=None, max_length=300)
    layer: str | None = Field(default=None, max_length=200)
    note: str = Field(default="", max_length=500)


class Task(Document):
    """What is learned, and against whom.

    A curious server goes for the victims' data: without ``training`` only round 0 is attacked, without ``victims``
    nothing is. Malicious clients go for the training itself: the task then has a training and no victims, and the
    suite's attacks are active ones.
    """

    name: Name
    scenario: Literal["horizontal"] = "horizontal"
    dataset: Annotated[str, StringConstraints(pattern=r"^(npz:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
    model: Annotated[Model, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)]
    training: Training | None = None
    victims: Victims | None = None
    adversary: Literal["server", "clients"] = Field(
        default="server", description="who attacks: a curious server, or clients that depart from the protocol"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="of the victims' steps; the training's by default, 1 without"
    )
    published: list[Published] = []
    gpu: bool = Field(
        default=False, description="too much for CPU cores: skipped, with the reason, where there is no GPU"
    )

    @property
    def attacked(self) -> bool:
        """Whether attacks are played on it."""
        return self.victims is not None or self.adversary == "clients"

    @model_validator(mode="after")
    def _something_to_do(self) -> "Task":
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


class Limits(Document):
    """What one job of a cell may use before it is stopped and recorded as ``timeout`` or ``out_of_memory``."""

    minutes: float = Field(default=20, gt=0)
    memory_gib: float = Field(default=8, gt=0)


class Gate(Document):
    """When an attack counts on a task: at least ``share`` of the victims below ``mse`` on the undefended baseline."""

    mse: float = Field(default=0.01, gt=0)
    share: float = Field(default=0.5, gt=0, le=1)


class Cell(Document):
    """Task x attack x defense x seed on a hardware profile. ``attack`` is None on tasks where nothing is attacked."""

    suite: Name
    suite_version: int = Field(ge=1)
    task: Task
    attack: MethodSpec | None
    defense: MethodSpec
    seed: int = Field(ge=0)
    hardware: Name

    @property
    def id(self) -> str:
        """Readable, unique within all suites, and a legal file name."""
        # What is left at its default does not count, so that a setting which a later version adds orphans no record.
        axes = self.model_dump(mode="json", exclude_defaults=True, exclude={"task": {"published"}})
        text = json.dumps(axes, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        attack = self.attack.label if self.attack else "utility"
        readable = f"{self.task.name}--{self.defense.label}--{attack}--s{self.seed}"
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", readable)[:120] + f"-{digest}"


def _specs(value: Any) -> Any:
    """Method entries as written in YAML: a name, or one name with parameters, lists of which sweep."""
    if not isinstance(value, list):
        raise ValueError("a list of methods is expected, each a name or `name: {parameter: value}`")
    return [spec for entry in value for spec in _sweep(entry)]


def _sweep(entry: Any) -> Iterator[dict[str, Any]]:
    if isinstance(entry, MethodSpec):
        yield entry.model_dump()
        return
    if isinstance(entry, list):
        if len(entry) < 2:
            raise ValueError(f"{entry!r} is no chain: a chain is two or more single methods")
        for links in itertools.product(*(list(_sweep(link)) for link in entry)):
            yield {"name": CHAINED.join(str(link["name"]) for link in links), "links": list(links)}
        return
    if isinstance(entry, str):
        yield {"name": entry}
        return
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"{entry!r} is neither a name, `name: {{parameter: value}}` nor a list of both, a chain")
    name, parameters = next(iter(entry.items()))
    if parameters is not None and not isinstance(parameters, Mapping):
        raise ValueError(f"the parameters of {name!r} must be a mapping")
    axes = [
        [(k, v) for v in (values if isinstance(values, list) else [values])] for k, values in (parameters or {}).items()
    ]
    for chosen in itertools.product(*axes):
        yield {"name": name, "parameters": dict(chosen)}


Methods = Annotated[list[MethodSpec], BeforeValidator(_specs)]


class Suite(Document):
    """A versioned grid of cells. Changing seeds, data or metrics bumps ``version``."""

    suite: Name
    version: int = Field(ge=1)
    title: str = Field(max_length=200)
    description: str = Field(default="", max_length=4000)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    tasks: list[Task] = Field(min_length=1)
    attacks: Methods = []
    defenses: Methods
    limits: Limits = Limits()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _sound(self) -> "Suite":
        for what, entries in (
            ("seed", [str(seed) for seed in self.seeds]),
            ("task", [task.name for task in self.tasks]),
            ("attack", [spec.label for spec in self.attacks]),
            ("defense", [spec.label for spec in self.defenses]),
        ):
            twice = {entry for entry in entries if entries.count(entry) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]!r} stands twice")
        if any(spec.links for spec in self.attacks):
            raise ValueError("attacks cannot be chained: list them one by one")
        if not self.attacks:
            if any(task.victims for task in self.tasks):
                raise ValueError("a task names victims, but the suite names no attack")
            if any(task.attacked for task in self.tasks):
                raise ValueError("a task names malicious clients as adversary, but the suite names no attack")
        return self

    def cells(self, hardware: str) -> list[Cell]:
        """Every cell, in the order in which they are best played; the undefended baseline is always among them."""
        defenses = list(self.defenses)
        if not any(spec.is_baseline for spec in defenses):
            defenses.insert(0, MethodSpec(name=BASELINE))
        cells = [
            Cell(
                suite=self.suite,
                suite_version=self.version,
                task=task,
                attack=attack,
                defense=defense,
                seed=seed,
                hardware=hardware,
            )
            for task, defense, seed in itertools.product(self.tasks, defenses, self.seeds)
            for attack in (self.attacks if task.attacked else [None])
        ]
        if len(cells) > MAX_CELLS:
            raise UserError(f"suite {self.suite!r} has {len(cells)} cells, more than {MAX_CELLS}: split it")
        return cells


def bundled() -> dict[str, Traversable]:
    """The suites that come with the package, by name: the standard ones and those of the papers."""
    found = {}
    for folder in ("suites", "papers"):
        for entry in files("fl_attack_bench.benchmarks").joinpath(folder).iterdir():
            if entry.name.endswith(".yaml"):
                found[entry.name.removesuffix(".yaml")] = entry
    return found


def load(name_or_path: str) -> Suite:
    """A bundled suite by its name, or one from a YAML file.

    Raises:
        UserError: no such suite, or a file that is not a sound one; the message names the file and the key.
    """
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        return parse(Suite, safe_yaml.load(Path(name_or_path)), name_or_path)
    known = bundled()
    if name_or_path not in known:
        raise UnknownNameError("suite", name_or_path, known)
    entry = known[name_or_path]
    return parse(Suite, safe_yaml.loads(entry.read_text(encoding="utf-8"), str(entry)), str(entry))


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
