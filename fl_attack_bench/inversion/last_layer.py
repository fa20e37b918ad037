"""What the gradient of the last layer says about each class of a victim's batch.

With cross entropy, the last layer's gradients are sums over the classes c that are in the batch::

    dL/dW = sum_c (n_c / B) (p_c - e_c) r_c^T        dL/db = sum_c (n_c / B) (p_c - e_c)

where a class has ``n_c`` samples, ``r_c`` is their mean representation (the layer's input) and ``p_c`` the
probabilities that the model gives them. The adversary knows the weights, so ``p_c = softmax(W r_c + b)`` up to the
difference between a mean of softmaxes and the softmax of a mean. The three are solved for in turn, from what probe
images give.

Sources: Wainakh et al. 2021 (LLG) for probing the model with dummy images; Ma et al. 2022 (iLRG) for probabilities that
follow from inferred representations, and for the linear system in the counts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fl_attack_bench.api import HorizontalView, Observation, SkipCell
from fl_attack_bench.representation import inputs

_ROUNDS = 15
# In units of the largest squared step in A: what the gradient cannot tell apart stays as the probe images have it.
_RIDGE = 1e-2
_WAVES = 4


@dataclass(frozen=True)
class LastLayer:
    """The last layer with what was read of its gradient, in double precision; one local step's average.

    Args:
        name: of the layer.
        weight: W, shape ``(V, K, L)``, halfway through each victim's local steps.
        bias: b, shape ``(V, K)``; zeros for a layer without.
        weight_gradient: shape ``(V, K, L)``; 0 where not known.
        bias_gradient: shape ``(V, K)``, estimated from the weight gradient where the bias's was not sent.
        doubt: shape ``(V, K)``: standard deviation of the noise on ``bias_gradient``.
        known: shape ``(V, L)``, bool: features of which anything was read.
        typical: shape ``(L,)``: the mean representation of probe images.
        prior: shape ``(V, K)``: the mean probabilities of probe images.
    """

    name: str
    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    doubt: Tensor
    known: Tensor
    typical: Tensor
    prior: Tensor


@dataclass(frozen=True)
class ClassWise:
    """What was inferred for each victim and class.

    Args:
        counts: n, shape ``(V, K)``: not yet whole numbers; not negative, a row sums to B.
        probabilities: p, shape ``(V, K, K)``: row c is what the model gives to samples of class c.
        representations: r, shape ``(V, K, L)``; those of classes with no samples mean nothing.
    """

    counts: Tensor
    probabilities: Tensor
    representations: Tensor


def probed(view: HorizontalView) -> dict[str, Tensor]:
    """What the probe images send into each fully connected layer, by its name, in the order as called.

    Raises:
        SkipCell: the network has none, or something follows the last one.
    """
    images = probes(view.image_shape).to(next(view.model.parameters()))
    with torch.no_grad():
        entered = inputs(view.model, images)
        name, last = list(entered.items())[-1]
        logits, output = view.model(images), view.model.get_submodule(name)(last)
    if logits.shape != output.shape or not torch.allclose(logits, output, rtol=1e-4, atol=1e-5):
        raise SkipCell(f"{type(view.model).__name__} does not end in a linear layer: something follows {name}")
    return entered


def read(view: HorizontalView) -> LastLayer:
    """The last layer as the view shows it.

    An entry that was not sent, or that a defense destroyed, is not known. Where a class's bias entry is not, the
    projection of its weight row on a typical representation stands in: ``dL/db_c ~ <dL/dW_c, r> / <r, r>``.

    Raises:
        SkipCell: the network does not end in a linear layer, or nothing of that layer's gradient can be read.
    """
    name, features = list(probed(view).items())[-1]
    layer = view.model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    weight = halfway(view, f"{name}.weight")
    bias = torch.zeros_like(weight[..., 0]) if layer.bias is None else halfway(view, f"{name}.bias")
    features = features.double()
    typical = features.mean(0)
    known = readable(view.observed)
    gradients, seen = view.layout.views(step_average(view)), view.layout.views(known)
    noise = view.layout.views(torch.where(known, view.observed.noise.double().nan_to_num(), 0.0))
    rows, columns = gradients[f"{name}.weight"], seen[f"{name}.weight"]
    shadow = rows @ typical / (columns * typical.square()).sum(-1).clamp(min=1e-12)
    doubt = torch.zeros_like(shadow)
    if layer.bias is not None:
        sent = seen[f"{name}.bias"]
        shadow = torch.where(sent, gradients[f"{name}.bias"], shadow)
        doubt = torch.where(sent, noise[f"{name}.bias"] / view.local.steps, doubt)
        columns = torch.cat([columns, sent.unsqueeze(-1)], -1)
    if not columns.any():
        raise SkipCell(f"nothing of the gradient of the last layer, {name}, can be read")
    return LastLayer(
        name=name,
        weight=weight,
        bias=bias,
        weight_gradient=rows,
        bias_gradient=shadow,
        doubt=doubt,
        known=seen[f"{name}.weight"].any(1),
        typical=typical,
        prior=(features @ weight.mT + bias.unsqueeze(1)).softmax(-1).mean(1),
    )


def readable(observed: Observation) -> Tensor:
    """Entries that say something of their true value: sent, and not destroyed; shape ``(V, n)``, bool."""
    return observed.sent & ~observed.noise.isposinf()


def step_average(view: HorizontalView) -> Tensor:
    """The average gradient of a victim's local steps in double precision, shape ``(V, n)``; 0 where not readable.

    After several steps this is nearly the gradient over all of its samples. NaN and infinity read 0.
    """
    values = (view.observed.values.double() / view.local.steps).nan_to_num(0, 0, 0)
    return values * readable(view.observed)


def halfway(view: HorizontalView, name: str) -> Tensor:
    """A parameter halfway through each victim's local steps, in double precision, shape ``(V, *shape)``.

    ``w - learning_rate (T - 1) / 2 * average gradient``: the mean of where the T gradients were taken, if the weights
    moved evenly; the server sees how far. For one step it is the parameter that the server sent.
    """
    sent = view.model.get_parameter(name).detach().double()
    moved = view.layout.views(step_average(view))[name]
    return sent - view.learning_rate * (view.local.steps - 1) / 2 * moved


def solve(layer: LastLayer, samples: int, counts: Tensor | None = None) -> ClassWise:
    """Counts, probabilities and representations that fit together.

    Args:
        layer: as it was read.
        samples: B of each victim.
        counts: shape ``(V, K)``, where they are known.
    """
    victims, classes = layer.bias_gradient.shape
    probabilities = layer.prior.unsqueeze(1).expand(-1, classes, -1)
    representations = layer.typical.expand(victims, classes, -1)
    shares = _shares(layer.prior - layer.bias_gradient) if counts is None else counts / samples
    for _ in range(_ROUNDS):
        steps = errors(probabilities) * shares.unsqueeze(-1)
        representations = regress(layer.weight_gradient, steps, layer.typical, layer.known.unsqueeze(1))
        probabilities = (representations @ layer.weight.mT + layer.bias.unsqueeze(1)).softmax(-1)
        shares = _fit(layer.bias_gradient, probabilities) if counts is None else shares
    return ClassWise(shares * samples, probabilities, representations)


def probes(shape: tuple[int, int, int]) -> Tensor:
    """Grey images and slow cosine waves in [0, 1]: what a server without data can look at a network with.

    Args:
        shape: ``(C, H, W)``.

    Returns:
        Shape ``(35, C, H, W)``; the same in every channel.
    """
    channels, height, width = shape
    turns = torch.arange(_WAVES) * torch.pi
    down = torch.cos(turns.unsqueeze(1) * torch.linspace(0, 1, height))
    across = torch.cos(turns.unsqueeze(1) * torch.linspace(0, 1, width))
    waves = 0.5 * (down[:, None, :, None] * across[None, :, None, :]).flatten(0, 1)[1:]
    flat = torch.linspace(-0.5, 0.5, 5).view(-1, 1, 1).expand(-1, height, width)
    images = 0.5 + torch.cat([flat, waves, -waves])
    return images.unsqueeze(1).expand(-1, channels, -1, -1)


def errors(probabilities: Tensor) -> Tensor:
    """Row c is ``p_c - e_c``, the gradient that a sample of class c sends to the logits; shape kept."""
    return probabilities - torch.eye(probabilities.shape[-1]).to(probabilities)


def regress(gradient: Tensor, steps: Tensor, typical: Tensor, known: Tensor) -> Tensor:
    """Class-wise inputs R of a layer: ``min ||G - A R||^2 + lambda ||R - typical||^2``.

    Args:
        gradient: G, of the layer's weight, shape ``(V, J, L)``.
        steps: the columns of A, shape ``(V, K, J)``: the gradient at the layer's output that a class sends.
        typical: shape ``(L,)``.
        known: shape ``(V, 1, L)``, bool: inputs of which anything was read; the others stay typical.

    Returns:
        R, shape ``(V, K, L)``.
    """
    gram = steps @ steps.mT
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-30)
    gram = gram + ridge[:, None, None] * torch.eye(gram.shape[-1]).to(gram)
    common = typical.expand(*steps.shape[:2], -1)
    missing = (gradient - steps.mT @ common) * known
    found: Tensor = common + torch.linalg.solve(gram, steps @ missing)
    return found


def _fit(bias_gradient: Tensor, probabilities: Tensor) -> Tensor:
    """Least squares for the shares of the classes, which sum to one: ``sum_c s_c (p_c - e_c) = dL/db``."""
    system = torch.cat([errors(probabilities).mT, torch.ones_like(probabilities[:, :1])], 1)
    wanted = torch.cat([bias_gradient, torch.ones_like(bias_gradient[:, :1])], 1)
    return _shares((torch.linalg.pinv(system) @ wanted.unsqueeze(-1)).squeeze(-1))


def _shares(values: Tensor) -> Tensor:
    """Not negative, rows that sum to one."""
    positive = values.clamp(min=0)
    total = positive.sum(1, keepdim=True)
    return torch.where(total > 0, positive / total, 1 / values.shape[1])
