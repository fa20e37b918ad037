"""How the training samples are dealt to devices."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks import horizontal

Proportions = npt.NDArray[np.float64]


def deal(partition: horizontal.Partition, labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Deal sample indices to devices.

    ``iid`` and ``dirichlet`` give no sample to two devices. ``shards`` does so only where a class has too few samples,
    after all of the class were dealt; :func:`reused` counts them. No device ever holds a sample twice.

    Args:
        partition: of a suite's ``training``.
        labels: shape ``(N,)``, int64, of the training samples; floating point where the targets are numbers.
        generator: the only source of randomness.

    Returns:
        One int64 tensor of indices into ``labels`` for each device, none empty, in no particular order.

    Raises:
        UserError: there are too few samples, or the partition deals by classes and there are none; names the
            partition's values and the dataset's.
    """
    if isinstance(partition, horizontal.Iid):
        return _iid(partition, labels, generator)
    if labels.is_floating_point():
        raise UserError(f"partition {partition.kind} deals by classes, and the targets are numbers: take kind iid")
    if isinstance(partition, horizontal.Shards):
        return _shards(partition, labels, generator)
    return _dirichlet(partition, labels, generator)


def reused(parts: Sequence[Tensor]) -> int:
    """How many samples more than one device holds."""
    return int((torch.bincount(torch.cat(list(parts))) > 1).sum())


def _iid(partition: horizontal.Iid, labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    """A random order, cut into equal pieces; what is left over stays with nobody."""
    samples = len(labels)
    each = partition.per_device or samples // partition.devices
    if each < 1 or each * partition.devices > samples:
        wanted = f"per_device={partition.per_device}" if partition.per_device else "at least one sample each"
        raise UserError(
            f"partition iid: devices={partition.devices} with {wanted} need more than the {samples} training samples: "
            "lower one of them"
        )
    order = torch.randperm(samples, generator=generator)
    return list(order[: each * partition.devices].view(partition.devices, each).unbind())


def _shards(partition: horizontal.Shards, labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Random distinct classes for each device, the same number of samples of each.

    Source: the pathological non-iid setting of McMahan et al. 2017, section 3, with a fixed number of samples a class
    as in Sun et al. 2021 (Soteria), section 6.1.
    """
    members = [torch.nonzero(labels == label).flatten() for label in sorted(set(labels.tolist()))]
    if partition.classes > len(members):
        raise UserError(f"partition shards: classes={partition.classes}, but the training samples have {len(members)}")
    for mine in members:
        if partition.per_class > len(mine):
            raise UserError(
                f"partition shards: per_class={partition.per_class}, but class {int(labels[mine[0]])} has {len(mine)} "
                "training samples: lower per_class"
            )
    pools = [_shuffled(mine, generator) for mine in members]
    parts = []
    for _ in range(partition.devices):
        hand = []
        for chosen in torch.randperm(len(members), generator=generator)[: partition.classes].tolist():
            taken, pools[chosen] = _take(pools[chosen], members[chosen], partition.per_class, generator)
            hand.append(taken)
        parts.append(torch.cat(hand))
    return parts


def _take(pool: Tensor, members: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Take ``count`` distinct members, those still in the pool first; an empty pool is filled again with all members.

    So the numbers of times that two samples of a class were taken differ by one at most.
    """
    if len(pool) >= count:
        return pool[:count], pool[count:]
    again = _shuffled(members, generator)
    others = again[~torch.isin(again, pool)]
    missing = count - len(pool)
    return torch.cat([pool, others[:missing]]), torch.cat([others[missing:], pool])


def _dirichlet(partition: horizontal.Dirichlet, labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Each class is split over the devices in proportions drawn from ``Dirichlet(alpha, ..., alpha)``.

    A device that would stay empty gets one sample of the device that holds the most.

    Source: Yurochkin et al. 2019; Li et al. 2022 (NIID-Bench), who draw again instead until nobody is empty.
    """
    devices = partition.devices
    if devices > len(labels):
        raise UserError(f"partition dirichlet: devices={devices}, but there are {len(labels)} training samples")
    # torch draws no Dirichlet numbers from a generator that is passed in; numpy's is seeded from ours.
    numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    hands: list[list[Tensor]] = [[] for _ in range(devices)]
    for label in sorted(set(labels.tolist())):
        mine = _shuffled(torch.nonzero(labels == label).flatten(), generator)
        share = _proportions(numbers, partition.alpha, devices)
        cuts = (np.cumsum(share)[:-1].clip(0, 1) * len(mine)).round().astype(np.int64)
        for hand, piece in zip(hands, torch.tensor_split(mine, cuts.tolist()), strict=True):
            hand.append(piece)
    parts = [torch.cat(hand) for hand in hands]
    for poor in range(devices):
        if not len(parts[poor]):
            rich = max(range(devices), key=lambda device: len(parts[device]))
            parts[poor], parts[rich] = parts[rich][:1].clone(), parts[rich][1:]
    return parts


def _proportions(numbers: np.random.Generator, alpha: float, devices: int) -> Proportions:
    share: Proportions = numbers.dirichlet(np.full(devices, alpha))
    if np.isfinite(share).all():
        return share
    # In the limit of an alpha too small or large for floating point, one device has all, or all have the same.
    if alpha > 1:
        return np.full(devices, 1 / devices)
    share = np.zeros(devices)
    share[numbers.integers(devices)] = 1
    return share


def _shuffled(values: Tensor, generator: torch.Generator) -> Tensor:
    return values[torch.randperm(len(values), generator=generator)]
