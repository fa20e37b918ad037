"""An update: all parameters of a model as one flat vector, and the layout that names its slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from fl_attack_bench.errors import SkipCell


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a model's parameters in the order in which they stand in a flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> "Layout":
        """The layout of a module's parameters, in ``named_parameters`` order."""
        named = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
        return cls(tuple(n for n, _ in named), tuple(s for _, s in named))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of entries of each parameter."""
        return tuple(prod(shape) for shape in self.shapes)

    @cached_property
    def size(self) -> int:
        """Number of entries of the whole vector."""
        return sum(self.sizes)

    @cached_property
    def slices(self) -> Mapping[str, slice]:
        """Where each parameter stands in the flat vector."""
        places, start = {}, 0
        for name, size in zip(self.names, self.sizes, strict=True):
            places[name] = slice(start, start + size)
            start += size
        return places

    def belonging(self, layers: str) -> tuple[bool, ...]:
        """Which parameters belong to some layers.

        Args:
            layers: ``all``, ``first``, or layers as the model names them, joined by ``+``.

        Raises:
            SkipCell: the model has no layer of that name.
        """
        owners = [name.rpartition(".")[0] for name in self.names]
        wanted = {"all": set(owners), "first": {owners[0]}}.get(layers) or set(layers.split("+"))
        unknown = sorted(wanted - set(owners))
        if unknown:
            raise SkipCell(
                f"the model has no layer {unknown[0]!r}; legal: all, first, {', '.join(dict.fromkeys(owners))}"
            )
        return tuple(owner in wanted for owner in owners)

    def chosen(self, layers: str) -> Tensor:
        """The same entry by entry, shape ``(size,)``, bool."""
        return torch.tensor(self.belonging(layers)).repeat_interleave(torch.tensor(self.sizes))

    def split(self, layers: str) -> tuple["Layout", tuple[slice, ...], tuple[slice, ...]]:
        """The layout of some layers' parameters by themselves, where they stand here, and where the others do."""
        places = tuple(self.slices.values())
        inside = self.belonging(layers)
        own = [n for n, yes in enumerate(inside) if yes]
        part = Layout(tuple(self.names[n] for n in own), tuple(self.shapes[n] for n in own))
        return part, tuple(places[n] for n in own), tuple(p for p, yes in zip(places, inside, strict=True) if not yes)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Parameter-shaped views of ``flat``; shape ``(*batch, size)`` gives ``(*batch, *parameter)`` views."""
        lead = flat.shape[:-1]
        shaped = zip(self.slices.items(), self.shapes, strict=True)
        return {name: flat[..., place].reshape(*lead, *shape) for (name, place), shape in shaped}

    def flatten(self, tensors: Mapping[str, Tensor], batch_dims: int = 0) -> Tensor:
        """The inverse of :meth:`views`: concatenate in layout order, keeping ``batch_dims`` leading axes."""
        return torch.cat([tensors[name].flatten(start_dim=batch_dims) for name in self.names], dim=-1)


@dataclass(frozen=True)
class Update:
    """What a client has to say after local training, in gradient units.

    ``flat = (w_received - w_local) / learning_rate``: the sum of the gradients of its local steps, and exactly the
    gradient where it took one step. The server subtracts ``learning_rate * mean``.

    Args:
        flat: shape ``(layout.size,)``, float32.
        layout: names the slices of ``flat``.
    """

    flat: Tensor
    layout: Layout

    def clipped(self, norm: float | None, order: int) -> Tensor:
        """The vector scaled down to an L1 or L2 norm (``order``) of at most ``norm``; None leaves it as it is."""
        if norm is None:
            return self.flat
        scale: Tensor = (norm / self.flat.norm(p=order).clamp(min=1e-12)).clamp(max=1)
        return self.flat * scale

    def with_flat(self, flat: Tensor) -> "Update":
        """The same layout around other numbers."""
        return Update(flat, self.layout)
