"""Views made by hand: the exact gradients of a few images, as a server would see them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.api import HorizontalView, LocalPlan, Observation, SeenRound
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout
from fl_attack_bench.wire import Message

Hand = tuple[Tensor, Tensor]


def network(name: str, shape: tuple[int, int, int] = (1, 28, 28), **options: object) -> nn.Module:
    model = Model.model_validate({"name": name, "options": options})
    return models.build(model, shape, 10, torch.Generator().manual_seed(2)).double().eval()


def view_of(module: nn.Module, hands: Sequence[Hand], epochs: int = 1, rate: float = 0.1) -> HorizontalView:
    """Victims with as many samples each, full steps."""
    layout = Layout.of(module)
    values = torch.stack([update(module, layout, *hand, epochs, rate) for hand in hands])
    messages = tuple(Message(0, "update", f"client/{row}", "server", b"") for row in range(len(hands)))
    count = len(hands[0][1])
    return HorizontalView(
        rounds=(SeenRound(module, messages, Observation.exact(values)),),
        layout=layout,
        local=LocalPlan(count, epochs, count, rate),
        image_shape=tuple(hands[0][0].shape[1:]),
        classes=10,
        defense="none",
        defense_parameters={},
    )


def update(module: nn.Module, layout: Layout, images: Tensor, labels: Tensor, epochs: int, rate: float) -> Tensor:
    """The sum of the steps' gradients."""
    weights = layout.flatten({name: p.detach() for name, p in module.named_parameters()})
    total = torch.zeros_like(weights)
    for _ in range(epochs):
        parameters = layout.views(weights.clone().requires_grad_())
        loss = nn.functional.cross_entropy(torch.func.functional_call(module, parameters, (images,)), labels)
        gradient = layout.flatten(
            dict(zip(parameters, torch.autograd.grad(loss, tuple(parameters.values())), strict=True))
        )
        total += gradient
        weights = weights - rate * gradient
    return total


def changed(view: HorizontalView, name: str, *, value: float = 0.0, sent: bool = False) -> HorizontalView:
    """The view with a parameter's entries overwritten: not sent, or sent and known to be destroyed."""
    place, seen = view.layout.slices[name], view.observed
    values, carried, noise = seen.values.clone(), seen.sent.clone(), seen.noise.clone()
    values[:, place], carried[:, place], noise[:, place] = value, sent, torch.inf
    return replace(view, rounds=(replace(view.rounds[0], observed=Observation(values, carried, noise)),))


def only(view: HorizontalView, row: int) -> HorizontalView:
    seen, rows = view.observed, slice(row, row + 1)
    kept = Observation(seen.values[rows], seen.sent[rows], seen.noise[rows])
    return replace(view, rounds=(replace(view.rounds[0], messages=view.messages[rows], observed=kept),))


def with_values(view: HorizontalView, values: Tensor) -> HorizontalView:
    return replace(view, rounds=(replace(view.rounds[0], observed=replace(view.observed, values=values)),))
