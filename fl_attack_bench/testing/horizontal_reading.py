"""What a curious server reads of a horizontal defense: it must follow from the bytes that it was sent, and be true."""

import importlib.util
import inspect
import sys
from typing import Any

import torch

from fl_attack_bench.api import SERVER, UPDATE, HorizontalDefense, LocalPlan, Message, Observation
from fl_attack_bench.method import Method, build
from fl_attack_bench.testing.federation import SMALL, play, updates
from fl_attack_bench.testing.finding import Broken, Check, Subject
from fl_attack_bench.wire import client
from fl_attack_bench.worker import reset

_EXACT = 1e-5
_PLAN = LocalPlan(1, 1, 1, 0.1)


def follows(subject: Subject) -> str:
    """A copy of the method that never saw the update reads the same from the same bytes."""
    reset("reading", 1, tf32=False)
    given = updates(SMALL)
    defense = subject.make()
    message = _upload(play(defense, given).wire.view())
    here = defense.read(message.payload(), SMALL)
    _sound(here)
    play(subject.make(), updates(SMALL, "other"))
    strangers = (("after another round", subject.make()), ("by a fresh copy of the file", _fresh(subject)))
    for when, stranger in strangers:
        there = stranger.read(message.payload(), SMALL)
        if not _same(here, there):
            raise Broken(
                f"the same bytes read differently {when}: read must follow from the payload and the parameters alone, "
                "never from what the client had"
            )
    return f"the same from {len(message.data)} bytes, by an instance that never saw the update"


def true_entries(subject: Subject) -> str:
    """Shapes and masks fit, and entries that count as exact are the update's."""
    reset("reading", 1, tf32=False)
    given = updates(SMALL)
    defense = subject.make()
    message = _upload(play(defense, given).wire.view())
    seen = defense.interpret(defense.read(message.payload(), SMALL), SMALL, _PLAN)
    _sound(seen)
    exact = seen.sent & (seen.noise == 0)
    wrong = exact & ((seen.values - given[0]).abs() > _EXACT * (given[0].abs() + 1))
    if bool(wrong.any()):
        raise Broken(
            f"{int(wrong.sum())} of {int(exact.sum())} entries that count as exact are not the update's: in interpret, "
            "set noise to its standard deviation, to infinity where nothing is known, to NaN where it is not stated"
        )
    clear, known = int(seen.sent.sum()), int(exact.sum())
    return f"{clear} of {SMALL.size} entries read in the clear, {known} of them exact"


def _upload(messages: tuple[Message, ...]) -> Message:
    found = [m for m in messages if m.topic == UPDATE and m.receiver == SERVER and m.sender == client(0)]
    if len(found) != 1:
        raise Broken(f"a client sends {len(found)} messages to the server in the step {UPDATE!r}: send one")
    return found[0]


def _sound(seen: Observation) -> None:
    for name in ("values", "sent", "noise"):
        tensor = getattr(seen, name)
        if not isinstance(tensor, torch.Tensor) or tensor.shape != (SMALL.size,):
            shape = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise Broken(f"what is read has {name} of shape {shape} in place of ({SMALL.size},)")
    if seen.sent.dtype != torch.bool:
        raise Broken(f"sent is {seen.sent.dtype}: it must be bool")
    if bool((seen.noise < 0).any()):
        raise Broken("noise is a standard deviation: it must not be negative")


def _same(one: Observation, other: Observation) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("values", "sent", "noise")]
    return all(a.shape == b.shape and torch.allclose(a.float(), b.float(), 0, 0, equal_nan=True) for a, b in pairs)


def _fresh(subject: Subject) -> HorizontalDefense:
    """The method from a second import of its file, with globals of its own."""
    path = inspect.getfile(subject.cls)
    name = f"{subject.cls.__module__}_again"  # of the same package, whose modules it may import
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Broken(f"{path} cannot be imported a second time")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations that are text are looked up there
    spec.loader.exec_module(module)
    cls: type[Method] = getattr(module, subject.cls.__name__)
    found: Any = build(cls, subject.parameters)
    return found  # type: ignore[no-any-return]


CHECKS = (Check("horizontal: reading", follows), Check("horizontal: exact entries", true_entries))
