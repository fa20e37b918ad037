"""A method's parameters with their legal values, defaults and meaning, as its class states them."""

import inspect
import re
from dataclasses import fields
from typing import Any

from fl_attack_bench.method import Method, parameter_adapters
from fl_attack_bench.notation import value_written

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"boolean": "true or false", "integer": "integer", "number": "number", "string": "text", "null": "null"}


def described(cls: type[Method]) -> list[tuple[str, str, str, str]]:
    """One row for each parameter: name, legal values, default, meaning."""
    meanings = _meanings(cls)
    kind: Any = cls  # hashable, whatever the frozen dataclass says of its instances
    adapters = parameter_adapters(kind)
    found = []
    for field in fields(cls):
        schema = adapters[field.name].json_schema()
        found.append(
            (field.name, legal(schema), f"default {value_written(field.default)}", meanings.get(field.name, ""))
        )
    return found


def legal(schema: dict[str, Any]) -> str:
    """The values that a JSON schema admits, in words."""
    if "anyOf" in schema:
        return " or ".join(legal(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(value_written(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {legal(schema.get('items', {}))}"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([_TYPES.get(str(schema.get("type")), "any value"), " and ".join(bounds)]).strip()


def _meanings(cls: type[Method]) -> dict[str, str]:
    """What the ``Args`` of the class and of its bases say of each parameter."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("\nArgs:\n")[2]
        name = ""
        for text in section.splitlines():
            entry = re.match(r" {4}(\w+): (.*)", text)
            if entry:
                name, found[entry[1]] = entry[1], entry[2]
            elif name and text.startswith(" " * 8):
                found[name] += f" {text.strip()}"
            else:
                name = ""
    return found
