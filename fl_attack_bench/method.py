"""What attacks and defenses have in common: a card, parameters that are checked when the object is made, a name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fl_attack_bench.errors import UnknownNameError, UserError


@dataclass(frozen=True)
class Card:
    """What a reader must know of a method before comparing it.

    Args:
        title: the method's name in the literature.
        paper: where it was published, as an https address.
        threat: the adversary that a defense stands against, or that an attack is.
        assumes: what an attack's adversary knows beyond its view, or what a defense needs in order to work.
        notes: where this implementation and the paper or its code differ, and other things worth knowing.
    """

    title: str
    paper: str
    threat: str
    assumes: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Method:
    """Base of all attacks and defenses: a frozen dataclass whose fields are its parameters.

    A field's annotation says what is legal: ``prune: Annotated[float, Ge(0), Lt(1)] = 0.9``. Every field has a
    default. Values are checked when the object is made, by hand or from a suite alike.

    Raises:
        UserError: a value that its annotation does not admit.
    """

    card: ClassVar[Card]

    def __post_init__(self) -> None:
        cls: Any = type(self)  # hashable, whatever the frozen dataclass says of its instances
        for name, adapter in parameter_adapters(cls).items():
            value = getattr(self, name)
            try:
                checked = adapter.validate_python(value)
            except ValidationError as error:
                why = error.errors()[0]["msg"]
                raise UserError(f"{cls.__name__}: {name}={value!r}: {why}") from None
            object.__setattr__(self, name, checked)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by name, as a suite would write them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@cache
def parameter_adapters(cls: Any) -> Mapping[str, TypeAdapter[Any]]:
    """A validator for each parameter of a method's class.

    Strict, so that ``"3"`` is no number and ``1`` no flag; infinity and NaN are no numbers either.
    """
    hints = get_type_hints(cls, include_extras=True)
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
    return {f.name: TypeAdapter(hints[f.name], config=strict) for f in fields(cls)}


def build(cls: type[Method], parameters: Mapping[str, Any], where: str = "") -> Method:
    """Make a method from named parameters.

    Raises:
        UserError: an unknown parameter (the nearest legal one is suggested), or an illegal value.
    """
    legal = [f.name for f in fields(cls)]
    for name in parameters:
        if name not in legal:
            raise UnknownNameError(f"parameter of {cls.__name__}", name, legal, where)
    try:
        return cls(**parameters)
    except UserError as error:
        raise UserError(f"{where}: {error}" if where else str(error)) from None
