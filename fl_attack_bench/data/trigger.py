"""A backdoor's trigger on real data: who carries it, who is stamped with it, and which samples an adversary knows.

Source: Liu et al. 2020, "Backdoor attacks and defenses in feature-partitioned collaborative learning", section 7.1.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks.vertical import SAME, Backdoor, Trigger


@dataclass(frozen=True, eq=False)
class Poisoned:
    """A dataset with a backdoor's trigger in it. All labels stay true.

    Args:
        images: shape ``(N, C, H, W)``: the training images, the poisoned ones stamped; the dataset's own tensor where
            the trigger is natural.
        poisoned: shape ``(P,)``, int64, rising: ids of the training samples that carry the trigger, of any class.
        triggered: shape ``(M, C, H, W)``: test images that carry the trigger and are not of the target class.
        triggered_labels: shape ``(M,)``, int64: their true labels.
        test_ids: shape ``(M,)``, int64, rising: which test samples they are, or are stamped copies of.
    """

    images: Tensor
    poisoned: Tensor
    triggered: Tensor
    triggered_labels: Tensor
    test_ids: Tensor


def marked(trigger: Trigger, image_shape: tuple[int, int, int]) -> Tensor:
    """The places of the flattened sample ``(C * H * W,)`` that the trigger marks.

    Returns:
        shape ``(m,)``, int64, rising, each place once; a pixel stands for its places on all channels.

    Raises:
        UserError: a pixel or a place is not in the sample.
    """
    channels, height, width = image_shape
    if trigger.pixels is None:
        features = sorted(set(trigger.features or []))
        last = prod(image_shape) - 1
        if features[-1] > last:
            raise UserError(f"trigger: feature {features[-1]} does not exist; the last one is {last}, counted from 0")
        return torch.tensor(features, dtype=torch.int64)
    for row, column in trigger.pixels:
        if row >= height or column >= width:
            raise UserError(
                f"trigger: pixel [{row}, {column}] lies outside of the image; the last one is "
                f"[{height - 1}, {width - 1}] ([row, column], counted from 0)"
            )
    pixels = torch.tensor(sorted({row * width + column for row, column in trigger.pixels}), dtype=torch.int64)
    return (torch.arange(channels)[:, None] * (height * width) + pixels).flatten()


def stamped(images: Tensor, trigger: Trigger) -> Tensor:
    """A copy of ``images``, shape ``(N, C, H, W)``, in which all marked places have the trigger's value.

    Raises:
        UserError: a pixel or a place is not in the sample.
    """
    channels, height, width = images.shape[1:]
    copies = images.clone(memory_format=torch.contiguous_format)
    copies.flatten(1)[:, marked(trigger, (channels, height, width)).to(copies.device)] = trigger.value
    return copies


def carriers(images: Tensor, trigger: Trigger) -> Tensor:
    """Ids of the samples whose marked places all have the trigger's value by themselves, up to ``1e-6``.

    Returns:
        shape ``(n,)``, int64, rising.

    Raises:
        UserError: a pixel or a place is not in the sample.
    """
    channels, height, width = images.shape[1:]
    values = images.flatten(1)[:, marked(trigger, (channels, height, width)).to(images.device)]
    return torch.nonzero(((values.double() - trigger.value).abs() <= SAME).all(1)).flatten()


def poison(dataset: Dataset, backdoor: Backdoor, held: Tensor, rng: torch.Generator) -> Poisoned:
    """Put a backdoor's trigger into a dataset, or find it there.

    A stamped trigger goes on ``round(train * N)`` training samples and on copies of ``round(test * N_test)`` test
    samples, drawn without replacement over all classes as in section 7.1 (600 of 60,000 and 100 of 10,000 for MNIST).
    With the same seed a greater share adds samples to those of a smaller one.

    Args:
        dataset: with class labels.
        backdoor: the trigger, the target class and the shares.
        held: shape ``(p,)``, int64: the places of the flattened sample that the malicious party holds.
        rng: draws the samples; a natural trigger draws nothing.

    Raises:
        UserError: the dataset has no class labels or not the target class; the trigger marks a place that does not
            exist or that the malicious party does not hold; no training sample or no test sample of another class
            than the target carries the trigger.
    """
    _check_target(dataset, backdoor.target)
    trigger = backdoor.trigger
    _check_held(trigger, dataset.image_shape, held)
    if trigger.natural:
        poisoned, chosen = carriers(dataset.x_train, trigger), carriers(dataset.x_test, trigger)
        for ids, part in ((poisoned, "training"), (chosen, "test")):
            if not len(ids):
                raise UserError(
                    f"trigger: none of the {part} samples carries the value {trigger.value:g} at all marked places; "
                    "mark other ones, or leave out natural to have them stamped"
                )
    else:
        poisoned = _drawn(len(dataset.x_train), backdoor.train, "train", rng)
        chosen = _drawn(len(dataset.x_test), backdoor.test, "test", rng)
    others = chosen[dataset.y_test[chosen] != backdoor.target]
    if not len(others):
        raise UserError(
            f"backdoor: all {len(chosen)} test samples that carry the trigger are of the target class "
            f"{backdoor.target}, so nothing measures its success; choose another target or "
            + ("another trigger" if trigger.natural else "a greater test share")
        )
    images, triggered = dataset.x_train, dataset.x_test[others]
    if not trigger.natural:
        images = images.clone()
        images[poisoned] = stamped(images[poisoned], trigger)
        triggered = stamped(triggered, trigger)
    return Poisoned(images, poisoned, triggered, dataset.y_test[others], others)


def clean(labels: Tensor, poisoned: Tensor, target: int, count: int, rng: torch.Generator) -> Tensor:
    """Ids of training samples of the target class that do not carry the trigger, drawn at random.

    Args:
        labels: shape ``(N,)``, int64, of the training samples.
        poisoned: shape ``(P,)``, int64: ids of those that carry the trigger.
        target: the class.
        count: how many.
        rng: draws them.

    Returns:
        shape ``(count,)``, int64, rising.

    Raises:
        UserError: there are fewer.
    """
    members = torch.nonzero(labels == target).flatten()
    members = members[~torch.isin(members, poisoned)]
    if count > len(members):
        raise UserError(
            f"backdoor: the target class {target} has {len(members)} clean training samples, and {count} were asked "
            "for; lower known, or the share of poisoned samples, or choose another target"
        )
    return _some(members, count, rng)


def labelled(labels: Tensor, classes: int, per_class: int, rng: torch.Generator) -> Tensor:
    """Ids of ``per_class`` training samples of each class, drawn at random.

    Args:
        labels: shape ``(N,)``, int64 in ``[0, classes)``.
        classes: number of labels.
        per_class: how many of each, from 0.
        rng: draws them.

    Returns:
        shape ``(classes * per_class,)``, int64, rising.

    Raises:
        UserError: a class has fewer.
    """
    parts = []
    for label in range(classes):
        members = torch.nonzero(labels == label).flatten()
        if per_class > len(members):
            raise UserError(
                f"class {label} has {len(members)} training samples, and the labels of {per_class} of each class are "
                "to be known; lower known"
            )
        parts.append(_some(members, per_class, rng))
    return torch.cat(parts).sort().values


def _check_target(dataset: Dataset, target: int) -> None:
    if dataset.y_train.is_floating_point():
        raise UserError(f"backdoor: the targets of {dataset.name} are numbers; a backdoor is for class labels")
    if target >= dataset.classes:
        raise UserError(
            f"backdoor: target {target} is no class of {dataset.name}; its classes run from 0 to {dataset.classes - 1}"
        )


def _check_held(trigger: Trigger, image_shape: tuple[int, int, int], held: Tensor) -> None:
    places = marked(trigger, image_shape)
    foreign = places[~torch.isin(places, held.to(places.device))]
    if not len(foreign):
        return
    place, width = int(foreign[0]), image_shape[2]
    row, column = place // width % image_shape[1], place % width
    name = f"feature {place}" if trigger.pixels is None else f"pixel [{row}, {column}]"
    raise UserError(
        f"trigger: the malicious party does not hold {name}, so it cannot know what is marked; mark places of its own, "
        "or give it this one"
    )


def _drawn(samples: int, share: float, part: str, rng: torch.Generator) -> Tensor:
    # Every sample is put in order whatever the share, so that the share of one part does not change the other's draw.
    order = torch.randperm(samples, generator=rng)
    count = round(share * samples)
    if not count:
        raise UserError(
            f"backdoor: {part}={share:g} of {samples:,} samples is less than one, so none carries the trigger; "
            f"raise {part} to {1 / samples:.2g} or more"
        )
    return order[:count].sort().values


def _some(members: Tensor, count: int, rng: torch.Generator) -> Tensor:
    return members[torch.randperm(len(members), generator=rng)[:count].to(members.device)].sort().values
