"""What an outsourced defense must keep: it computes what the network does in the clear, and no message is lost."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench.api import LABELS, OWNER, OutsourcedDefense
from fl_attack_bench.method import build
from fl_attack_bench.testing import delegation
from fl_attack_bench.testing.delegation import BATCH, CONVOLUTION, DENSE, Played
from fl_attack_bench.testing.finding import Broken, Check, NotApplicable, Subject
from fl_attack_bench.wire import Wire
from fl_attack_bench.worker import reset

_FAR = 0.5  # relative; pieces that stand for a sigmoid are off by a few percent


def parties(subject: Subject) -> str:
    """It names its parties, the owner among them."""
    defense: OutsourcedDefense = subject.make()
    names = list(delegation.play(defense).gathering.parties)
    for name, needed in ((OWNER, True), (LABELS, defense.trains), (defense.model_holder, True)):
        if needed and name not in names:
            raise Broken(f"there is no party {name!r} among {', '.join(names)}")
    return ", ".join(names)


def predictions(subject: Subject) -> str:
    """The owner is told what the network says, up to an error that is reported."""
    return _near(delegation.play(subject.make(), DENSE))


def convolutions(subject: Subject) -> str:
    """The same for a network that begins with a convolution."""
    return _near(delegation.play(subject.make(), CONVOLUTION))


def same_seed(subject: Subject) -> str:
    """With secrets from the seed two runs give the same numbers and send the same bytes."""
    parameters = _seeded(subject)
    names = delegation.play(subject.make()).gathering.names
    found, sent = [], []
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        defense: Any = build(subject.cls, parameters)
        wire = Wire(watched=names)
        found.append(delegation.play(defense, wire=wire).outputs)
        sent.append([message.data for message in wire.view()])
    if not torch.equal(*found) or sent[0] != sent[1]:
        raise Broken("two runs from the same seed differ: draw every random number from endpoint.secrets")
    return f"two runs sent the same {len(sent[0])} messages"


def on_cpu(subject: Subject) -> str:
    """Seconds of computing of a predicted batch, and of a training step."""
    played = delegation.play(subject.make())
    spent = played.gathering.spent
    texts = [f"{1000 * spent['inference', 0].online:.2f} ms a predicted batch of {BATCH}"]
    if played.weights is not None:
        texts.append(f"{1000 * spent['training', delegation.STEPS - 1].online:.2f} ms a training step")
    return ", ".join(texts)


def _near(played: Played) -> str:
    outputs, plain = played.outputs, played.plain
    _whole("predictions", outputs, plain)
    error = _relative(outputs, plain)
    if error > _FAR:
        raise Broken(f"predictions are {error:.2g} off (relative) from the same network in the clear")
    if played.weights is None:
        return f"predictions {error:.1e} off (relative); it does not train"
    for number, (matrix, expected) in enumerate(zip(played.weights, _shapes(played), strict=True)):
        if tuple(matrix.shape) != expected or not bool(matrix.isfinite().all()):
            raise Broken(f"weight {number} that the owner is given is {tuple(matrix.shape)}, not a finite {expected}")
    return f"after {delegation.STEPS} steps predictions are {error:.1e} off (relative)"


def _shapes(played: Played) -> list[tuple[int, ...]]:
    return [shape for planned in played.plan.layers for shape in (planned.matrix, planned.matrix[1:])]


def _whole(what: str, found: object, wanted: Tensor) -> None:
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise Broken(f"{what}: the owner gets {shown} in place of {tuple(wanted.shape)}")
    if not bool(found.isfinite().all()):
        raise Broken(f"{what} are infinite or NaN")


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def _seeded(subject: Subject) -> Mapping[str, Any]:
    """Parameters under which secrets come from the seed."""
    flags = [field.name for field in fields(subject.cls) if isinstance(field.default, bool)]
    for extra in ({}, *({flag: True} for flag in flags)):
        made = build(subject.cls, {**subject.parameters, **extra})
        if isinstance(made, OutsourcedDefense) and made.from_seed:
            return {**subject.parameters, **extra}
    raise NotApplicable("its secrets always come from the operating system (from_seed is False)")


CHECKS = (
    Check("outsourced: parties", parties),
    Check("outsourced: dense network", predictions),
    Check("outsourced: convolution", convolutions),
    Check("outsourced: same seed", same_seed),
    Check("outsourced: CPU", on_cpu),
)
