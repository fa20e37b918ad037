"""The operations of a sharing protocol, as each of its parties carries them out.

All parties run the same program (:mod:`fl_attack_bench.sharing.network`), each over a session of its own kind: the same
calls in the same order. What a party has no part in only moves the names and shapes that everybody knows.

Numbers are shared between ``compute/0`` and ``compute/1``. Whoever shares something out gives the first one a seed at
the beginning, so that the first share need not be sent: it is drawn on both sides.
"""

from collections.abc import Callable, Sequence
from math import frexp

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import COMPUTE, Endpoint
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.crypto.secrets import KEY_BYTES
from fl_attack_bench.sharing.arithmetic import RING_BITS, Arithmetic, Ring
from fl_attack_bench.sharing.products import Product
from fl_attack_bench.sharing.value import Common, Shape, Value, part
from fl_attack_bench.tasks.outsourced import Activation

SEED = "seed"
_FACTOR_BITS = 14  # of a public factor, at most
_HEADROOM = 16  # binary digits before the point that a number keeps while it is multiplied by a factor


class Session:
    """What every party does: it keeps names, shapes and fraction bits, and shares out what it holds.

    It is all that an owner does, or a party that is only revealed something.

    Args:
        endpoint: its end of the wire.
        arithmetic: how numbers are held.
        sharing: everybody who shares something out to the compute parties, the helper too.
    """

    def __init__(self, endpoint: Endpoint, arithmetic: Arithmetic, sharing: Sequence[str]) -> None:
        self.endpoint = endpoint
        self.arithmetic = arithmetic
        self.sharing = tuple(sharing)
        self._common: dict[str, Common] = {}

    @property
    def name(self) -> str:
        """The party's."""
        return self.endpoint.name

    @property
    def fraction_bits(self) -> int:
        """Of a number at rest."""
        return self.arithmetic.fraction_bits

    async def agree(self) -> None:
        """Give the first compute party a seed; the first operation of all."""
        if self.name in self.sharing:
            self._give_seed(COMPUTE[0])

    def _give_seed(self, receiver: str) -> None:
        seed = self.endpoint.secrets.bytes(KEY_BYTES)
        self._common[receiver] = Common(seed)
        self.endpoint.send(receiver, Payload.dense(torch.frombuffer(bytearray(seed), dtype=torch.uint8), SEED))

    async def share(self, name: str, holder: str, shape: Shape, bits: int, values: Tensor | None = None) -> Value:
        """Share out what one party holds (rtas-2021, section 4.1, "Sharing").

        Args:
            name: of the value.
            holder: who has it.
            shape: of it.
            bits: fraction bits to hold it at.
            values: the numbers, to their holder; None to everybody else.

        Raises:
            RangeError: a number does not fit.
            ValueError: the values have another shape.
        """
        if self.name == holder:
            if values is None or tuple(values.shape) != tuple(shape):
                raise ValueError(f"{holder} holds {name!r} of shape {None if values is None else tuple(values.shape)}")
            self.deal(name, self.arithmetic.encode(values, bits, f"{holder}'s {name}"))
        return Value(name, tuple(shape), bits)

    def deal(self, name: str, *held: Tensor, offline: bool = False) -> None:
        """Send the second compute party its shares of numbers, of which the first one draws its own.

        Args:
            name: of the part; with several, ``name/0`` and so on.
            held: encoded.
            offline: whether they depend on no data.
        """
        parts = {}
        for number, tensor in enumerate(held):
            label = name if len(held) == 1 else f"{name}/{number}"
            first = self.arithmetic.mask(self._common[COMPUTE[0]].next(label), tensor.shape)
            parts[label] = Dense(tensor - first)
        self.endpoint.send(COMPUTE[1], Payload(parts), offline=offline)

    def linear(
        self, name: str, bits: int, function: Callable[..., Tensor], *values: Value, shape: Shape | None = None
    ) -> Value:
        """A function that is linear in the shares and public: each compute party applies it to its own.

        Args:
            name: of the result.
            bits: of the result.
            function: of as many tensors as there are values.
            values: its arguments.
            shape: of the result; that of the first argument where it is left out.

        Raises:
            ValueError: the function's result has another shape.
        """
        shape = values[0].shape if shape is None else shape
        shares = [value.share for value in values if value.share is not None]
        share = function(*shares) if len(shares) == len(values) else None
        if share is not None and tuple(share.shape) != shape:
            raise ValueError(f"{name!r} comes out as {tuple(share.shape)}, not as {shape}")
        return Value(name, shape, bits, share)

    def finer(self, value: Value, bits: int) -> Value:
        """The same number at more fraction bits; exact."""
        if bits == value.bits:
            return value
        return self.linear(value.name, bits, lambda held: held * 2 ** (bits - value.bits), value)

    def plus(self, value: Value, number: float) -> Value:
        """A public number added to every entry: the first compute party adds it to its share."""
        return value if self.name != COMPUTE[0] else self._added(value, number)

    def _added(self, value: Value, number: float) -> Value:
        constant = self.arithmetic.encode(torch.tensor(number, dtype=torch.float64), value.bits, value.name)
        return self.linear(value.name, value.bits, lambda held: held + constant.to(held.device), value)

    async def mask(self, value: Value) -> None:
        """Open ``x - u`` once for all products that the value will be in."""
        del value

    async def product(self, name: str, product: Product, left: Value, right: Value) -> Value:
        """A product by a multiplication triple (Beaver 1991; rtas-2021, section 4.1).

        ``f(x, y) = f(x - u, y - v) + f(x - u, v) + f(u, y - v) + f(u, v)``; fraction bits add up. What was opened for
        an earlier product of the same value is not opened again.

        Raises:
            ValueError: the factors' shapes do not fit.
        """
        return Value(name, product.shape(left.shape, right.shape), left.bits + right.bits)

    async def rescale(self, values: Sequence[Value], bits: int, factor: float = 1.0) -> list[Value]:
        """Times a public number, and back to fewer fraction bits, all values in one opening.

        In the ring a number's last digit is rounded up or down at random, on average right (Escudero et al. 2020,
        "Improved primitives for MPC over mixed arithmetic-binary circuits", section 5.1): the helper deals shares of a
        uniform r, of its upper digits and of its sign bit; ``z + r`` is opened. It cannot fail while the numbers lie
        below 2^16, and below ``2^(62 - bits)`` where they have more than 46 fraction bits, as an error that passed a
        weight and a slope has; larger ones come out wrong. A factor is kept to 14 binary digits, or to ``46 - bits``
        where the numbers have more than 32 fraction bits. In floating point nothing is opened.

        Args:
            values: any.
            bits: of the results.
            factor: positive.
        """
        if not isinstance(self.arithmetic, Ring):
            return [self.linear(value.name, bits, lambda held: held * factor, value) for value in values]
        whole, extra = _in_digits(factor, RING_BITS - 2 - _HEADROOM - max(value.bits for value in values))
        shifts = [value.bits + extra - bits for value in values]
        if any(shift < 0 or shift > RING_BITS - 2 for shift in shifts):
            raise ValueError(f"cannot go from {[value.bits for value in values]} fraction bits to {bits}")
        raised = [self.linear(value.name, value.bits + extra, lambda held: held * whole, value) for value in values]
        wanted = [number for number, shift in enumerate(shifts) if shift]
        done = await self.truncate([raised[number] for number in wanted], bits) if wanted else []
        for number, value in zip(wanted, done, strict=True):
            raised[number] = value
        return raised

    async def truncate(self, values: Sequence[Value], bits: int) -> list[Value]:
        """The ring's part of :meth:`rescale`: drop all fraction bits but so many."""
        return [Value(value.name, value.shape, bits) for value in values]

    async def activate(
        self, name: str, activation: Activation, value: Value, *, slope: bool
    ) -> tuple[Value, Value | None]:
        """An element-wise function, and where it is asked for its derivative at the same place."""
        activated = Value(f"a/{name}", value.shape, self.fraction_bits)
        found = Value(f"slope/{name}", value.shape, self.slope_bits(activation)) if slope else None
        return activated, found

    def slope_bits(self, activation: Activation) -> int:
        """Fraction bits of a derivative: that of ReLU is 0 or 1 and needs none."""
        return 0 if activation == "relu" else self.fraction_bits

    async def reveal(self, name: str, value: Value, to: str) -> Tensor | None:
        """Reconstruct a value for one party that is no compute party: float64 to it, None to everybody else.

        Raises:
            RangeError: a number left the range on the way.
        """
        if self.name != to:
            return None
        total = await self.joined(name, value.shape)
        return self.arithmetic.decode(total, value.bits, name)

    async def joined(self, name: str, shape: Shape) -> Tensor:
        """The sum of the shares that both compute parties send."""
        first, second = [
            part(await self.endpoint.receive(sender), name, shape, self.arithmetic.dtype, sender) for sender in COMPUTE
        ]
        return first + second


def _in_digits(factor: float, room: int) -> tuple[int, int]:
    """A whole number and how many of its binary digits are behind the point; a power of two needs one digit."""
    mantissa, exponent = frexp(factor)
    digits = 1 if mantissa == 0.5 else min(_FACTOR_BITS, room)
    if digits < 1:
        raise ValueError(f"no room for the digits of a factor of {factor}")
    whole, behind = round(mantissa * 2**digits), digits - exponent
    return (whole, behind) if behind >= 0 else (whole * 2**-behind, 0)
