"""Tasks in which the parties hold different features of the same samples, and one of them the labels.

Source: Liu et al. 2020, "Backdoor attacks and defenses in feature-partitioned collaborative learning", sections 4 to 7.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fl_attack_bench.schema import Document, Name
from fl_attack_bench.tasks.base import BaseTask

Range = tuple[int, int]
MAX_PARTIES = 64


def _ranges(value: Any) -> Any:
    """``0-13``, ``7`` or a list of both as pairs of the first and the last."""
    entries = value if isinstance(value, list) else [value]
    return [_range(entry) for entry in entries]


def _range(entry: Any) -> Any:
    if isinstance(entry, int) and not isinstance(entry, bool):
        return entry, entry
    if isinstance(entry, list | tuple):  # as it is written down in a record
        entry = "-".join(map(str, entry))
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", str(entry).strip())
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise ValueError(f"{entry!r} is no place: write the first and the last one, as 0-13, or a single one, as 7")
    return int(match[1]), int(match[2] or match[1])


Ranges = Annotated[
    list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]],
    BeforeValidator(_ranges),
    Field(min_length=1, max_length=10_000),
]


RESERVED = frozenset({"active", "all"})  # what the wire calls the party with the labels, and everybody else together
SAME = 1e-6  # values this near are one: they may have been scaled


class Split(Document):
    """Which passive party holds which features; together they hold all, and none is held twice.

    Args:
        by: ``rows`` of the images, or single ``features`` in the order of the flattened sample.
        parties: each one's places, counted from 0: ``0-13``, ``7``, or a list of such.
    """

    by: Literal["rows", "features"]
    parties: dict[Name, Ranges] = Field(min_length=1, max_length=MAX_PARTIES)

    @model_validator(mode="after")
    def _names(self) -> "Split":
        taken = sorted(RESERVED & self.parties.keys())
        if taken:
            raise ValueError(f"a passive party cannot be called {taken[0]!r}: take another name")
        return self


class Bottom(Document):
    """Every passive party's network: its features, dense layers, its embedding.

    Args:
        hidden: units of a hidden layer with ReLU; None for no such layer.
        outputs: entries of the embedding.
        activation: after the last layer.
    """

    hidden: int | None = Field(default=32, ge=1, le=65_536)
    outputs: int = Field(default=32, ge=1, le=65_536)
    activation: Literal["relu", "none"] = "none"


class VerticalTraining(Document):
    """How the parties learn: stochastic gradient descent in mini-batches (Algorithm 1)."""

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(default=64, ge=1, le=10**6)
    learning_rate: float = Field(default=0.01, gt=0)


class Trigger(Document):
    """What marks a sample as poisoned.

    Args:
        pixels: ``[row, column]`` of the marked pixels, on every channel; or
        features: places in the flattened sample.
        value: that the marked places have.
        natural: whether the samples that carry these values of their own accord are the poisoned ones; by default the
            values are stamped on samples drawn at random.
    """

    pixels: list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]] | None = None
    features: list[Annotated[int, Field(ge=0)]] | None = None
    value: float = Field(default=1.0, ge=0, le=1)
    natural: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> "Trigger":
        if (self.pixels is None) == (self.features is None):
            raise ValueError("give one of pixels: [[row, column], ...] and features: [...]")
        if not (self.pixels or self.features):
            raise ValueError("a trigger marks at least one place")
        return self


class Backdoor(Document):
    """What a malicious passive party is after: triggered samples are to be taken for the target class.

    Args:
        target: the class.
        trigger: what marks a sample.
        train: share of the training samples that are stamped; left out for a natural trigger.
        test: share of the test samples of which a stamped copy measures the success; the clean ones stay in the test
            set, and copies of the target class do not count. Left out for a natural trigger.
    """

    target: int = Field(ge=0)
    trigger: Trigger
    train: float = Field(default=0.01, gt=0, le=1)
    test: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _natural(self) -> "Backdoor":
        given = self.model_fields_set & {"train", "test"}
        if self.trigger.natural and given:
            raise ValueError(f"a natural trigger stamps nothing: drop {sorted(given)[0]}")
        return self


class VerticalTask(BaseTask):
    """Passive parties with features, an active party with the labels, and perhaps a malicious one among the passive.

    Args:
        scenario: ``vertical``.
        split: who holds what.
        bottom: the passive parties' networks.
        training: how they learn.
        malicious: the passive party that active attacks and label inference control; without one nothing is attacked.
        backdoor: what active attacks are after; without one they cannot be played.
        victims: how many training samples, the first ones, feature inversion by the active party goes for.
    """

    scenario: Literal["vertical"]
    split: Split
    bottom: Bottom = Bottom()
    training: VerticalTraining
    malicious: Name | None = None
    backdoor: Backdoor | None = None
    victims: int = Field(default=16, ge=1, le=4096)

    @property
    def attacked(self) -> bool:
        """Whether attacks are played on it."""
        return self.malicious is not None

    @property
    def length(self) -> str:
        """``20 epochs``."""
        return f"{self.training.epochs} epochs"

    @property
    def at_stake(self) -> str:
        """Who attacks."""
        return f"malicious party {self.malicious}" if self.malicious else "nobody attacks"

    @property
    def network(self) -> str:
        """The passive parties' networks in a few words: ``2 x (64 relu, 32 relu)``."""
        bottom = self.bottom
        hidden = f"{bottom.hidden} relu, " if bottom.hidden else ""
        last = f"{bottom.outputs} relu" if bottom.activation == "relu" else f"{bottom.outputs}"
        return f"{len(self.split.parties)} x ({hidden}{last})"

    @model_validator(mode="after")
    def _sound(self) -> "VerticalTask":
        if self.malicious is not None and self.malicious not in self.split.parties:
            raise ValueError(f"malicious={self.malicious!r} is none of the parties: {', '.join(self.split.parties)}")
        if self.backdoor is not None and self.malicious is None:
            raise ValueError("a backdoor needs a malicious party: name it")
        return self
