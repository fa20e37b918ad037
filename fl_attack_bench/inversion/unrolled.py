"""What candidate images would have sent after several local SGD steps, differentiable with respect to the images."""

import copy

import torch
from torch import Tensor, nn

from fl_attack_bench.api import LocalPlan
from fl_attack_bench.inversion.per_sample import Loss, VictimGradients
from fl_attack_bench.update import Layout


class UnrolledUpdates:
    """The sum of the gradients of each victim's local steps (Geiping et al. 2020, section 6).

    ``w_{s+1} = w_s - lr * g_s`` with ``g_s`` the gradient of the mean loss of step s's batch at ``w_s``; the update is
    ``sum_s g_s``. All victims begin at the server's weights; from the second step on each has its own. Batches are
    taken in the order in which the candidates stand, the same in each epoch: the client's shuffling is not known.

    Args:
        model: in evaluation mode; it is copied, never changed.
        layout: of its parameters.
        loss: ``(logits (M, K), targets (M, K)) -> (M,)``, one loss a sample.
        local: the local work.
    """

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss, local: LocalPlan) -> None:
        self._layout, self._loss, self._local = layout, loss, local
        self._model = copy.deepcopy(model).requires_grad_(False).eval()
        self._at_the_server = VictimGradients(model, layout, loss)
        self._weights = layout.flatten({name: p.detach() for name, p in self._model.named_parameters()})
        self._buffers = dict(self._model.named_buffers())
        each = torch.func.grad(self._mean_loss)
        self._by_victim = torch.func.vmap(each, in_dims=(0, 0, 0), randomness="error")

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Updates of V victims with B samples each.

        Args:
            images: shape ``(V, B, C, H, W)``.
            targets: class probabilities, shape ``(V, B, K)``.

        Returns:
            Shape ``(V, n)``, in layout order, on the graph of ``images`` and ``targets``.
        """
        size, rate = self._local.batch_size, self._local.learning_rate
        steps = [*zip(images.split(size, dim=1), targets.split(size, dim=1), strict=True)] * self._local.epochs
        update = self._at_the_server(*steps[0])
        for some, wanted in steps[1:]:
            weights = self._layout.views(self._weights - rate * update)
            gradient = self._by_victim(weights, some, wanted)
            update = update + self._layout.flatten(gradient, batch_dims=1)
        return update

    def _mean_loss(self, parameters: dict[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
        logits = torch.func.functional_call(self._model, (parameters, self._buffers), (images,))
        return self._loss(logits, targets).mean()
