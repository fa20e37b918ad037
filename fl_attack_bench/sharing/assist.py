"""The helper's and the third party's operations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import COMPUTE
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.models.stack import activate
from fl_attack_bench.models.stack import slope as slope_of
from fl_attack_bench.sharing.arithmetic import RING_BITS
from fl_attack_bench.sharing.compute import unmasked
from fl_attack_bench.sharing.products import Product
from fl_attack_bench.sharing.session import Session
from fl_attack_bench.sharing.value import Mask, Value
from fl_attack_bench.tasks.outsourced import Activation


class HelperSession(Session):
    """Makes multiplication triples and what truncation needs; it sees no data and hears nothing."""

    async def mask(self, value: Value) -> None:
        """Deal out a mask."""
        if value.mask is None:
            label, dealt = self._new_mask(value)
            self.endpoint.send(COMPUTE[1], Payload({label: dealt}), offline=True)

    async def product(self, name: str, product: Product, left: Value, right: Value) -> Value:
        """Deal out the masks that are new, and the masks' product."""
        shape = product.shape(left.shape, right.shape)
        parts = dict(self._new_mask(value) for value in unmasked(left, right))
        whole = product(self.arithmetic, _mask(left), _mask(right))
        scale = self.arithmetic.product_scale(product.terms(left.shape, right.shape))
        first = self.arithmetic.mask(self._common[COMPUTE[0]].next(f"product {name}"), shape, scale)
        parts[f"product {name}"] = Dense(whole - first)
        self.endpoint.send(COMPUTE[1], Payload(parts), offline=True)
        return Value(name, shape, left.bits + right.bits)

    def _new_mask(self, value: Value) -> tuple[str, Dense]:
        """Draw a value's mask; the second party's share of it with the name of its part."""
        label = f"mask {value.name}"
        first = self.arithmetic.mask(self._common[COMPUTE[0]].next(label), value.shape)
        second = self.arithmetic.mask(self.endpoint.secrets, value.shape)
        value.mask = Mask(first + second)
        return label, Dense(second)

    async def truncate(self, values: Sequence[Value], bits: int) -> list[Value]:
        """Deal out uniform numbers, their upper digits and their sign bits."""
        sizes = [_size(value) for value in values]
        shifts = torch.cat([torch.full((size,), value.bits - bits) for size, value in zip(sizes, values, strict=True)])
        r = torch.from_numpy(self.endpoint.secrets.words(sum(sizes)))
        upper = (r & (2 ** (RING_BITS - 1) - 1)) >> shifts
        self.deal("truncation", r, upper, (r < 0).to(torch.int64), offline=True)
        return [Value(value.name, value.shape, bits) for value in values]


class ThirdSession(Session):
    """Evaluates element-wise functions on permuted values."""

    async def activate(
        self, name: str, activation: Activation, value: Value, *, slope: bool
    ) -> tuple[Value, Value | None]:
        """Reconstruct the permuted values, apply the function, share the result out."""
        label = f"z/{name}"
        seen = self.arithmetic.decode(await self.joined(label, (_size(value),)), value.bits, label)
        activated = activate(activation, seen)
        answers = [self.arithmetic.encode(activated, self.fraction_bits, f"a/{name}")]
        if slope:
            found = slope_of(activation, seen, activated)
            answers.append(self.arithmetic.encode(found, self.slope_bits(activation), f"slope/{name}"))
        self.deal(f"f/{name}", *answers)
        return await super().activate(name, activation, value, slope=slope)


def _size(value: Value) -> int:
    return torch.Size(value.shape).numel()


def _mask(value: Value) -> Tensor:
    if value.mask is None:
        raise RuntimeError(f"{value.name!r} has no mask")
    return value.mask.own
