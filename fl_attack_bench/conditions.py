"""How the machine was while a run was timed: whether it was what its profile claims, and whether it was busy."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fl_attack_bench.schema import Document

Figure = Literal["matrix_product_gflops", "convolution_gflops", "memory_copy_gb_per_second"]
# Of one program's seconds: two jobs on one idle virtual machine differ by up to 26%.
MOST_SLOWER = 0.25
# Of the processor time of the cores that the run may use. One foreign process that computes all the time is over it on
# up to four cores; an idle desktop stays far below.
MOST_OTHERS = 0.2


class Range(Document):
    """What a calibration figure of a machine of some profile may be; a bound that is absent says nothing."""

    at_least: float | None = Field(default=None, gt=0)
    at_most: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _says_something(self) -> "Range":
        if self.at_least is None and self.at_most is None:
            raise ValueError("state at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least >= self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is not below at_most {self.at_most:g}")
        return self


class Mark(Document):
    """Something that qualifies a record's seconds.

    Args:
        kind: a calibration figure is ``out of range``, the machine became ``slower``, or it was ``busy`` with others.
        reason: in words, with the figures.
    """

    kind: Literal["out of range", "slower", "busy"]
    reason: Annotated[str, Field(max_length=500)]


class Conditions(Document):
    """The machine during the timed part of a run.

    Args:
        after: calibration figures at its end; empty where nothing was timed.
        others: share of the processor time, of the cores that the run may use, that was spent on anything but the run,
            in [0, 1]; None where the time was too short to tell.
        marks: what qualifies the seconds; empty where nothing does.
    """

    after: dict[str, float] = {}
    others: float | None = Field(default=None, ge=0, le=1)
    marks: list[Mark] = Field(default=[], max_length=20)


def judge(
    ranges: Mapping[Figure, Range],
    before: Mapping[str, float],
    after: Mapping[str, float],
    others: float | None,
    profile: str,
) -> Conditions:
    """What the measurements say against the machine.

    Args:
        ranges: those that the hardware profile states.
        before: calibration figures before the timed part.
        after: those after it.
        others: as in :class:`Conditions`.
        profile: the profile's name, for the reasons.
    """
    marks = []
    for name, stated in ranges.items():
        for figures, moment in ((before, "before"), (after, "after")):
            if (said := _outside(stated, figures.get(name))) is not None:
                marks.append(Mark(kind="out of range", reason=f"{name} {moment} the timed part {said} of {profile}"))
                break  # one mark a figure
    for figure in before.keys() & after.keys():
        lost = 1 - after[figure] / before[figure] if before[figure] > 0 else 0.0
        if lost > MOST_SLOWER:
            change = f"fell by {lost:.0%} during the timed part, from {before[figure]:.4g} to {after[figure]:.4g}"
            marks.append(Mark(kind="slower", reason=f"{figure} {change}"))
    if others is not None and others > MOST_OTHERS:
        marks.append(Mark(kind="busy", reason=f"other programs took {others:.0%} of the processor time meanwhile"))
    return Conditions(after=dict(after), others=others, marks=sorted(marks, key=lambda mark: (mark.kind, mark.reason)))


def _outside(stated: Range, value: float | None) -> str | None:
    if value is None:
        return None
    if stated.at_least is not None and value < stated.at_least:
        return f"was {value:.4g}, below the {stated.at_least:g}"
    if stated.at_most is not None and value > stated.at_most:
        return f"was {value:.4g}, above the {stated.at_most:g}"
    return None
