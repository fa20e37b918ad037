"""Suites and cells, and the YAML they are written in.

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
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from fl_attack_bench import safe_yaml
from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.schema import Document, Name, parse
from fl_attack_bench.tasks import Task
from fl_attack_bench.tasks.base import BASELINE, Value

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


class Limits(Document):
    """What one job of a cell may use before it is stopped and recorded as ``timeout`` or ``out_of_memory``."""

    minutes: float = Field(default=20, gt=0)
    memory_gib: float = Field(default=8, gt=0)


class Gate(Document):
    """When an attack counts on a task: on the undefended baseline it must work.

    Outsourced tasks have no gate: where nothing is defended their data lie in the clear, and every attack counts.

    Args:
        mse: horizontal tasks: an image is reconstructed where its MSE is below.
        share: horizontal tasks: at least this share of the images is reconstructed.
        advantage: vertical tasks: at least this share of what a blind guess leaves over. For a backdoor
            ``(success - floor) / (1 - floor)``, where the floor is the trigger's success without any attack; for label
            inference ``(accuracy - majority) / (1 - majority)``; for feature inversion
            ``1 - MSE / MSE of a blind guess``.
        main_loss: vertical tasks: a backdoor may cost at most this much accuracy of the main task, as a fraction: one
            that spoils the model is noticed.
    """

    mse: float = Field(default=0.01, gt=0)
    share: float = Field(default=0.5, gt=0, le=1)
    advantage: float = Field(default=0.5, gt=0, le=1)
    main_loss: float = Field(default=0.05, ge=0, le=1)


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
