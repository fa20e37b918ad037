"""What the view of one party of a sharing protocol says, as float64.

Only what reached the party is used, and what it drew itself from seeds that it was given.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import COMPUTE, OWNER, OutsourcedView
from fl_attack_bench.codec import Dense
from fl_attack_bench.sharing.arithmetic import Arithmetic, arithmetic
from fl_attack_bench.sharing.session import SEED
from fl_attack_bench.sharing.value import Common
from fl_attack_bench.wire import Message

FEATURES = "features"
SETUP = "setup"
_PRODUCTS = "z/"


@dataclass(frozen=True)
class Revealed:
    """Values that the party reconstructed.

    Args:
        topic: ``training`` or ``inference``.
        round: the training step or predicted batch.
        layer: whose pre-activations ``z = x W + b`` they are.
        permuted: whether they came in a random order.
        values: permuted: shape ``(n,)``, n = B times the layer's outputs; else ``(B, *outputs)``.
    """

    topic: str
    round: int
    layer: int
    permuted: bool
    values: Tensor


@dataclass(frozen=True)
class Opened:
    """Masked features.

    Args:
        topic: ``setup``, ``training`` or ``inference``.
        round: the training step or predicted batch.
        rows: ids of the samples, shape ``(B,)``: of the training set, or of the predicted set for ``inference``.
        values: ``x - m``, shape ``(B, *inputs)``, m being the part of the mask that this party does not know; in the
            ring the signed integer over ``2^f``.
    """

    topic: str
    round: int
    rows: Tensor
    values: Tensor


def numbers(view: OutsourcedView) -> Arithmetic | None:
    """How the protocol holds numbers; None for one that does not share."""
    parameters = view.defense_parameters
    name = parameters.get("arithmetic", "ring" if "fraction_bits" in parameters else None)
    if name is None:
        return None
    return arithmetic(name, parameters.get("fraction_bits", 0), parameters.get("mask_std", 1.0))


def revealed(view: OutsourcedView) -> tuple[Revealed, ...]:
    """The pre-activations that the party reconstructed, in order; none where it gets none."""
    held = numbers(view)
    if held is None or view.party in COMPUTE:
        return ()
    shares: defaultdict[tuple[str, int, str], list[Tensor]] = defaultdict(list)
    for message in view.messages:
        for name, tensor in _dense(message):
            if message.sender in COMPUTE and name.startswith(_PRODUCTS):
                shares[message.topic, message.round, name].append(tensor)
    found = []
    for (topic, number, name), (first, second) in shares.items():
        values = held.decode(first + second, 2 * held.fraction_bits, name)
        found.append(Revealed(topic, number, int(name.removeprefix(_PRODUCTS)), values.ndim == 1, values))
    return tuple(found)


def opened_features(view: OutsourcedView) -> tuple[Opened, ...]:
    """What the other compute party opened of the features, with this one's share put back; none to other parties."""
    held = numbers(view)
    if held is None or view.party not in COMPUTE:
        return ()
    shares = _shares(view, held)
    found = []
    for message in view.messages:
        for name, tensor in _dense(message):
            if message.sender in COMPUTE and name == FEATURES:
                rows = _rows(view, message)
                own = shares[message.topic, message.round] if message.topic == "inference" else shares[SETUP, 0][rows]
                values = _signed(held, tensor.reshape(own.shape) + own)
                found.append(Opened(message.topic, message.round, rows, values))
    return tuple(found)


def own_share(view: OutsourcedView) -> tuple[Tensor, Tensor] | None:
    """A compute party's share of the features; None to other parties.

    Returns:
        The samples' ids and ``(N, *inputs)``: of the training set where the view is of the training, else of all
        predicted batches, one after the other.
    """
    held = numbers(view)
    if held is None or view.party not in COMPUTE:
        return None
    shares = _shares(view, held)
    predicted = [number for topic, number in shares if topic == "inference"]
    if not predicted:
        return torch.arange(view.plan.samples), _signed(held, shares[SETUP, 0])
    rows = torch.cat([view.batches[number] for number in predicted])
    return rows, _signed(held, torch.cat([shares["inference", number] for number in predicted]))


def clear_features(view: OutsourcedView) -> tuple[Tensor, Tensor] | None:
    """Ids and features that arrived in the clear; None where none did."""
    if numbers(view) is not None:
        return None
    rows, found = [], []
    for message in view.messages:
        for name, tensor in _dense(message):
            if message.sender == OWNER and name == FEATURES and tensor.is_floating_point():
                rows.append(_rows(view, message))
                found.append(tensor.double())
    return (torch.cat(rows), torch.cat(found)) if found else None


def _shares(view: OutsourcedView, held: Arithmetic) -> dict[tuple[str, int], Tensor]:
    """The party's share of the features, by topic and round in which they were shared out."""
    inputs = view.plan.inputs
    if view.party == COMPUTE[1]:
        return {
            (message.topic, message.round): tensor
            for message in view.messages
            for name, tensor in _dense(message)
            if message.sender == OWNER and name == FEATURES
        }
    (seed,) = [
        tensor
        for message in view.messages
        for name, tensor in _dense(message)
        if message.sender == OWNER and name == SEED
    ]
    drawn = Common(seed.numpy().tobytes())
    shares = {(SETUP, 0): held.mask(drawn.next(FEATURES), (view.plan.samples, *inputs))}
    if any(message.topic == "inference" for message in view.messages):
        for number, rows in enumerate(view.batches):
            shares["inference", number] = held.mask(drawn.next(FEATURES), (len(rows), *inputs))
    return shares


def _rows(view: OutsourcedView, message: Message) -> Tensor:
    return torch.arange(view.plan.samples) if message.topic == SETUP else view.batches[message.round]


def _dense(message: Message) -> list[tuple[str, Tensor]]:
    parts = message.payload().parts
    return [(name, found.values) for name, found in parts.items() if isinstance(found, Dense)]


def _signed(held: Arithmetic, tensor: Tensor) -> Tensor:
    return tensor.double() * 2.0**-held.fraction_bits
