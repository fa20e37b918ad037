"""Tasks in which the owners of data share it out to compute parties that learn and predict on it.

Source: rtas-2021, Zheng, "Private machine learning by random transformations" (WWW '21 submission; arXiv 2008.07758),
sections 4 and 5.
"""

from typing import Literal

from pydantic import Field, model_validator

from fl_attack_bench.schema import Document
from fl_attack_bench.tasks.base import BaseTask

Activation = Literal["relu", "sigmoid", "square", "none"]


class Layer(Document):
    """One layer of the network: a linear map with a bias, then an element-wise function.

    Args:
        kind: ``dense``, on the flattened values before it, or ``convolution``, without padding.
        outputs: units, or filters.
        kernel: height and width of a filter; of convolutions only.
        stride: of convolutions.
        activation: the element-wise function.
    """

    kind: Literal["dense", "convolution"]
    outputs: int = Field(ge=1, le=65_536)
    kernel: int | None = Field(default=None, ge=1, le=64)
    stride: int = Field(default=1, ge=1, le=64)
    activation: Activation = "none"

    @model_validator(mode="after")
    def _sound(self) -> "Layer":
        if (self.kernel is not None) != (self.kind == "convolution"):
            raise ValueError("a convolution needs a kernel, and a dense layer has none")
        if self.kind == "dense" and self.stride != 1:
            raise ValueError("a dense layer has no stride")
        return self


class OutsourcedTraining(Document):
    """Stochastic gradient descent on the mean squared error over samples and outputs.

    Args:
        steps: batches; the samples are shuffled anew whenever too few are left for one.
        batch_size: samples a step.
        learning_rate: of a plain step.
    """

    steps: int = Field(ge=1, le=100_000)
    batch_size: int = Field(default=32, ge=1, le=65_536)
    learning_rate: float = Field(default=0.1, gt=0, le=1000)


class OutsourcedTask(BaseTask):
    """Owners of features and of labels, and parties that compute for them.

    Args:
        scenario: ``outsourced``.
        layers: of the network, which all parties know; the last one's activation gives the prediction.
        training: how it learns.
        inference_batch: samples that are predicted at a time, and that the cost of an inference is of.
        target: the class that is to be told from all others, by one output; None for one output a class.
        victims: how many samples attacks go for: the first ones of the training set where an attack watches the
            training, of the test set where it watches the inference. None: nothing is attacked.
    """

    scenario: Literal["outsourced"]
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=16)
    training: OutsourcedTraining
    inference_batch: int = Field(default=32, ge=1, le=65_536)
    target: int | None = Field(default=None, ge=0)
    victims: int | None = Field(default=None, ge=1, le=4096)

    @property
    def attacked(self) -> bool:
        """Whether attacks are played on it."""
        return self.victims is not None

    @property
    def length(self) -> str:
        """``300 steps``."""
        return f"{self.training.steps} steps"

    @property
    def at_stake(self) -> str:
        """What is attacked."""
        return f"{self.victims} victims" if self.victims else "nobody attacks"

    @property
    def network(self) -> str:
        """The layers in a few words: ``conv 4x4/2 4 relu, dense 100 sigmoid``."""
        return ", ".join(_in_words(layer) for layer in self.layers)

    @model_validator(mode="after")
    def _sound(self) -> "OutsourcedTask":
        if self.target is not None and self.layers[-1].outputs != 1:
            raise ValueError(f"one class against all others needs one output, not {self.layers[-1].outputs}")
        after_dense = [layer.kind for layer in self.layers]
        if "dense" in after_dense and "convolution" in after_dense[after_dense.index("dense") :]:
            raise ValueError("a convolution cannot follow a dense layer: it needs an image")
        return self


def _in_words(layer: Layer) -> str:
    kind = f"conv {layer.kernel}x{layer.kernel}/{layer.stride}" if layer.kind == "convolution" else "dense"
    return f"{kind} {layer.outputs}" + (f" {layer.activation}" if layer.activation != "none" else "")
