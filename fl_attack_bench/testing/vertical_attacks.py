"""What attacks on a vertical training must keep: the result's form, their streams alone, the view untouched."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fl_attack_bench import inference
from fl_attack_bench.api import ACTIVE, ActiveView, FeatureParty, Foothold, PassiveView, VerticalDefense
from fl_attack_bench.data import features, trigger
from fl_attack_bench.scenarios import vertical, vertical_observation
from fl_attack_bench.scenarios.vertical import Collaboration, Trained
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.base import BASELINE
from fl_attack_bench.testing import untouched
from fl_attack_bench.testing.collaboration import MALICIOUS, World, world
from fl_attack_bench.testing.finding import Broken, Check, Subject
from fl_attack_bench.wire import Wire
from fl_attack_bench.worker import reset


def backdoor(subject: Subject) -> str:
    """A small training with its party in it plays to the end, twice the same."""
    ends = []
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        here, attack = world(), subject.make()
        collaboration = here.parties(VerticalDefense(), Wire())
        foothold = _foothold(here, collaboration, attack)
        held = {name: own for name, own in vars(foothold).items() if isinstance(own, Tensor)}
        before = untouched.state(held)
        party = attack.corrupt(foothold)
        if not isinstance(party, FeatureParty):
            raise Broken(f"corrupt returns a {type(party).__name__}: return a FeatureParty; derive it from Following")
        collaboration.parties[MALICIOUS] = party
        ends.append(_trained(here, collaboration))
        untouched.unchanged(before, held, "its foothold")
    if (ends[0].losses, ends[0].successes) != (ends[1].losses, ends[1].successes):
        raise Broken("two trainings with the same streams differ: draw from foothold.streams alone")
    if not ends[0].curve:
        raise Broken("predictions before the first epoch are infinite or NaN: mind what predict sends")
    ran_off = "; it ran off" if ends[0].diverged else ""
    return f"accuracy {ends[0].curve[-1][1]:.2f}, backdoor {ends[0].successes[-1][1]:.2f}, twice the same{ran_off}"


def labels(subject: Subject) -> str:
    """One label of every sample, twice the same; the view stays as it is."""
    here, attack = world(), subject.make()
    view, known = _passive(here, attack.known)
    found, seconds = _twice(subject, view, lambda attack, view: attack.infer(view, Streams(0)))
    scored = inference.score_labels(attack, found, here.dataset.y_train, known)
    if not bool(((found >= 0) & (found < here.dataset.classes)).all()):
        raise Broken(f"it infers labels outside 0 to {here.dataset.classes - 1}")
    return f"{scored['accuracy']:.2f} of {scored['samples']} labels, {seconds:.2f} s, twice the same"


def inputs(subject: Subject) -> str:
    """Finite features of the victims, twice the same; the view stays as it is."""
    here, attack = world(), subject.make()
    view, truth = _active(here, attack.known)
    found, seconds = _twice(subject, view, lambda attack, view: attack.reconstruct(view, Streams(0)))
    scored = inference.score_features(attack, found, truth, view.known_features)
    mean = sum(one["mse"] for one in scored) / len(scored)
    return f"MSE {mean:.3f} of {len(scored)} victims, {seconds:.2f} s, twice the same"


def _twice(subject: Subject, view: Any, verb: Callable[[Any, Any], Any]) -> tuple[Tensor, float]:
    before, found, seconds = untouched.state(view), [], 0.0
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        began = time.perf_counter()
        found.append(verb(subject.make(), view))
        seconds = time.perf_counter() - began
        untouched.unchanged(before, view)
    if all(isinstance(one, Tensor) for one in found) and not torch.equal(*found):
        raise Broken("two runs with the same streams differ: draw from streams.generator(...) alone")
    return found[0], seconds


def _trained(here: World, collaboration: Collaboration) -> Trained:
    poisoned, backdoor = here.poisoned, here.task.backdoor
    test = here.aligned(here.dataset.x_test, here.dataset.y_test)
    marked = here.aligned(poisoned.triggered, poisoned.triggered_labels)
    return vertical.train(collaboration, test, marked, backdoor.target if backdoor else 0)


def _foothold(here: World, collaboration: Collaboration, attack: Any) -> Foothold:
    backdoor = here.task.backdoor
    if backdoor is None:
        raise RuntimeError("the small task has a backdoor")
    known = features.known_to_attacker(here.task, here.dataset, here.poisoned, attack.known, Streams(0))
    places = trigger.marked(backdoor.trigger, here.dataset.image_shape)
    return Foothold(
        party=collaboration.honest[MALICIOUS],
        features=here.train.features[MALICIOUS],
        poisoned=here.poisoned.poisoned,
        marked=torch.searchsorted(here.places[MALICIOUS], places),
        value=backdoor.trigger.value,
        target=backdoor.target,
        known=known,
        classes=here.dataset.classes,
        width=here.task.bottom.outputs,
        defense=BASELINE,
        defense_parameters={},
        streams=Streams(0).child("adversary"),
    )


def _passive(here: World, known: int) -> tuple[PassiveView, Tensor]:
    """What the lower party saw of a small training, and whose labels it knows."""
    wire = Wire(watched={MALICIOUS})
    collaboration = here.parties(VerticalDefense(), wire)
    curious = vertical_observation.Curious(collaboration.honest[MALICIOUS])
    collaboration.parties[MALICIOUS] = curious
    _trained(here, collaboration)
    truth = here.dataset.y_train
    picked = trigger.labelled(truth, here.dataset.classes, known, Streams(0).generator("known"))
    view = PassiveView(
        party=MALICIOUS,
        features=here.train.features[MALICIOUS],
        epochs=vertical_observation.epochs(curious, wire, len(truth), collaboration.width),
        bottom=collaboration.honest[MALICIOUS].public(),
        known=picked,
        known_labels=truth[picked],
        classes=here.dataset.classes,
        learning_rate=here.task.training.learning_rate,
        batch_size=here.task.training.batch_size,
        defense=BASELINE,
        defense_parameters={},
    )
    return view, picked


def _active(here: World, known: int) -> tuple[ActiveView, Tensor]:
    """What the party with the labels saw of a small training, and the victims' features."""
    wire = Wire(watched={ACTIVE})
    collaboration = here.parties(VerticalDefense(), wire)
    _trained(here, collaboration)
    flat, victims = here.poisoned.images.flatten(1), torch.arange(here.task.victims)
    known_ids = torch.arange(len(victims), min(len(victims) + known, len(flat)))
    view = ActiveView(
        embeddings=vertical_observation.embeddings(collaboration, wire, len(flat)),
        labels=here.dataset.y_train.clone(),
        victims=victims,
        known=known_ids,
        known_features=flat[known_ids],
        places={name: held.clone() for name, held in here.places.items()},
    )
    return view, flat[victims]


BACKDOOR = (Check("attack: training", backdoor),)
LABELS = (Check("attack: labels", labels),)
FEATURES = (Check("attack: features", inputs),)
