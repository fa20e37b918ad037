"""A method on one line, as the command line takes it: ``name[parameter=value,...]``, a chain joined by ``+``.

Numbers, ``true``, ``false`` and ``null`` mean what they mean in a suite's YAML, ``[a,b]`` is a list, anything else is
text, in double quotes where it holds a comma, a bracket or what would be read as one of the others.
"""

import json
import re
from typing import Any

from fl_attack_bench.errors import UserError
from fl_attack_bench.suite import CHAINED, MethodSpec
from fl_attack_bench.tasks.base import Value

_WORDS: dict[str, Value] = {"null": None, "true": True, "false": False}
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SETTING = re.compile(rf'\s*(\w+)\s*=\s*(\[(?:{_QUOTED}|[^\]"])*\]|{_QUOTED}|[^,=\[\]"]+)\s*(?:,(?!$)|$)')
_ITEM = re.compile(rf'\s*({_QUOTED}|[^,=\[\]"]+)\s*(?:,(?!$)|$)')
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_BARE = re.compile(r"[\w./:+-]+")
_PIECE = re.compile(rf'\[(?:{_QUOTED}|[^\]"\[]|\[(?:{_QUOTED}|[^\]"])*\])*\]|[^\[+]+|.', re.DOTALL)
_WHOLE = re.compile(r"\w+|.*(\]|\.py)", re.DOTALL)


def written(spec: MethodSpec) -> str:
    """A method on one line; a path stays a path."""
    if spec.links:
        return CHAINED.join(map(written, spec.links))
    inside = ",".join(f"{key}={value_written(value)}" for key, value in sorted(spec.parameters.items()))
    return f"{spec.name}[{inside}]" if inside else spec.name


def parse(text: str) -> MethodSpec:
    """The method that a line names; ``parse(written(spec))`` is ``spec``.

    Raises:
        UserError: the line is not of this form.
    """
    links = _links(text)
    return MethodSpec.chain([_single(link) for link in links]) if len(links) > 1 else _single(text)


def _links(text: str) -> list[str]:
    """A chain's links: split at each ``+`` behind a name, a closing bracket or ``.py``, but not inside brackets."""
    links = [""]
    for piece in _PIECE.findall(text):
        if piece == CHAINED and _WHOLE.fullmatch(links[-1]):
            links.append("")
        else:
            links[-1] += piece
    return links if all(links) else [text]


def _single(text: str) -> MethodSpec:
    if text.endswith(".py") or (text and not re.search(r"[\[\]]", text)):
        return MethodSpec(name=text)
    for bracket in re.finditer(r"\[", text if text.endswith("]") else ""):
        name = text[: bracket.start()]  # a path may hold brackets of its own
        if name.endswith(".py") or (name and not re.search(r"[\[\]]", name)):
            parameters = _parameters(text[bracket.end() : -1], text)
            if parameters:
                return MethodSpec(name=name, parameters=parameters)
    raise _malformed(text)


def _parameters(inside: str, text: str) -> dict[str, Value | list[Value]] | None:
    """The parameters between the brackets, or None where it is not that."""
    found: dict[str, Value | list[Value]] = {}
    place = 0
    while place < len(inside):
        setting = _SETTING.match(inside, place)
        if setting is None:
            return None
        key, value = setting[1], setting[2].strip()
        if key in found:
            raise UserError(f"{text}: parameter {key!r} stands twice")
        found[key] = _list(value[1:-1], text) if value.startswith("[") else _scalar(value, text)
        place = setting.end()
    return found


def _list(inside: str, text: str) -> list[Value]:
    found: list[Value] = []
    place = 0
    while place < len(inside):
        item = _ITEM.match(inside, place)
        if item is None:
            raise _malformed(text)
        found.append(_scalar(item[1].strip(), text))
        place = item.end()
    return found


def _scalar(value: str, text: str) -> Value:
    if value in _WORDS:
        return _WORDS[value]
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            raise _malformed(text) from None
    if _INTEGER.fullmatch(value):
        return int(value)
    if _FLOAT.fullmatch(value):
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise UserError(f"{text}: {value} is too large")
        return number
    return value


def value_written(value: Any) -> str:
    """A parameter's value as ``written`` writes it."""
    if isinstance(value, list):
        return "[" + ",".join(map(value_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        bare = _BARE.fullmatch(value) and _scalar(value, value) is value
        return value if bare else json.dumps(value)
    return repr(value)


def _malformed(text: str) -> UserError:
    return UserError(f"{text!r} is no method: write NAME, NAME[parameter=value,...] or a path that ends in .py")
