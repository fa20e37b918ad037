"""Parameters of methods: their values are checked when the object is made, and what is wrong is named."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Lt, MinLen
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench import registry
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import Card, Method, build


@dataclass(frozen=True)
class Sample(Method):
    """A method with a parameter of each form."""

    card = Card(title="Sample", paper="https://example.org", threat="none")
    share: Annotated[float, Ge(0), Lt(1)] = 0.5
    rate: float = 1.0
    steps: Annotated[int, Ge(1)] = 3
    deep: bool = False
    how: Literal["layer", "model"] = "layer"
    clip: Annotated[float, Gt(0)] | None = None
    widths: Annotated[list[int], MinLen(1)] | None = None


def test_parameters_are_fields_with_defaults():
    assert Sample().parameters == {
        "share": 0.5, "rate": 1.0, "steps": 3, "deep": False, "how": "layer", "clip": None, "widths": None,
    }  # fmt: skip
    made = build(Sample, {"share": 0, "clip": 2, "widths": [1, 2], "how": "model"})
    assert made.parameters["share"] == 0.0
    assert isinstance(made.parameters["share"], float)
    assert isinstance(made.parameters["clip"], float)
    assert made == Sample(share=0.0, clip=2.0, widths=[1, 2], how="model")


@pytest.mark.parametrize(
    "parameters",
    [
        {"share": 1.0},
        {"share": -0.1},
        {"share": "0.5"},
        {"share": None},
        {"share": True},
        {"share": [0.5]},
        {"steps": 0},
        {"steps": 2.0},
        {"steps": True},
        {"steps": "3"},
        {"deep": 1},
        {"deep": "true"},
        {"how": "both"},
        {"how": 3},
        {"clip": 0.0},
        {"widths": []},
        {"widths": [1.5]},
        *({name: value} for name in ("share", "rate", "clip") for value in (float("nan"), float("inf"), -float("inf"))),
    ],
)
def test_illegal_values_are_refused(parameters):
    (name,) = parameters
    with pytest.raises(UserError, match=rf"^suite 'x': Sample: {name}=.*: ") as caught:
        build(Sample, parameters, "suite 'x'")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=rf"^Sample: {name}="):
        Sample(**parameters)


def test_an_unknown_parameter_brings_the_nearest_one():
    with pytest.raises(UserError, match=r"^suite 'x': unknown parameter of Sample 'shere'; did you mean 'share'\?"):
        build(Sample, {"shere": 0.1}, "suite 'x'")
    with pytest.raises(UserError, match=r"unknown parameter of Sample '__class__'; legal: clip, deep, how, rate"):
        build(Sample, {"__class__": 1})


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_a_bounded_number_is_within_its_bounds_or_refused(value):
    try:
        share = Sample(share=value).share
    except UserError:
        assert not 0 <= value < 1
    else:
        assert 0 <= share < 1


def test_objects_are_frozen():
    with pytest.raises(AttributeError):
        Sample().share = 0.1


@pytest.mark.parametrize("kind", ["attack", "defense"])
def test_every_method_is_made_without_arguments_and_again_from_its_parameters(kind):
    for name in registry.names(kind):
        cls = registry.find(kind, name).cls
        made = build(cls, {})
        assert build(cls, made.parameters) == made
        for parameter, value in made.parameters.items():
            if isinstance(value, float):
                with pytest.raises(UserError):
                    build(cls, {parameter: float("nan")})
