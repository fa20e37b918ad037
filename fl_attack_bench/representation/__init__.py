"""Representations: what enters a network's fully connected layers, and how it changes with the image."""

from fl_attack_bench.representation.jacobian import RowNorms, row_norms
from fl_attack_bench.representation.layers import arriving, extractor, inputs, linear_layers, steady
from fl_attack_bench.representation.spectrum import spectral_norm

__all__ = ["RowNorms", "arriving", "extractor", "inputs", "linear_layers", "row_norms", "spectral_norm", "steady"]
