"""Activations that are worked out on shares: by comparison, or by a polynomial in their place.

A session here does what one with a third party does, and nobody is shown anything. ReLU is exact. Sigmoid is one of

    piecewise    max(0, x + 1/2) - max(0, x - 1/2): 0 to the left of -1/2, 1 to the right of 1/2, x + 1/2 between
                 (Mohassel and Zhang 2017, "SecureML", section 5.2)
    tangent      the same of x / 4: between -2 and 2 it is the tangent of sigmoid at 0, so that networks learn which the
                 narrow one leaves with no gradient
    polynomial   1/2 + c_1 (x / 8) + c_3 (x / 8)^3, the closest to sigmoid on [-8, 8] in the mean square
                 (Rosetta approximates by polynomials)

and its slope is the derivative of what stands for it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fl_attack_bench.api.outsourced import COMPUTE, HELPER, LABELS, OWNER, Endpoint
from fl_attack_bench.codec import Dense, Payload
from fl_attack_bench.crypto.secrets import KEY_BYTES, Secrets
from fl_attack_bench.sharing.arithmetic import Arithmetic, Ring
from fl_attack_bench.sharing.assist import HelperSession
from fl_attack_bench.sharing.comparison import (
    PLANES,
    PRODUCT_PLANES,
    WORDS,
    Half,
    Tensors,
    deal,
    first_half,
    plane_bytes,
    positive,
    second_half,
)
from fl_attack_bench.sharing.compute import ComputeSession
from fl_attack_bench.sharing.parties import Sessions
from fl_attack_bench.sharing.products import Elementwise
from fl_attack_bench.sharing.session import SEED, Session
from fl_attack_bench.sharing.value import Value, part
from fl_attack_bench.tasks.outsourced import Activation

Sigmoid = Literal["tangent", "piecewise", "polynomial"]
TANGENT_BITS = 2  # the tangent's argument is x / 4
SCALE_BITS = 3  # the polynomial's argument is x / 8
# c_1 = a_1 - 3/2 a_3 and c_3 = 5/2 a_3, where a_n is the Legendre coefficient of sigmoid(8 t) on [-1, 1].
LINEAR, CUBIC = 1.20096331, -0.81562491

_RELU, _STEP = "relu/", "step/"
_COMPARISON = "comparison/"


class ActivatingSession(Session):
    """What every party of the protocol does at an activation; owners do no more. Sigmoid is its clipped tangent.

    Attributes:
        stretched: the pieces of sigmoid are those of ``x / 2^stretched``.

    Args:
        endpoint: its end of the wire.
        arithmetic: the ring.
        sharing: everybody who shares something out.

    Raises:
        ValueError: an arithmetic that is no ring: bits of floating-point shares say nothing.
    """

    stretched: ClassVar[int] = TANGENT_BITS

    def __init__(self, endpoint: Endpoint, arithmetic: Arithmetic, sharing: Sequence[str]) -> None:
        if not isinstance(arithmetic, Ring):
            raise ValueError(f"comparison needs shares in a ring, not {arithmetic}")
        super().__init__(endpoint, arithmetic, sharing)

    async def activate(
        self, name: str, activation: Activation, value: Value, *, slope: bool
    ) -> tuple[Value, Value | None]:
        """An element-wise function on shares, at the session's fraction bits, and its derivative."""
        functions = {"relu": self._relu, "sigmoid": self.sigmoid, "square": self._square}
        function = functions[activation]  # a layer without a function does not come here
        activated, derivative = await function(name, value)
        return activated, derivative if slope else None

    async def rectified(self, name: str, value: Value) -> tuple[Value, Value]:
        """``max(0, z)`` at the fraction bits of z, and at none whether ``z > 0``."""
        return Value(_RELU + name, value.shape, value.bits), Value(_STEP + name, value.shape, 0)

    async def _relu(self, name: str, value: Value) -> tuple[Value, Value]:
        exact, step = await self.rectified(name, value)
        (activated,) = await self.rescale([exact], self.fraction_bits)
        return activated, step

    async def sigmoid(self, name: str, value: Value) -> tuple[Value, Value]:
        """What stands for sigmoid, and its derivative: both comparisons side by side, in the same messages."""
        value = Value(value.name, value.shape, value.bits + self.stretched, value.share)
        shifted = [self.plus(value, number) for number in (0.5, -0.5)]
        both = self.linear(value.name, value.bits, lambda *held: torch.stack(held), *shifted, shape=(2, *value.shape))
        ramps, steps = await self.rectified(name, both)
        exact = self.linear(ramps.name, ramps.bits, _difference, ramps, shape=value.shape)
        (activated,) = await self.rescale([exact], self.fraction_bits)
        return activated, self.linear(steps.name, self.stretched, _difference, steps, shape=value.shape)

    async def _square(self, name: str, value: Value) -> tuple[Value, Value]:
        (rounded,) = await self.rescale([Value(f"x/{name}", value.shape, value.bits, value.share)], self.fraction_bits)
        product = await self.product(f"xx/{name}", Elementwise(), rounded, rounded)
        (activated,) = await self.rescale([product], self.fraction_bits)
        return activated, self.linear(f"slope/{name}", self.fraction_bits, lambda held: 2 * held, rounded)


