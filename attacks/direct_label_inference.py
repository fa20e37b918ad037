"""Direct label inference from the sign of the returned gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_attack_bench.api import Card, LabelAttack, PassiveView, SkipCell, Streams
from fl_attack_bench.inversion.ridge import held_out

MIN_SIGNAL = 1e-3
TIE = 1e-12


@dataclass(frozen=True)
class DirectLabelInference(LabelAttack):
    """Read each label off the negative entry of its sample's gradient (Liu et al. 2020, section 5.3).

    Where the sum of the embeddings is the logits, a sample's gradient is ``S - e_y``, whose only negative entry is the
    label's. The evidence is the sum Z of all that was sent of a sample: noise averages out, and what sparsification
    held back in one epoch is in what it sends in a later one. The label is the entry where Z is the most negative.

    With ``features`` the adversary also uses that samples with similar features of its own tend to have similar
    gradients. F is what ridge regression on all other samples says of Z; the best linear estimate is ``Z + v/t F`` up
    to scale, with the variance v of the noise in Z and t of what F misses of the signal. Both can be measured: a true
    gradient sums to zero over its entries, so ``v = mean((sum_j Z_j)^2) / d``. What sparsification still holds back
    is missing in that sum but is no noise; where there is any, v is at most what negative entries other than the
    most negative one amount to. Without noise v is zero and Z decides, and F where nothing was sent.

    Args:
        features: weigh the evidence against that of samples with similar features.
    """

    card = Card(
        title="Direct label inference",
        paper="https://arxiv.org/abs/2007.03608",
        threat="curious passive party",
        assumes="the top model is the sum, the loss is softmax cross entropy",
        notes="The direct attack of Fu et al. 2022 (https://www.usenix.org/conference/usenixsecurity22/presentation/"
        "fu-chong) is the same rule. Published for a single gradient; here for all epochs' together. The use of its "
        "own features is not published: features=False leaves it out. On a trainable top it guesses.",
    )
    features: bool = True

    def infer(self, view: PassiveView, streams: Streams) -> Tensor:
        """The most negative entry of each sample's evidence."""
        del streams
        width = view.epochs[0].gradients.shape[1]
        if width < view.classes:
            raise SkipCell(f"gradients of {width} entries have no entry for each of {view.classes} classes")
        total = torch.stack([seen.gradients.double().where(seen.sent, 0) for seen in view.epochs]).sum(0)
        total = total.nan_to_num(0.0, 0.0, 0.0)
        evidence = total[:, : view.classes]
        if self.features:
            evidence = _supported(evidence, _noise(total, all(bool(seen.sent.all()) for seen in view.epochs)), view)
        labels = evidence.argmin(1)
        silent = (evidence == 0).all(1)
        if bool(silent.any()) and not bool(silent.all()):
            labels[silent] = labels[~silent].bincount(minlength=view.classes).argmax()
        labels[view.known] = view.known_labels
        return labels


def _noise(total: Tensor, complete: bool) -> float:
    """The variance of the noise on each entry of the evidence, where all entries were sent or not."""
    from_sums = float(total.sum(1).square().mean()) / total.shape[1]
    if complete:
        return from_sums
    negative = total.clamp(max=0).square()
    beside_the_label = negative.sum() - negative.amax(1).sum()
    # Half of the noise is negative.
    return min(from_sums, 2 * float(beside_the_label) / total.numel())


@torch.no_grad()
def _supported(evidence: Tensor, noise: float, view: PassiveView) -> Tensor:
    """The evidence with that of samples with similar features."""
    own = torch.cat([view.features, view.bottom(view.features)], dim=1)
    expected = held_out(own.nan_to_num(0.0, 0.0, 0.0), evidence)
    missed = float((evidence - expected).square().mean()) - noise
    # Under heavy noise the difference of two estimates may be anything; without any, the features decide ties only.
    ratio = noise / max(missed, MIN_SIGNAL * noise) if noise > 0 else 0.0
    return evidence + expected * max(ratio, TIE)
