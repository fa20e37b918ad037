"""A network on encrypted samples: linear layers and squares, evaluated by a party that cannot decrypt.

CryptoNets (Gilad-Bachrach et al. 2016): the network's weights are in the clear where it is evaluated, the samples are
encrypted. A linear layer multiplies ciphertexts by known weights, a square multiplies one by itself; nothing else can
be computed, so that the inner activations are squares. The last activation is applied after decryption.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fl_attack_bench.crypto.packed_ciphertexts import NotEvaluable, PackedEvaluator, Packing
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.models import stack
from fl_attack_bench.models.stack import PlannedLayer, Weights

_COMPUTABLE = ("square", "none")


def packing(layers: Sequence[PlannedLayer], ring_size: int) -> Packing:
    """The parameters under which a network can be evaluated.

    Raises:
        NotEvaluable: a layer before the last whose activation is neither the square nor none; or too many layers for
            the ring.
        UserError: there is no such ring size.
    """
    for number, planned in enumerate(layers[:-1]):
        if planned.activation not in _COMPUTABLE:
            raise NotEvaluable(
                f"layer {number}: {planned.activation} cannot be computed on ciphertexts; use square or none"
            )
    return Packing(tuple(planned.activation == "square" for planned in layers[:-1]), ring_size)


def reach(layers: Sequence[PlannedLayer], weights: Weights) -> list[float]:
    """The largest magnitude that each layer can have before its activation, on features in [0, 1].

    By interval arithmetic, layer by layer, so that no sample exceeds it; most stay far below. Inner layers are squared
    or left alone.
    """
    found = []
    low, high = torch.zeros(1, *layers[0].inputs).double(), torch.ones(1, *layers[0].inputs).double()
    for number, planned in enumerate(layers):
        matrix, bias = (each.double() for each in weights[2 * number : 2 * number + 2])
        up, down, zero = matrix.clamp_min(0), matrix.clamp_max(0), torch.zeros_like(bias)
        low, high = (
            stack.linear(planned, low, up, bias) + stack.linear(planned, high, down, zero),
            stack.linear(planned, high, up, bias) + stack.linear(planned, low, down, zero),
        )
        found.append(float(torch.maximum(low.abs(), high.abs()).max()))
        if planned.activation == "square":
            low, high = torch.zeros_like(low), torch.maximum(low.square(), high.square())
    return found


def finished(layers: Sequence[PlannedLayer], opened: Tensor) -> Tensor:
    """The prediction: the last layer's activation, applied in the clear to what was decrypted."""
    return stack.activate(layers[-1].activation, opened)


class HomomorphicNetwork:
    """A network in the clear that is applied to ciphertexts.

    Args:
        layers: whose inner activations are ``square`` or ``none``; the last one's is left to :func:`finished`.
        weights: of the network, finite.
        evaluator: of the party that has no secret key.

    Raises:
        RangeError: the network's outputs can be larger than an answer can hold, an inner layer's values larger than
            their ciphertext, or a weight is not finite. A larger one would decrypt to a wrong number without a sign of
            it.
    """

    def __init__(self, layers: Sequence[PlannedLayer], weights: Weights, evaluator: PackedEvaluator) -> None:
        self._layers, self._weights, self._evaluator = tuple(layers), weights, evaluator
        packing = evaluator.packing
        *inner, largest = reach(layers, weights)
        if not largest <= packing.bound:  # true for NaN
            text = f"outputs of magnitude up to {largest:g} do not fit: an answer holds at most {packing.bound:g}"
            raise RangeError(text)
        for number, (reached, bound) in enumerate(zip(inner, packing.inner_bounds, strict=True)):
            if not reached <= bound:
                text = f"layer {number}: values of magnitude up to {reached:g} do not fit: there is room for {bound:g}"
                raise RangeError(text)
        self._answer_scale = packing.answer_scale(largest)

    def evaluate(self, rows: Tensor) -> Tensor:
        """Apply the network to a batch, one ciphertext a feature.

        Args:
            rows: uint8, shape ``(features, size)``: :meth:`PackedOwner.encrypt` of the flattened samples.

        Returns:
            uint8, shape ``(outputs, size)``: the last layer before its activation.

        Raises:
            BadCiphertext: bytes that are not so many fresh ciphertexts under these parameters.
        """
        values = self._evaluator.open(rows, torch.Size(self._layers[0].inputs).numel())
        for number, planned in enumerate(self._layers):
            matrix, bias = self._weights[2 * number : 2 * number + 2]
            last = number == len(self._layers) - 1
            values = self._layer(planned, values, matrix.tolist(), bias.tolist(), last=last)
        return self._evaluator.close(values)

    def _layer(
        self, planned: PlannedLayer, values: list[Any], matrix: list[list[float]], bias: list[float], *, last: bool
    ) -> list[Any]:
        """One layer, in the order of its flattened outputs; squared or rescaled, unless it is the last."""
        squared = planned.activation == "square"
        scale = self._answer_scale if last else self._inner_scale(values[0], squared=squared)
        outputs = []
        for unit, offset in zip(zip(*matrix, strict=True), bias, strict=True):
            for places in _places(planned):
                total = self._evaluator.combine([values[place] for place in places], unit, offset, scale)
                if not last:
                    (self._evaluator.square if squared else self._evaluator.rescale)(total)
                outputs.append(total)
        return outputs

    def _inner_scale(self, value: Any, *, squared: bool) -> float:
        """Of weights: a square needs room for itself; without one, the prime that is dropped restores the scale."""
        if squared:
            return float(2**self._evaluator.packing.weight_bits)
        return float(self._evaluator.dropped_next(value))


def _places(planned: PlannedLayer) -> list[list[int]]:
    """Of each position of the layer's outputs, the flattened inputs that it is computed from, in the matrix's order."""
    size = torch.Size(planned.inputs).numel()
    if planned.layer.kernel is None:
        return [list(range(size))]
    numbered = torch.arange(size).double().reshape(1, *planned.inputs)
    patches = functional.unfold(numbered, planned.layer.kernel, stride=planned.layer.stride)[0]
    found: list[list[int]] = patches.T.long().tolist()
    return found
