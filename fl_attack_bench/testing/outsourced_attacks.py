"""What attacks on an outsourced protocol must keep: the result's form, their streams alone, the view untouched."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench import inference, registry
from fl_attack_bench.api import OutsourcedDefense, OutsourcedView
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.method import build
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.base import BASELINE
from fl_attack_bench.testing import delegation, untouched
from fl_attack_bench.testing.delegation import BATCH, CONVOLUTION, DENSE
from fl_attack_bench.testing.finding import Broken, Check, NotApplicable, Subject
from fl_attack_bench.wire import Wire
from fl_attack_bench.worker import reset

VICTIMS = 8
_PREDICTED = 64
_PUBLIC = 400


def reconstructs(subject: Subject) -> str:
    """Finite features of the victims, twice the same; the view stays as it is."""
    reasons: list[str] = []
    for name, defense in _protocols():
        for layers in (CONVOLUTION, DENSE):
            try:
                view, truth = _watched(subject.make(), name, defense, layers)
                said = _twice(subject, view, truth)
            except SkipCell as why:
                reasons.append(str(why))
                continue
            return f"{said} in the view of {view.party} under {defense.card.title!r}"
    raise NotApplicable(f"it plays no protocol that is installed: {reasons[0] if reasons else 'there is none'}")


def _twice(subject: Subject, view: OutsourcedView, truth: Tensor) -> str:
    before, found = untouched.state(view), []
    began = time.perf_counter()
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        found.append(subject.make().reconstruct(view, Streams(0)))
        untouched.unchanged(before, view)
    seconds = (time.perf_counter() - began) / 2
    flat = [one.flatten(1) if isinstance(one, Tensor) and one.shape == truth.shape else one for one in found]
    scored = inference.score_features(subject.make(), flat[0], truth.flatten(1), view.auxiliary.flatten(1))
    if not torch.equal(*flat):
        raise Broken("two runs with the same streams differ: draw from streams.generator(...) alone")
    mean = sum(one["mse"] for one in scored) / len(scored)
    return f"MSE {mean:.3f} of {len(scored)} victims, {seconds:.2f} s, twice the same,"


def _protocols() -> Iterator[tuple[str, OutsourcedDefense]]:
    for name in sorted(registry.names("defense"), key=lambda name: name != BASELINE):
        try:
            cls = registry.find("defense", name).cls
        except UserError:  # a plugin that does not import is not this attack's fault
            continue
        if issubclass(cls, OutsourcedDefense):
            made: Any = build(cls, {})
            yield name, made


def _watched(attack: Any, name: str, defense: OutsourcedDefense, layers: Any) -> tuple[OutsourcedView, Tensor]:
    """What the attack's party sees of a small task, and the victims' features."""
    wire = Wire(watched={attack.adversary})
    order = torch.randperm(_PREDICTED, generator=Streams(0).generator("order"))
    predicted = order.split(BATCH)
    training = attack.moment == "training"
    if training and not defense.trains:
        raise SkipCell(f"{defense.card.title} does not train")
    if attack.adversary not in delegation.names(defense, layers):
        raise SkipCell(f"{defense.card.title} has no party {attack.adversary!r}")
    played = delegation.play(defense, layers, wire=wire, predicted=predicted)
    images, labels = delegation.images()
    flat = images.reshape(-1, *played.plan.inputs)
    topics = ("setup", "training") if training else ("setup", "inference")
    known = torch.arange(VICTIMS, VICTIMS + min(attack.known, (delegation.STEPS - 1) * BATCH))
    public = slice(_PUBLIC, _PUBLIC + attack.auxiliary)
    view = OutsourcedView(
        party=attack.adversary,
        messages=tuple(message for message in wire.view() if message.topic.split()[0] in topics),
        plan=played.plan,
        batches=tuple(delegation.batches() if training else predicted),
        victims=torch.arange(VICTIMS),
        known=known,
        known_features=flat[known].clone(),
        auxiliary=flat[public].clone(),
        auxiliary_labels=labels[public].clone(),
        weights=played.weights if attack.knows_model else None,
        defense=name,
        defense_parameters=defense.parameters,
    )
    return view, flat[:VICTIMS]


CHECKS = (Check("attack: reconstruction", reconstructs),)
