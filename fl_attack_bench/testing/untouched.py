"""Whether what an attack is given is still the same afterwards: a view belongs to all attacks."""

import copy
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fl_attack_bench.testing.finding import Broken


def state(value: Any) -> list[Tensor]:
    """Copies of all tensors inside, in a fixed order."""
    return [tensor.clone() for tensor in _tensors(value)]


def unchanged(before: list[Tensor], value: Any, what: str = "the view") -> None:
    """Compare with copies that :func:`state` made earlier.

    Raises:
        Broken: something was written.
    """
    after = list(_tensors(value))
    if len(before) != len(after) or not all(_same(a, b) for a, b in zip(before, after, strict=True)):
        raise Broken(f"it writes into {what}: clone a tensor, or copy.deepcopy a model, before changing it")


def apart(value: Any) -> Any:
    """A copy that shares nothing."""
    return copy.deepcopy(value)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _tensors(value: Any) -> "list[Tensor]":
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, nn.Module):
        return list(value.state_dict().values())
    if isinstance(value, dict):
        return [tensor for key in sorted(value, key=str) for tensor in _tensors(value[key])]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    if is_dataclass(value) and not isinstance(value, type):
        return [tensor for field in fields(value) for tensor in _tensors(getattr(value, field.name))]
    return []
