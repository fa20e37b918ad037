"""Layers of a network during one evaluation of many victims' gradients and of those gradients' own derivative.

Four sweeps go over a chain of layers. *Forward* and *backward* give each victim's gradient ``G``. For any direction
``R`` of the weights, a different one for each victim, *tangent* and *adjoint* give ``J^T R``, the gradient of ``R . G``
with respect to the images: ``R . G`` is the derivative of the loss along ``R``, so that its gradient is the derivative
along ``R`` of the loss's gradient with respect to the images (Pearlmutter 1994). With ``a`` entering a layer, ``d`` the
loss's gradient at its output, and dots for derivatives along ``R``:

    forward   z = f(a, w)        backward  d' = f_a^T d,  G = f_w^T d
    tangent   z. = f_a a. + f_w R    adjoint   e' = (f_a^T d)., e = d.

A convolution takes seven products this way: three for ``G``, two for ``z.`` and two for ``e'``. Double backward takes
as many, but visits every tensor more often.

Shapes: M = V * B samples of V victims; G and R are views of flat vectors, one row a victim.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

Views = Mapping[str, Tensor]


class Layer(ABC):
    """One layer in one evaluation: each sweep uses what the earlier ones left here.

    Args:
        module: gives weights and options.
        path: its name in the network, the prefix of its parameters' names.
        first: whether no layer before it has parameters: nothing then moves before it, and no gradient passes it.
    """

    def __init__(self, module: Any, path: str, first: bool) -> None:
        self.module, self.first = module, first
        self.weight, self.bias = f"{path}.weight", f"{path}.bias"

    @abstractmethod
    def forward(self, a: Tensor) -> Tensor:
        """What the layer makes of its input."""

    @abstractmethod
    def backward(self, d: Tensor, gradients: Views) -> Tensor | None:
        """The loss's gradient at the input; the parameters' go into ``gradients``. The first layer may return None."""

    @abstractmethod
    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """How the output moves; None stands for an input or output that does not."""

    @abstractmethod
    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """How the loss's gradient at the input moves, from how it moves at the output."""


class Reshaping(Layer):
    """Flatten, or nothing at all."""

    def forward(self, a: Tensor) -> Tensor:
        """The same numbers in another shape."""
        self._shape = a.shape
        return cast(Tensor, self.module(a))

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """The shape they had."""
        return d.reshape(self._shape)

    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """The shape that they get."""
        return None if da is None else cast(Tensor, self.module(da))

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """The shape they had."""
        return e.reshape(self._shape)


class Scaling(Layer):
    """``(a - mean) / std`` with fixed numbers."""

    def forward(self, a: Tensor) -> Tensor:
        """Normalised pixels."""
        return cast(Tensor, self.module(a))

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """Divided once more."""
        return cast(Tensor, d / self.module.std)

    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """Divided too."""
        return None if da is None else da / self.module.std

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """A linear map: as backward."""
        return cast(Tensor, e / self.module.std)


class Activation(Layer):
    """A piecewise linear function of each number by itself; subclasses know its derivative."""

    @abstractmethod
    def slope(self, d: Tensor) -> Tensor:
        """``f'(a) d``."""

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """``f' d``."""
        return self.slope(d)

    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """``f' a.``."""
        return None if da is None else self.slope(da)

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """``f' e``: the second derivative is 0, as autograd has it."""
        return self.slope(e)


class Smooth(Activation):
    """A function that bends; subclasses know its second derivative too."""

    @abstractmethod
    def bend(self, e: Tensor, moved: Tensor) -> Tensor:
        """``e + f''(a) / f'(a) * moved``."""

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """``f' d``."""
        self._d = d
        return super().backward(d, gradients)

    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """``f' a.``."""
        self._da = da
        return super().tangent(da, along)

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """``f' e + f'' a. d``."""
        return self.slope(e if self._da is None else self.bend(e, self._da * self._d))


class Sigmoid(Smooth):
    """``s' = s (1 - s)``, ``s'' = s' (1 - 2 s)``."""

    def forward(self, a: Tensor) -> Tensor:
        """The sigmoid."""
        self._z = torch.sigmoid(a)
        return self._z

    def slope(self, d: Tensor) -> Tensor:
        """``s' d``."""
        return cast(Tensor, torch.ops.aten.sigmoid_backward(d, self._z))

    def bend(self, e: Tensor, moved: Tensor) -> Tensor:
        """``e + (1 - 2 s) moved``."""
        return (e + moved).addcmul_(self._z, moved, value=-2)


class Tanh(Smooth):
    """``t' = 1 - t^2``, ``t'' = -2 t t'``."""

    def forward(self, a: Tensor) -> Tensor:
        """The hyperbolic tangent."""
        self._z = torch.tanh(a)
        return self._z

    def slope(self, d: Tensor) -> Tensor:
        """``t' d``."""
        return cast(Tensor, torch.ops.aten.tanh_backward(d, self._z))

    def bend(self, e: Tensor, moved: Tensor) -> Tensor:
        """``e - 2 t moved``."""
        return torch.addcmul(e, self._z, moved, value=-2)


