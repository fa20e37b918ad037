"""Typed documents: pydantic models that refuse unknown keys, and errors that a person can act on."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from fl_attack_bench.errors import UnknownNameError, UserError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,79}$")]


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
        raise _explain(cls, error, where, data) from None


def _explain(cls: type[BaseModel], error: ValidationError, where: str, data: Any) -> UserError:
    errors = error.errors()
    # A misspelt required key is both missing and unknown: only the latter tells where the slip is.
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    place = ".".join(str(step) for step in _written(first["loc"], data))
    if first["type"] == "extra_forbidden":
        return UnknownNameError("key", str(first["loc"][-1]), _legal_keys(cls, first["loc"][:-1]), f"{where}: {place}")
    got = "" if first["type"] == "missing" else f" (got {_short(first['input'])})"
    return UserError(f"{where}: {place}: {first['msg']}{got}")


def _written(path: tuple[int | str, ...], data: Any) -> list[int | str]:
    """The path as the file has it: without the steps that only say which of several kinds a mapping was taken for."""
    kept: list[int | str] = []
    for number, step in enumerate(path, start=1):
        known = step in data if isinstance(data, Mapping) else True
        if known or number == len(path):
            kept.append(step)
            inside = isinstance(data, Mapping) or (isinstance(data, list) and isinstance(step, int))
            data = data[step] if known and inside else None
    return kept


def _legal_keys(cls: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that are legal where the path ends, found by walking down the models' annotations."""
    models = [cls]
    for step in path:
        if isinstance(step, int):
            continue
        found = [
            m for model in models if step in model.model_fields for m in _models(model.model_fields[step].annotation)
        ]
        models = found or [model for model in models if _is_tagged(model, step)] or models
    return [name for model in models for name in model.model_fields]


def _is_tagged(model: type[BaseModel], tag: str) -> bool:
    """Whether a field of the model has this one legal value: that is how kinds are told apart."""
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
