"""The papers' networks, by name."""

from dataclasses import dataclass

import torch
from torch import nn

from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.models.convnet import ConvNet
from fl_attack_bench.models.lenet5 import LeNet5
from fl_attack_bench.models.lenet_dlg import LeNetDlg
from fl_attack_bench.models.network import Network, Normalise, Shape
from fl_attack_bench.models.shallow import LinearRegression, Logistic, Mlp
from fl_attack_bench.models.vgg16 import Vgg16
from fl_attack_bench.schema import parse
from fl_attack_bench.tasks.base import Value
from fl_attack_bench.tasks.horizontal import Model

__all__ = ["Description", "Network", "build", "check", "describe", "fits", "names"]

_NETWORKS: dict[str, type[Network]] = {
    "convnet": ConvNet,
    "lenet5": LeNet5,
    "lenet_dlg": LeNetDlg,
    "linear_regression": LinearRegression,
    "logistic": Logistic,
    "mlp": Mlp,
    "vgg16": Vgg16,
}


@dataclass(frozen=True)
class Description:
    """What the documentation and the board say of a network.

    Args:
        name: as a suite writes it.
        title: for people.
        paper: where it comes from.
        text: one or two sentences.
        batch_norm: what batch norm it has, and how attacks treat it.
        smallest: the least height and width of its images, in pixels.
        options: every option and its default.
    """

    name: str
    title: str
    paper: str
    text: str
    batch_norm: str
    smallest: int
    options: dict[str, Value]


def names() -> list[str]:
    """The networks' names."""
    return sorted(_NETWORKS)


def describe(name: str) -> Description:
    """A network's description.

    Raises:
        UnknownNameError: no such network.
    """
    cls = _find(name)
    return Description(
        name=name,
        title=cls.title,
        paper=cls.paper,
        text=" ".join((cls.__doc__ or "").split()),
        batch_norm=cls.batch_norm,
        smallest=cls.smallest,
        options=cls.schema().model_dump(),
    )


def check(model: Model) -> None:
    """Refuse what :func:`build` would refuse whatever the images are, without building.

    Raises:
        UserError: unknown network, unknown or illegal option.
    """
    parse(_find(model.name).schema, model.options, f"model {model.name!r}")


def fits(model: Model, dataset: str, *, numbers: bool) -> None:
    """Refuse a network that predicts classes where the targets are numbers, and the other way round.

    Raises:
        UserError: names the network and the dataset.
    """
    if _for_numbers(_find(model.name)) == numbers:
        return
    others = ", ".join(name for name in names() if _for_numbers(_NETWORKS[name]) == numbers)
    what, wanted = ("class labels", "numbers")[:: 1 if numbers else -1]
    raise UserError(
        f"model {model.name!r} predicts {what}, and the targets of dataset {dataset!r} are {wanted}: take {others}"
    )


def build(model: Model, image_shape: Shape, classes: int, generator: torch.Generator) -> Network:
    """A freshly initialised network on the CPU, in training mode.

    Args:
        model: name and options, as a suite writes them.
        image_shape: ``(C, H, W)``.
        classes: number of labels; 1 where the targets are numbers.
        generator: the only source of randomness: one state gives the same weights, bit for bit, and the global
            generator is left alone.

    Raises:
        UserError: unknown network, unknown or illegal option, images too small, or several classes for a network
            that predicts one number.
    """
    cls = _find(model.name)
    where = f"model {model.name!r}"
    if _for_numbers(cls) and classes != 1:
        raise UserError(f"{where} predicts one number, and there are {classes} classes: take another model")
    options = parse(cls.schema, model.options, where)
    _, height, width = image_shape
    if min(height, width) < cls.smallest:
        raise UserError(
            f"{where} needs images of at least {cls.smallest}x{cls.smallest} pixels, got {height}x{width}: "
            "take another model or dataset"
        )
    # On the meta device a layer's constructor draws no numbers; the default initialisation costs nothing either.
    with torch.device("meta"):
        network = cls(image_shape, classes, options)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, Normalise):
                module.fill()
        network.initialise(generator)
    return network


def _for_numbers(network: type[Network]) -> bool:
    return issubclass(network, LinearRegression)


def _find(name: str) -> type[Network]:
    if name not in _NETWORKS:
        raise UnknownNameError("model", name, _NETWORKS)
    return _NETWORKS[name]