class Relu(Activation):
    """The positive part."""

    def forward(self, a: Tensor) -> Tensor:
        """The positive part."""
        self._z = a.relu()
        return self._z

    def slope(self, d: Tensor) -> Tensor:
        """``d`` where the output is positive."""
        return cast(Tensor, torch.ops.aten.threshold_backward(d, self._z, 0))


class MaxPool(Layer):
    """Each window's largest number; which one it is does not move."""

    def forward(self, a: Tensor) -> Tensor:
        """The largest numbers."""
        self._a = a
        z, self._place = torch.ops.aten.max_pool2d_with_indices(a, *self._options())
        return cast(Tensor, z)

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """Back to where each came from."""
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        return cast(Tensor, backward(d, self._a, *self._options(), self._place))

    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """How the largest numbers move."""
        if da is None:
            return None
        return da.flatten(2).gather(2, self._place.flatten(2)).view(self._place.shape)

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """A linear map: as backward."""
        return self.backward(e, along)

    def _options(self) -> tuple[list[int], list[int], list[int], list[int], bool]:
        pool = self.module
        return _pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding), _pair(pool.dilation), pool.ceil_mode


class AveragePool(Layer):
    """Each window's mean."""

    def forward(self, a: Tensor) -> Tensor:
        """The means."""
        self._a = a
        return cast(Tensor, self.module(a))

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """Spread over the windows."""
        pool = self.module
        options = _pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding), pool.ceil_mode
        counted = pool.count_include_pad, pool.divisor_override
        return cast(Tensor, torch.ops.aten.avg_pool2d_backward(d, self._a, *options, *counted))

    def tangent(self, da: Tensor | None, along: Views) -> Tensor | None:
        """The means of what moves."""
        return None if da is None else cast(Tensor, self.module(da))

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """A linear map: as backward."""
        return self.backward(e, along)


class Norm(Layer):
    """Batch norm in evaluation mode: ``n = (a - mean) / std`` with fixed numbers, ``z = weight n + bias``."""

    def forward(self, a: Tensor) -> Tensor:
        """The output."""
        norm = self.module
        self._scale = torch.rsqrt(norm.running_var + norm.eps).view(-1, 1, 1)
        self._normal = (a - norm.running_mean.view(-1, 1, 1)).mul_(self._scale)
        return torch.addcmul(norm.bias.view(-1, 1, 1), self._normal, norm.weight.view(-1, 1, 1))

    def backward(self, d: Tensor, gradients: Views) -> Tensor:
        """Through the scale."""
        self._d = d
        victims = len(gradients[self.weight])
        gradients[self.weight].copy_(by_victim((d * self._normal).sum((2, 3)), victims))
        gradients[self.bias].copy_(by_victim(d.sum((2, 3)), victims))
        return self._through(d)

    def tangent(self, da: Tensor | None, along: Views) -> Tensor:
        """Both factors move."""
        batch = len(self._normal) // len(along[self.weight])
        own = torch.addcmul(by_channel(along[self.bias], batch), self._normal, by_channel(along[self.weight], batch))
        return own if da is None else own.add_(self._through(da))

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """The scale moves with the weight."""
        batch = len(e) // len(along[self.weight])
        return self._through(e).addcmul_(self._d, by_channel(along[self.weight], batch) * self._scale)

    def _through(self, d: Tensor) -> Tensor:
        return cast(Tensor, d * (self.module.weight.view(-1, 1, 1) * self._scale))


class Linear(Layer):
    """``z = W a + b``."""

    def forward(self, a: Tensor) -> Tensor:
        """The output."""
        self._a = a
        return cast(Tensor, self.module(a))

    def backward(self, d: Tensor, gradients: Views) -> Tensor | None:
        """``G = d a^T``, ``d' = W^T d``."""
        weight = gradients[self.weight]
        self._d, victims = d.unflatten(0, (len(weight), -1)), len(weight)
        if self._d.shape[1] == 1:
            torch.mul(d.unsqueeze(2), self._a.unsqueeze(1), out=weight)
        else:
            weight.copy_(self._d.mT @ self._a.unflatten(0, (victims, -1)))
        if self.module.bias is not None:
            gradients[self.bias].copy_(by_victim(d, victims))
        return None if self.first else d @ self.module.weight

    def tangent(self, da: Tensor | None, along: Views) -> Tensor:
        """``R a + W a.``."""
        weight = along[self.weight]
        moved = (self._a.unflatten(0, (len(weight), -1)) @ weight.mT).flatten(0, 1)
        if self.module.bias is not None:
            moved += along[self.bias].repeat_interleave(self._d.shape[1], 0)
        return moved if da is None else torch.addmm(moved, da, self.module.weight.mT)

    def adjoint(self, e: Tensor, along: Views) -> Tensor:
        """``W^T e + R^T d``."""
        return torch.addmm((self._d @ along[self.weight]).flatten(0, 1), e, self.module.weight)


def by_victim(each: Tensor, victims: int) -> Tensor:
    """Sums over a victim's samples; nothing to do where there is one."""
    return each if len(each) == victims else each.unflatten(0, (victims, -1)).sum(1)


def by_channel(values: Tensor, batch: int) -> Tensor:
    """One number a victim and channel, ``(V, O)``, for each of its samples' pixels: ``(M, O, 1, 1)``."""
    return values.repeat_interleave(batch, 0).view(-1, values.shape[1], 1, 1)


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
