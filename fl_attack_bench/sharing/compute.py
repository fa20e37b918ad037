"""The two compute parties' operations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import COMPUTE, HELPER, THIRD, Endpoint
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.crypto.secrets import KEY_BYTES
from fl_attack_bench.sharing.arithmetic import RING_BITS, Arithmetic
from fl_attack_bench.sharing.products import Product
from fl_attack_bench.sharing.session import SEED, Session
from fl_attack_bench.sharing.value import Common, Mask, Shape, Value, part
from fl_attack_bench.tasks.outsourced import Activation

_LOW = 2 ** (RING_BITS - 1) - 1
OFFSET = 2 ** (RING_BITS - 2)  # makes a number of either sign positive while it is truncated


class ComputeSession(Session):
    """Holds one share of everything.

    Args:
        endpoint: its end of the wire; its name says which of the two it is.
        arithmetic: how numbers are held.
        sharing: everybody who shares something out.
    """

    def __init__(self, endpoint: Endpoint, arithmetic: Arithmetic, sharing: Sequence[str]) -> None:
        super().__init__(endpoint, arithmetic, sharing)
        self.index = COMPUTE.index(endpoint.name)
        self.peer = COMPUTE[1 - self.index]

    async def agree(self) -> None:
        """The first one takes everybody's seeds and gives the second one a seed."""
        if self.index == 0:
            self._give_seed(self.peer)
        for sender in self.sharing if self.index == 0 else (self.peer,):
            seed = part(await self.endpoint.receive(sender), SEED, (KEY_BYTES,), torch.uint8, sender)
            self._common[sender] = Common(seed.numpy().tobytes())

    def common(self, party: str) -> Common:
        """What this party and another one draw alike."""
        return self._common[party]

    async def share(self, name: str, holder: str, shape: Shape, bits: int, values: Tensor | None = None) -> Value:
        """Draw or receive a share."""
        del values
        (share,) = await self.dealt(holder, name, shape)
        return Value(name, tuple(shape), bits, share)

    async def dealt(self, sender: str, name: str, *shapes: Shape) -> list[Tensor]:
        """This party's shares of what somebody deals out by :meth:`Session.deal`."""
        labels = [name if len(shapes) == 1 else f"{name}/{number}" for number in range(len(shapes))]
        if self.index == 0:
            drawn = self._common[sender]
            return [self.arithmetic.mask(drawn.next(label), shape) for label, shape in zip(labels, shapes, strict=True)]
        payload = await self.endpoint.receive(sender)
        dtype = self.arithmetic.dtype
        return [part(payload, label, shape, dtype, sender) for label, shape in zip(labels, shapes, strict=True)]

    async def mask(self, value: Value) -> None:
        """Take a mask's share and open the masked value."""
        if value.mask is None:
            await self._open([value], [(await self.dealt(HELPER, f"mask {value.name}", value.shape))[0]])

    async def product(self, name: str, product: Product, left: Value, right: Value) -> Value:
        """``f(x - u, [party 0] (y - v) + v_i) + f(u_i, y - v) + w_i``."""
        shape = product.shape(left.shape, right.shape)
        new = unmasked(left, right)
        masks, triple = await self._triple(name, product, shape, new, product.terms(left.shape, right.shape))
        await self._open(new, masks)
        (u, e), (v, f) = _opened(left), _opened(right)
        share = product(self.arithmetic, e, v + f if self.index == 0 else v)
        share = share + product(self.arithmetic, u, f) + triple
        return Value(name, shape, left.bits + right.bits, share)

    async def _triple(
        self, name: str, product: Product, shape: Shape, new: Sequence[Value], terms: int
    ) -> tuple[list[Tensor], Tensor]:
        """This party's shares of the masks that are new, and of the masks' product."""
        arithmetic = self.arithmetic
        if self.index == 0:
            drawn = self._common[HELPER]
            masks = [arithmetic.mask(drawn.next(f"mask {value.name}"), value.shape) for value in new]
            scale = arithmetic.product_scale(terms)
            return masks, arithmetic.mask(drawn.next(f"product {name}"), shape, scale)
        payload = await self.endpoint.receive(HELPER)
        dtype = arithmetic.dtype
        masks = [part(payload, f"mask {value.name}", value.shape, dtype, HELPER) for value in new]
        return masks, part(payload, f"product {name}", shape, dtype, HELPER)

    async def _open(self, values: Sequence[Value], masks: Sequence[Tensor]) -> None:
        if not values:
            return
        mine = [_share(value) - mask for value, mask in zip(values, masks, strict=True)]
        whole = await self.exchange({value.name: tensor for value, tensor in zip(values, mine, strict=True)})
        for value, mask, opened in zip(values, masks, whole, strict=True):
            value.mask = Mask(mask, opened)

    async def exchange(self, mine: dict[str, Tensor]) -> list[Tensor]:
        """Open shared tensors between the two: the sum of both sides', in order."""
        self.endpoint.send(self.peer, Payload({name: Dense(tensor) for name, tensor in mine.items()}))
        theirs = await self.endpoint.receive(self.peer)
        return [
            tensor + part(theirs, name, tuple(tensor.shape), tensor.dtype, self.peer) for name, tensor in mine.items()
        ]

    async def truncate(self, values: Sequence[Value], bits: int) -> list[Value]:
        """Open ``z + 2^62 + r``, and take the upper digits of r from it (see :meth:`Session.rescale`)."""
        flat = torch.cat([_share(value).reshape(-1) for value in values])
        shifts = torch.cat([torch.full((_share(value).numel(),), value.bits - bits) for value in values])
        size = (len(flat),)
        r, upper, sign = await self.dealt(HELPER, "truncation", size, size, size)
        (opened,) = await self.exchange({"truncated": flat + r + (OFFSET if self.index == 0 else 0)})
        below, above = opened & _LOW, (opened < 0).to(torch.int64)
        carry = (1 - 2 * above) * sign + (above if self.index == 0 else 0)
        share = (carry << (RING_BITS - 1 - shifts)) - upper
        if self.index == 0:
            share = share + (below >> shifts) - (torch.full_like(shifts, OFFSET) >> shifts)
        pieces = share.split([_share(value).numel() for value in values])
        return [
            Value(value.name, value.shape, bits, piece.reshape(value.shape))
            for value, piece in zip(values, pieces, strict=True)
        ]

    async def activate(
        self, name: str, activation: Activation, value: Value, *, slope: bool
    ) -> tuple[Value, Value | None]:
        """Both permute alike, the third party evaluates, both permute back (rtas-2021, section 4.2.1)."""
        count = _share(value).numel()
        drawn = self._common[self.peer].next("permutation")
        order = torch.from_numpy(drawn.words(count)).argsort()
        self.endpoint.send(THIRD, Payload.dense(_share(value).reshape(-1)[order], f"z/{name}"))
        names = (f"a/{name}", f"slope/{name}") if slope else (f"a/{name}",)
        answers = await self.dealt(THIRD, f"f/{name}", *[(count,)] * len(names))
        back = [torch.empty_like(answer).index_copy_(0, order, answer).reshape(value.shape) for answer in answers]
        bits = (self.fraction_bits, self.slope_bits(activation))
        found = [Value(label, value.shape, held, share) for label, held, share in zip(names, bits, back, strict=False)]
        return found[0], found[1] if slope else None

    async def reveal(self, name: str, value: Value, to: str) -> Tensor | None:
        """Send the own share."""
        self.endpoint.send(to, Payload.dense(_share(value), name))
        return None


def unmasked(left: Value, right: Value) -> list[Value]:
    """Those factors that no earlier product has opened; a square has one."""
    both = [left] if left is right else [left, right]
    return [value for value in both if value.mask is None]


def _share(value: Value) -> Tensor:
    if value.share is None:
        raise RuntimeError(f"{value.name!r} was never shared")
    return value.share


def _opened(value: Value) -> tuple[Tensor, Tensor]:
    if value.mask is None or value.mask.opened is None:
        raise RuntimeError(f"{value.name!r} was never opened")
    return value.mask.own, value.mask.opened
