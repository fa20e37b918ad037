"""What all methods share: a card that is filled in, and parameters with defaults, bounds and a meaning."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any

from fl_attack_bench.errors import UserError
from fl_attack_bench.method import Card, build, parameter_adapters
from fl_attack_bench.testing.finding import Broken, Check, NotApplicable, Subject

_UNBOUNDED = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_HUGE = 10**12
_OURS = "fl_attack_bench."
_NEAR = 0.8  # similarity, as difflib counts it; upload and uplaod have 0.83


class _Foreign:
    """A value that no parameter admits."""

    def __repr__(self) -> str:
        return "an object of a foreign class"


def title(subject: Subject) -> str:
    """On the card, as far as there is one."""
    card = getattr(subject.cls, "card", None)
    return card.title if isinstance(card, Card) and isinstance(card.title, str) else subject.cls.__name__


def card(subject: Subject) -> str:
    """The card says what the method is, where it was published, and against whom."""
    found = subject.cls.card
    if not isinstance(found, Card):
        raise Broken(f"card is a {type(found).__name__}: write card = Card(title=..., paper=..., threat=...)")
    for name in ("title", "paper", "threat"):
        value = getattr(found, name)
        if not isinstance(value, str) or not value.strip():
            raise Broken(f"the card's {name} is empty: fill it in")
    if not found.paper.startswith("https://") or "." not in found.paper.removeprefix("https://"):
        raise Broken(f"the card's paper={found.paper!r} is no address: write https://...")
    return found.paper


def parameters(subject: Subject) -> str:
    """Every parameter has a default, legal values and a meaning; illegal values are refused by name."""
    cls: Any = subject.cls
    own = fields(cls)
    if "__dataclass_params__" not in vars(cls):
        raise Broken(f"{cls.__name__} is no dataclass of its own: write @dataclass(frozen=True) above it")
    for field in own:
        if field.default is MISSING and field.default_factory is MISSING:
            raise Broken(f"{field.name} has no default: write {field.name}: ... = ...")
        if not any(f" {field.name}: " in (base.__doc__ or "") for base in cls.__mro__):
            raise Broken(f"the class's docstring does not say what {field.name} is: add it under Args")
    _typed(subject)
    subject.make()
    adapters = parameter_adapters(cls)
    tried = 0
    for field in own:
        schema = _schema(adapters[field.name])
        _bounded(subject, field.name, schema)
        for value in illegal(schema):
            _refused(subject, field.name, value)
            tried += 1
    if not own:
        raise NotApplicable("it has no parameters")
    return f"{', '.join(field.name for field in own)}; {tried} illegal values refused by name"


def _typed(subject: Subject) -> None:
    """A field without a type is none for Python: nobody could set it, and suites could not sweep it."""
    known = _inherited(subject.cls)
    for name, value in vars(subject.cls).items():
        annotated = name in inspect.get_annotations(subject.cls)
        if annotated or name in known or name.startswith("_") or type(value) not in (bool, int, float, str):
            continue
        raise Broken(
            f"{name} = {value!r} has no type, so that it is no parameter: write "
            f"{name}: Annotated[{type(value).__name__}, ...] = {value!r}, or _{name} for a constant"
        )


def verbs(subject: Subject) -> str:
    """What the class defines in place of a verb is called as the verb is, and no verb's name is misspelt."""
    known, own = _inherited(subject.cls), []
    for name, found in vars(subject.cls).items():
        if name.startswith("_") or not inspect.isfunction(found):
            continue
        if name not in known:
            meant = get_close_matches(name, known, n=1, cutoff=_NEAR)
            if meant:
                raise Broken(f"nobody calls {name}: did you mean {meant[0]}? A function of your own is named _{name}")
            continue
        _callable(name, found, known[name])
        own.append(name)
    return ", ".join(own) or "all by default"


def _inherited(cls: type) -> dict[str, Any]:
    """What the program's own base classes define, by public name."""
    bases = [base for base in cls.__mro__[1:] if base.__module__.startswith(_OURS)]
    return {name: value for base in reversed(bases) for name, value in vars(base).items() if not name.startswith("_")}


def _callable(name: str, own: Any, verb: Any) -> None:
    if isinstance(verb, property):
        raise Broken(f"{name} is read and not called: write @property above it")
    if not inspect.isfunction(verb):
        return
    wanted = inspect.signature(verb).parameters.values()
    given = [one.name for one in wanted if one.kind is one.POSITIONAL_OR_KEYWORD]
    keywords = {one.name: None for one in wanted if one.kind is one.KEYWORD_ONLY}
    try:
        inspect.signature(own).bind(*given, **keywords)
    except TypeError as why:
        raise Broken(
            f"{name} is called otherwise ({why}): write def {name}({', '.join([*given, *keywords])})"
        ) from None


def _schema(adapter: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = adapter.json_schema()
    except Exception:  # a type of the author's own has none
        return {}
    return found


def _bounded(subject: Subject, name: str, schema: dict[str, Any]) -> None:
    """A number that may be anything is refused: every formula has values that make no sense."""
    for part in schema.get("anyOf", [schema]):
        if part.get("type") not in ("number", "integer") or "enum" in part or part.keys() & set(_UNBOUNDED):
            continue
        whole = part["type"] == "integer"
        extremes = [value if whole else float(value) for value in (-_HUGE, _HUGE)]
        if any(_says_no(subject, {**base, name: value}, name) for base in _settings(subject) for value in extremes):
            continue
        raise Broken(f"{name} admits every number: say what is legal, as in {name}: Annotated[float, Ge(0)]")


def _settings(subject: Subject) -> Iterator[dict[str, Any]]:
    """The parameters as they are, and with each flag and each choice set in turn: some count under one choice only."""
    yield dict(subject.parameters)
    cls: Any = subject.cls
    for name, adapter in parameter_adapters(cls).items():
        schema = _schema(adapter)
        choices = [False, True] if schema.get("type") == "boolean" else schema.get("enum", [])
        yield from ({**subject.parameters, name: choice} for choice in choices)


def _says_no(subject: Subject, parameters: dict[str, Any], name: str) -> bool:
    """Whether they are refused by this parameter's name."""
    try:
        build(subject.cls, parameters)
    except UserError as error:
        return name in str(error)
    return False


def illegal(schema: dict[str, Any]) -> Iterator[Any]:
    """Values that a parameter's schema does not admit: just outside the bounds, not finite, of a foreign class."""
    yield _Foreign()
    parts = schema.get("anyOf", [schema])
    numbers = [part for part in parts if part.get("type") in ("number", "integer")]
    if numbers:
        yield math.nan
        yield math.inf
    for part in numbers if len(numbers) == 1 else []:
        step = 1 if part["type"] == "integer" else 1e-3
        if "minimum" in part:
            yield part["minimum"] - step
        if "exclusiveMinimum" in part:
            yield part["exclusiveMinimum"]
        if "maximum" in part:
            yield part["maximum"] + step
        if "exclusiveMaximum" in part:
            yield part["exclusiveMaximum"]
    if len(parts) == 1 and ("enum" in schema or "const" in schema):
        yield "no such value"


def _refused(subject: Subject, name: str, value: Any) -> None:
    try:
        build(subject.cls, {**subject.parameters, name: value})
    except UserError as error:
        if name not in str(error):
            raise Broken(f"{name}={value!r} is refused without naming the parameter: {error}") from None
        return
    raise Broken(f"{name}={value!r} is accepted: leave __post_init__ to the base class, or call it from your own")


CHECKS = (Check("method: card", card), Check("method: parameters", parameters), Check("method: verbs", verbs))
