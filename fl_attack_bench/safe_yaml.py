"""YAML from strangers: plain scalars, lists and mappings, bounded in size and depth; no tags, anchors or duplicates."""

from pathlib import Path
from typing import Any

import yaml

from fl_attack_bench.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 24


class _StrictLoader(yaml.SafeLoader):
    """Refuses what plain data never needs."""


def _no_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise yaml.constructor.ConstructorError(None, None, "keys are plain scalars", key_node.start_mark)
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _no_duplicates)


def load(path: Path) -> Any:
    """The plain data in a YAML file.

    Raises:
        UserError: the file is missing, larger than 1 MB, nested deeper than 24 levels, not UTF-8, not YAML, or holds
            tags, anchors or aliases.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES} bytes; split it")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    return loads(text, str(path))


def loads(text: str, where: str) -> Any:
    """The plain data in YAML text; ``where`` names it in errors."""
    try:
        _refuse_events(text, where)
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader with fewer liberties
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{where}:{mark.line + 1}" if mark else where
        raise UserError(f"{line}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def _refuse_events(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = f"{where}:{event.start_mark.line + 1}" if event.start_mark else where
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{line}: anchors and aliases are not allowed; write the value out")
        tag = getattr(event, "tag", None)
        if tag:
            raise UserError(f"{line}: tag {tag!r} is not allowed; write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UserError(f"{line}: nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
