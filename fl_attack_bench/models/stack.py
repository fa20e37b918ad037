"""Layers one after the other, each a linear map with an element-wise function: what an outsourced task learns.

Weights are matrices from the right: ``z = x W + b``. A convolution is the same on patches (rtas-2021, section 4.1):
row ``(c, i, j)`` of its ``(C k k, F)`` matrix is the filters' weight at channel c and place (i, j).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor
from torch.nn import functional

from fl_attack_bench.errors import UserError
from fl_attack_bench.tasks.outsourced import Activation, Layer, OutsourcedTask

Weights = tuple[Tensor, ...]  # of each layer its matrix and its bias, in order


@dataclass(frozen=True)
class PlannedLayer:
    """A layer whose sizes are known.

    Args:
        layer: as the task has it.
        inputs: shape of one sample before it: ``(C, H, W)`` for a convolution, ``(n,)`` for a dense layer.
        outputs: shape of one sample after it: ``(F, H', W')`` or ``(m,)``.
    """

    layer: Layer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def activation(self) -> Activation:
        """The element-wise function."""
        return self.layer.activation

    @property
    def matrix(self) -> tuple[int, int]:
        """Shape of its weights."""
        if self.layer.kernel is None:
            return self.inputs[0], self.layer.outputs
        return self.inputs[0] * self.layer.kernel**2, self.layer.outputs


def plan(layers: Sequence[Layer], image_shape: tuple[int, int, int]) -> tuple[PlannedLayer, ...]:
    """The layers' sizes on images of shape ``(C, H, W)``.

    Raises:
        UserError: a filter is larger than what it is to be applied to.
    """
    shape: tuple[int, ...] = image_shape
    planned = []
    for number, layer in enumerate(layers):
        if layer.kernel is None:
            inputs: tuple[int, ...] = (prod(shape),)
            outputs: tuple[int, ...] = (layer.outputs,)
        else:
            sides = [(side - layer.kernel) // layer.stride + 1 for side in shape[1:]]
            if min(sides) < 1:
                size = "x".join(map(str, shape[1:]))
                raise UserError(f"layer {number}: a kernel of {layer.kernel} does not fit an image of {size}")
            inputs, outputs = shape, (layer.outputs, *sides)
        planned.append(PlannedLayer(layer, inputs, outputs))
        shape = outputs
    return tuple(planned)


def fitted(task: OutsourcedTask, image_shape: tuple[int, int, int], classes: int) -> tuple[PlannedLayer, ...]:
    """The task's layers on these images.

    Raises:
        UserError: a filter does not fit, there is no such class to tell apart, the outputs are not one a class, or a
            last convolution gives them at several places.
    """
    planned, outputs = plan(task.layers, image_shape), task.layers[-1].outputs
    if prod(planned[-1].outputs) != outputs:
        size = "x".join(map(str, planned[-1].outputs[1:]))
        raise UserError(f"the last layer's {outputs} outputs come at {size} places: end with a dense layer")
    if task.target is not None and task.target >= classes:
        raise UserError(f"target={task.target} is none of the {classes} classes 0 to {classes - 1}")
    if task.target is None and outputs != classes:
        raise UserError(f"the last layer has {outputs} outputs for {classes} classes")
    return planned


def initial(layers: Sequence[PlannedLayer], generator: torch.Generator) -> Weights:
    """Matrices and biases uniform in ``[-1/sqrt(fan_in), 1/sqrt(fan_in)]``, float64."""
    drawn = []
    for planned in layers:
        rows, columns = planned.matrix
        for shape in ((rows, columns), (columns,)):
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            drawn.append((2 * uniform - 1) / sqrt(rows))
    return tuple(drawn)


def forward(layers: Sequence[PlannedLayer], weights: Weights, images: Tensor) -> Tensor:
    """What the network makes of images, shape ``(B, C, H, W)``, in the clear: shape ``(B, outputs)``.

    In the weights' precision, and differentiable.
    """
    values = images.to(weights[0].dtype) if weights else images
    for number, planned in enumerate(layers):
        matrix, bias = weights[2 * number : 2 * number + 2]
        values = activate(planned.activation, linear(planned, values, matrix, bias))
    return values.flatten(1)


def descend(
    layers: Sequence[PlannedLayer], weights: Weights, features: Tensor, wanted: Tensor, learning_rate: float
) -> Weights:
    """One plain step along the gradient of the mean squared error over samples and outputs.

    Args:
        layers: of the network.
        weights: before the step.
        features: shape ``(B, C, H, W)``.
        wanted: shape ``(B, outputs)``.
        learning_rate: the step is so many gradients long.
    """
    held = tuple(weight.detach().requires_grad_() for weight in weights)
    loss = functional.mse_loss(forward(layers, held, features), wanted.to(held[0].dtype))
    gradients = torch.autograd.grad(loss, held)
    return tuple(weight.detach() - learning_rate * step for weight, step in zip(held, gradients, strict=True))


def linear(planned: PlannedLayer, values: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """A layer without its element-wise function: ``(B, *inputs)`` to ``(B, *outputs)``."""
    if planned.layer.kernel is None:
        return values.flatten(1) @ matrix + bias
    channels, kernel = planned.inputs[0], planned.layer.kernel
    filters = matrix.T.reshape(-1, channels, kernel, kernel)
    return functional.conv2d(values, filters, bias, planned.layer.stride)


def activate(activation: Activation, values: Tensor) -> Tensor:
    """The element-wise function of real numbers."""
    if activation == "relu":
        return values.relu()
    if activation == "sigmoid":
        return values.sigmoid()
    return values.square() if activation == "square" else values


def slope(activation: Activation, values: Tensor, activated: Tensor) -> Tensor:
    """The derivative of the element-wise function at ``values``, where it takes the values ``activated``."""
    if activation == "relu":
        return (values > 0).to(values.dtype)
    if activation == "sigmoid":
        return activated * (1 - activated)
    return 2 * values if activation == "square" else torch.ones_like(values)


def targets(labels: Tensor, classes: int, target: int | None) -> Tensor:
    """What the outputs are to become, float64: one-hot ``(N, classes)``, or ``(N, 1)`` for one class against all."""
    if target is None:
        return functional.one_hot(labels, classes).double()
    return (labels == target).double().unsqueeze(1)


def accuracy(predicted: Tensor, wanted: Tensor) -> float:
    """Share of samples of which the largest output, or the side of 1/2 of the only one, is right."""
    if wanted.shape[1] == 1:
        return float(((predicted > 0.5) == (wanted > 0.5)).double().mean())
    return float((predicted.argmax(1) == wanted.argmax(1)).double().mean())
