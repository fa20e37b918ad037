"""The triple that a defense is scored on: privacy, utility and cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fl_attack_bench.score.estimates import Estimate
from fl_attack_bench.score.learned import Course, Spread

Moment = Literal["initial", "trained"]
MOMENTS: tuple[Moment, ...] = ("initial", "trained")


@dataclass(frozen=True)
class WorstCase:
    """The lowest MSE that any counting attack reached, image by image, at one moment of the training.

    Args:
        moment: ``initial`` or ``trained``.
        mean: over images and seeds, clipped pixels in [0, 1]; higher is better for the defense.
        median: likewise.
        ssim: mean structural similarity of those worst reconstructions, in [-1, 1]; lower is better for the defense.
        psnr: their median peak signal-to-noise ratio in decibels; None where it is infinite (no error at all).
        broken: share of the images that a counting attack brings below the gate's MSE without running off, in [0, 1].
        reconstructions: how many there are: images x seeds.
        strongest: attack labels with the number of images on which each was the strongest, most often first.
    """

    moment: Moment
    mean: Estimate
    median: Estimate
    ssim: float
    psnr: float | None
    broken: float
    reconstructions: int
    strongest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Certification:
    """A defense's certified bound beside what one attack reached: counts of images, medians in pixel L2 distance.

    Args:
        images: with a bound.
        reproducing: of them, those whose reconstruction reproduces the representation that was let through; of the
            others the bound says nothing.
        kept: of those, the ones whose distance is not below the bound, less the share by which they miss it.
        bound: median over all images with a bound of the least ``||X - X'||_2``.
        distance: median measured ``||X - X'||_2`` of the same images; higher is better for the defense.
    """

    images: int
    reproducing: int
    kept: int
    bound: float
    distance: float


@dataclass(frozen=True)
class AttackScore:
    """One attack by itself at one moment. For a defense a high MSE is good, all else is better low.

    Args:
        attack: its label.
        moment: ``initial`` or ``trained``.
        mean: of the clipped MSE over images and seeds; None for an attack that returns no images.
        baseline_share: share of the undefended images that it breaks; None without an undefended record.
        passed: whether it passes the gate, that is, counts in the worst case.
        diverged: images on which it ran off.
        label_accuracy: share of labels inferred rightly, mean over seeds, in [0, 1]; None where it infers none.
        correlations: by layer, of inferred with true class-wise representations, mean over seeds, in [0, 1].
        blind: likewise, of a guess that saw no gradient.
        classes_found: share of the victims' classes that it found a representation for, mean over seeds; None where it
            looks for none.
        certified: the defense's bound beside what this attack reached; None where the defense states none.
    """

    attack: str
    moment: Moment
    mean: float | None
    baseline_share: float | None
    passed: bool
    diverged: int = 0
    label_accuracy: float | None = None
    correlations: Mapping[str, float] = field(default_factory=dict)
    blind: Mapping[str, float] = field(default_factory=dict)
    classes_found: float | None = None
    certified: Certification | None = None

    @property
    def leaks(self) -> bool:
        """Whether it infers anything but images."""
        return self.label_accuracy is not None or bool(self.correlations)


@dataclass(frozen=True)
class UtilityScore:
    """Test accuracy over seeds, as a fraction in [0, 1]; where the targets are numbers, R^2 clipped to it.

    Args:
        accuracy: mean over seeds; higher is better.
        sd: sample standard deviation over seeds; None for one seed.
        difference: mean of (this defense - undefended) over the seeds that both have; None where there are none.
        difference_sd: its sample standard deviation.
        centralised: mean accuracy of the network trained in one place.
        seeds: number of seeds.
        diverged: seeds whose training diverged.
        rmse: root mean squared error in the target's unit, lower is better; None for class labels.
        course: what went wrong on the way.
    """

    accuracy: float
    sd: float | None
    difference: float | None
    difference_sd: float | None
    centralised: float
    seeds: int
    diverged: int
    rmse: Spread | None = None
    course: Course = field(default_factory=Course)


@dataclass(frozen=True)
class CostScore:
    """Bytes (exact) and seconds, means over seeds; lower is better. ``*_times`` are multiples of undefended.

    Args:
        rounds: of the training.
        bytes_up: a client's upload in one round.
        bytes_down: a client's download in one round.
        bytes_peers: what a client sends to other clients in one round.
        bytes_total: all bytes of all parties over the training.
        bytes_round: all bytes of all parties in one round; a training that stopped early is no cheaper by it.
        client_seconds: of one client's round, measured; None where it was not.
        defense_seconds: the defense's own part of it.
        server_seconds: of the server's round, measured.
        seconds: by link name: client + server + network seconds of one round.
        up_times: of ``bytes_up``; None without an undefended record.
        down_times: of ``bytes_down``.
        round_times: of ``bytes_round``.
        seconds_times: of ``seconds``, by link name.
    """

    rounds: int
    bytes_up: float
    bytes_down: float
    bytes_peers: float
    bytes_total: float
    bytes_round: float
    client_seconds: float | None
    defense_seconds: float | None
    server_seconds: float | None
    seconds: Mapping[str, float]
    up_times: float | None = None
    down_times: float | None = None
    round_times: float | None = None
    seconds_times: Mapping[str, float] = field(default_factory=dict)