def _difference(pair: Tensor) -> Tensor:
    return pair[0] - pair[1]


class ActivatingCompute(ActivatingSession, ComputeSession):
    """A compute party's."""

    async def rectified(self, name: str, value: Value) -> tuple[Value, Value]:
        """Compare on shares (see :mod:`fl_attack_bench.sharing.comparison`)."""
        if value.share is None:
            raise RuntimeError(f"{value.name!r} was never shared")
        half = await self._half(name, value.share.numel())
        ramp, step = await positive(self._swap, self.index, half, value.share)
        return Value(_RELU + name, value.shape, value.bits, ramp), Value(_STEP + name, value.shape, 0, step)

    async def _half(self, name: str, count: int) -> Half:
        """This party's half of the random numbers of one comparison."""
        if self.index == 0:
            return first_half(self.common(HELPER).next(_COMPARISON + name), count)
        payload = await self.endpoint.receive(HELPER)
        seed = part(payload, SEED, (KEY_BYTES,), torch.uint8, HELPER)
        planes = part(payload, PLANES, (PRODUCT_PLANES, plane_bytes(count)), torch.uint8, HELPER)
        words = part(payload, WORDS, (2, count), torch.int64, HELPER)
        return second_half(Secrets.seeded(seed.numpy().tobytes()), count, planes, words)

    async def _swap(self, mine: Tensors) -> Tensors:
        self.endpoint.send(self.peer, Payload({name: Dense(tensor) for name, tensor in mine.items()}))
        payload = await self.endpoint.receive(self.peer)
        return {
            name: part(payload, name, tuple(tensor.shape), tensor.dtype, self.peer) for name, tensor in mine.items()
        }


class ActivatingHelper(ActivatingSession, HelperSession):
    """The helper's: it deals out random numbers for comparisons too."""

    async def rectified(self, name: str, value: Value) -> tuple[Value, Value]:
        """Give the second compute party a seed of its half, and what makes the halves fit."""
        seed = self.endpoint.secrets.bytes(KEY_BYTES)
        first = self._common[COMPUTE[0]].next(_COMPARISON + name)
        dealt = deal(first, Secrets.seeded(seed), torch.Size(value.shape).numel())
        parts = {SEED: torch.frombuffer(bytearray(seed), dtype=torch.uint8), **dealt}
        self.endpoint.send(COMPUTE[1], Payload({label: Dense(tensor) for label, tensor in parts.items()}), offline=True)
        return await super().rectified(name, value)


class PiecewiseSession(ActivatingSession):
    """Sigmoid as SecureML has it."""

    stretched: ClassVar[int] = 0


class PiecewiseCompute(PiecewiseSession, ActivatingCompute):
    """A compute party's, with SecureML's sigmoid."""


class PiecewiseHelper(PiecewiseSession, ActivatingHelper):
    """The helper's, with SecureML's sigmoid."""


class PolynomialSession(ActivatingSession):
    """Sigmoid by a polynomial. Its square fits the ring with the factor's digits while ``|x| < 2^(27 - f)``."""

    async def sigmoid(self, name: str, value: Value) -> tuple[Value, Value]:
        """``1/2 + t w`` with ``t = x / 8`` and ``w = c_1 - |c_3| t^2``; the slope is ``(c_1 - 3 |c_3| t^2) / 8``."""
        bits = self.fraction_bits
        (scaled,) = await self.rescale([Value(f"t/{name}", value.shape, value.bits + SCALE_BITS, value.share)], bits)
        square = await self.product(f"tt/{name}", Elementwise(), scaled, scaled)
        (bent,) = await self.rescale([square], bits, -CUBIC)
        factor = self.plus(self.linear(f"w/{name}", bits, torch.neg, bent), LINEAR)
        product = await self.product(f"tw/{name}", Elementwise(), scaled, factor)
        (activated,) = await self.rescale([product], bits)
        slope = self.plus(self.linear(f"slope/{name}", bits, lambda held: -3 * held, bent), LINEAR)
        slope.bits += SCALE_BITS
        return self.plus(activated, 0.5), slope


class PolynomialCompute(PolynomialSession, ActivatingCompute):
    """A compute party's, with the polynomial."""


class PolynomialHelper(PolynomialSession, ActivatingHelper):
    """The helper's, with the polynomial."""


def _sessions(owner: type[Session], compute: type[Session], helper: type[Session]) -> Sessions:
    return {OWNER: owner, LABELS: owner, COMPUTE[0]: compute, COMPUTE[1]: compute, HELPER: helper}


ACTIVATING: Mapping[Sigmoid, Sessions] = {
    "tangent": _sessions(ActivatingSession, ActivatingCompute, ActivatingHelper),
    "piecewise": _sessions(PiecewiseSession, PiecewiseCompute, PiecewiseHelper),
    "polynomial": _sessions(PolynomialSession, PolynomialCompute, PolynomialHelper),
}
"""The session of each party of a protocol without a third party, by what stands for sigmoid."""
