"""What the last layer's gradient says about the labels."""

import torch
from torch import Tensor, nn

from fl_attack_bench.api import HorizontalView, SkipCell


def last_layer_sign(view: HorizontalView) -> Tensor:
    """The label of each victim's single sample (Zhao et al. 2020, equation 5).

    With cross entropy, ``dL/dz_c = p_c - [c = y]`` is negative for the true class only. The last layer's bias
    gradient is that very vector; its weight gradient's row sums carry the same signs where no feature is negative.

    Returns:
        Shape ``(V, 1)``, int64.

    Raises:
        SkipCell: more than one sample a victim, or a network that does not end in a linear layer.
    """
    if view.batch_size != 1:
        raise SkipCell(f"the last layer's gradient tells one label by its sign, not those of {view.batch_size} samples")
    last = [(name, module) for name, module in view.model.named_modules() if not list(module.children())][-1]
    name, module = last
    if not isinstance(module, nn.Linear):
        raise SkipCell(f"the network ends in {type(module).__name__}, not in a linear layer")
    values, sent = view.layout.views(view.observed.values), view.layout.views(view.observed.sent)
    evidence = values[f"{name}.weight"].sum(-1)
    if module.bias is not None:
        seen = sent[f"{name}.bias"].any(1, keepdim=True)
        evidence = torch.where(seen, values[f"{name}.bias"], evidence)
    return evidence.argmin(1, keepdim=True)
