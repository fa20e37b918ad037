"""Typed documents: pydantic models that refuse unknown keys, and errors that a person can act on."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fl_attack_bench.errors import UnknownNameError, UserError


class Document(BaseModel):
    """Base of everything that is read from a file: frozen, strict about keys, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


D = TypeVar("D", bound=Document)


def parse(cls: type[D], data: Any, where: str) -> D:
    """Build a document from plain data.

    Raises:
        UserError: names the file, the key, the value and, for an unknown key, the nearest legal one.
    """
    if not isinstance(data, Mapping):
        raise UserError(
            f"{where}: expected a mapping with the keys of a {cls.__name__.lower()}, got {type(data).__name__}"
        )
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise _explain(cls, error, where) from None


def _explain(cls: type[BaseModel], error: ValidationError, where: str) -> UserError:
    errors = error.errors()
    # A misspelt required key is both missing and unknown: only the latter tells where the slip is.
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    place = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return UnknownNameError("key", str(first["loc"][-1]), _legal_keys(cls, first["loc"][:-1]), f"{where}: {place}")
    got = "" if first["type"] == "missing" else f" (got {_short(first['input'])})"
    return UserError(f"{where}: {place}: {first['msg']}{got}")


def _legal_keys(cls: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that are legal where the path ends, found by walking down the models' annotations."""
    models = [cls]
    for step in path:
        if isinstance(step, int):
            continue
        found = [
            m for model in models if step in model.model_fields for m in _models(model.model_fields[step].annotation)
        ]
        models = found or models
    return [name for model in models for name in model.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
