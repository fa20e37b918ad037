"""Products that are linear in both factors: what one multiplication triple serves (rtas-2021, section 4.1).

Each is a function of an arithmetic and two tensors, so that the same product runs on numbers, shares and masks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.models.stack import PlannedLayer
from fl_attack_bench.sharing.arithmetic import Arithmetic

Shape = tuple[int, ...]


class Product(ABC):
    """``f(x, y)`` with ``f(x + x', y) = f(x, y) + f(x', y)``, and the same in y."""

    @abstractmethod
    def __call__(self, arithmetic: Arithmetic, left: Tensor, right: Tensor) -> Tensor:
        """The product."""

    @abstractmethod
    def shape(self, left: Shape, right: Shape) -> Shape:
        """Of the product.

        Raises:
            ValueError: the factors do not fit together.
        """

    @abstractmethod
    def terms(self, left: Shape, right: Shape) -> int:
        """How many products are summed in one entry."""


@dataclass(frozen=True)
class MatMul(Product):
    """``op(x) op(y)`` of two matrices, where op may transpose."""

    transpose_left: bool = False
    transpose_right: bool = False

    def __call__(self, arithmetic: Arithmetic, left: Tensor, right: Tensor) -> Tensor:
        """The matrix product."""
        return arithmetic.matmul(left.T if self.transpose_left else left, right.T if self.transpose_right else right)

    def shape(self, left: Shape, right: Shape) -> Shape:
        """``(m, k), (k, n)`` to ``(m, n)``."""
        if len(left) == len(right) == 2:
            rows, inner = reversed(left) if self.transpose_left else left
            other, columns = reversed(right) if self.transpose_right else right
            if inner == other:
                return rows, columns
        raise ValueError(f"{self} cannot multiply {left} and {right}")

    def terms(self, left: Shape, right: Shape) -> int:
        """K."""
        del right
        return left[0] if self.transpose_left else left[1]


@dataclass(frozen=True)
class Elementwise(Product):
    """``x * y`` of two tensors of one shape."""

    def __call__(self, arithmetic: Arithmetic, left: Tensor, right: Tensor) -> Tensor:
        """Entry by entry."""
        del arithmetic
        return left * right

    def shape(self, left: Shape, right: Shape) -> Shape:
        """Theirs."""
        if left != right:
            raise ValueError(f"{self} cannot multiply {left} and {right}")
        return left

    def terms(self, left: Shape, right: Shape) -> int:
        """One."""
        del left, right
        return 1


@dataclass(frozen=True)
class Convolve(Product):
    """Images ``(B, C, H, W)`` and a matrix ``(C k k, F)`` to ``(B, F, H', W')``: patches times filters."""

    planned: PlannedLayer

    def __call__(self, arithmetic: Arithmetic, left: Tensor, right: Tensor) -> Tensor:
        """The convolution."""
        filters, *sides = self.planned.outputs
        rows = arithmetic.matmul(patches(left, self.planned), right)
        return rows.reshape(len(left), *sides, filters).permute(0, 3, 1, 2).contiguous()

    def shape(self, left: Shape, right: Shape) -> Shape:
        """``(B, F, H', W')``."""
        if left[1:] != self.planned.inputs or right != self.planned.matrix:
            raise ValueError(f"a convolution of {self.planned.inputs} cannot multiply {left} and {right}")
        return left[0], *self.planned.outputs

    def terms(self, left: Shape, right: Shape) -> int:
        """Entries of a filter."""
        del left
        return right[0]


@dataclass(frozen=True)
class FilterGradient(Product):
    """Images ``(B, C, H, W)`` and errors ``(B, F, H', W')`` to ``(C k k, F)``: ``patches^T errors``."""

    planned: PlannedLayer

    def __call__(self, arithmetic: Arithmetic, left: Tensor, right: Tensor) -> Tensor:
        """The gradient with respect to the filters."""
        return arithmetic.matmul(patches(left, self.planned).T, _positions(right))

    def shape(self, left: Shape, right: Shape) -> Shape:
        """``(C k k, F)``."""
        if left[1:] != self.planned.inputs or right != (left[0], *self.planned.outputs):
            raise ValueError(f"filters of {self.planned.inputs} have no gradient from {left} and {right}")
        return self.planned.matrix

    def terms(self, left: Shape, right: Shape) -> int:
        """Patches."""
        del left
        return right[0] * right[2] * right[3]


@dataclass(frozen=True)
class ImageGradient(Product):
    """Errors ``(B, F, H', W')`` and a matrix ``(C k k, F)`` to ``(B, C, H, W)``: ``errors W^T``, patches added up."""

    planned: PlannedLayer

    def __call__(self, arithmetic: Arithmetic, left: Tensor, right: Tensor) -> Tensor:
        """The gradient with respect to the images."""
        channels = self.planned.inputs[0]
        kernel, stride = self.planned.layer.kernel or 1, self.planned.layer.stride
        _, height, width = self.planned.outputs
        rows = arithmetic.matmul(_positions(left), right.T)
        each = rows.reshape(len(left), height, width, channels, kernel, kernel).permute(0, 3, 4, 5, 1, 2)
        images = torch.zeros((len(left), *self.planned.inputs), dtype=left.dtype, device=left.device)
        for row in range(kernel):
            for column in range(kernel):
                rows_of = slice(row, row + stride * (height - 1) + 1, stride)
                columns_of = slice(column, column + stride * (width - 1) + 1, stride)
                images[:, :, rows_of, columns_of] += each[:, :, row, column]
        return images

    def shape(self, left: Shape, right: Shape) -> Shape:
        """``(B, C, H, W)``."""
        if left[1:] != self.planned.outputs or right != self.planned.matrix:
            raise ValueError(f"images of {self.planned.inputs} have no gradient from {left} and {right}")
        return left[0], *self.planned.inputs

    def terms(self, left: Shape, right: Shape) -> int:
        """Filters times the places of a kernel that meet in a pixel, at most."""
        del left
        return right[1] * (self.planned.layer.kernel or 1) ** 2


def patches(images: Tensor, planned: PlannedLayer) -> Tensor:
    """What each filter position sees, shape ``(B H' W', C k k)``."""
    kernel, stride = planned.layer.kernel or 1, planned.layer.stride
    windows = images.unfold(2, kernel, stride).unfold(3, kernel, stride)
    return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, planned.matrix[0])


def _positions(errors: Tensor) -> Tensor:
    """``(B, F, H', W')`` to one row a position, ``(B H' W', F)``."""
    return errors.permute(0, 2, 3, 1).reshape(-1, errors.shape[1])


def forward_product(planned: PlannedLayer) -> Product:
    """A layer's own product of inputs and weights."""
    return MatMul() if planned.layer.kernel is None else Convolve(planned)


def weight_product(planned: PlannedLayer) -> Product:
    """Of inputs and errors: the gradient with respect to the weights."""
    return MatMul(transpose_left=True) if planned.layer.kernel is None else FilterGradient(planned)


def input_product(planned: PlannedLayer) -> Product:
    """Of errors and weights: the gradient with respect to the inputs."""
    return MatMul(transpose_right=True) if planned.layer.kernel is None else ImageGradient(planned)
