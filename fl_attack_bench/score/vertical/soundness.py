"""Whether a record of a vertical task that parses can be true: strangers hand records in."""

import math
from collections.abc import Sequence

from fl_attack_bench.record import Record
from fl_attack_bench.score.soundness import IMPOSSIBLE
from fl_attack_bench.tasks import VerticalTask
from fl_attack_bench.vertical_record import FeaturesReconstructed, LabelsInferred, Triggered, VerticalCost
from fl_attack_bench.vertical_record import VerticalLearned as Learned

MOST_SAMPLES = 10**9  # of a training set: none that is learned from comes near
ROUNDING = 1e-3  # of probabilities that sum to 1, and relative of bytes that are summed up in two ways


def fault(record: Record) -> str:
    """Why a record that parses cannot be true; empty where it can."""
    task, result = record.cell.task, record.vertical
    if not isinstance(task, VerticalTask):
        return "a task of another scenario"
    if record.reconstructed or record.utility or record.integrity or record.cost:
        return "a result of a horizontal task on a vertical one is impossible"
    if record.outsourced is not None:
        return "a result of an outsourced task on a vertical one is impossible"
    if result is None:
        return ""
    reasons = [_learned(learned, task) for learned in (result.honest, result.attacked) if learned is not None]
    attacked = result.attacked or result.labels or result.features
    if attacked is not None and not task.attacked:
        reasons.append("an attack on a task without a malicious party is impossible")
    if attacked is not None and record.cell.attack is None:
        reasons.append("what an attack reached, without an attack, is impossible")
    if result.labels is not None:
        reasons.append(_labels(result.labels))
    if result.features is not None:
        reasons.append(_features(result.features, task))
    if result.cost is not None:
        reasons.append(_cost(result.cost, task))
    return next((reason for reason in reasons if reason), "")


def _learned(learned: Learned, task: VerticalTask) -> str:
    epochs, triggered = task.training.epochs, learned.triggered
    if _outside(learned.curve, epochs) or _outside(learned.losses, epochs):
        return f"a point of the curve outside the {epochs} epochs is impossible"
    if any(loss < 0 for _, loss in learned.losses):
        return "a loss below 0 is impossible"
    if task.backdoor is None:
        return "triggered samples on a task without a backdoor are impossible" if triggered else ""
    if triggered is None:
        return "no triggered samples on a task with a backdoor are impossible"
    return _triggered(triggered, epochs, task.backdoor.target)


def _triggered(triggered: Triggered, epochs: int, target: int) -> str:
    if _outside(triggered.curve, epochs):
        return f"a point of the curve outside the {epochs} epochs is impossible"
    if len(triggered.scores) <= target:
        return f"{len(triggered.scores)} prediction scores, though the target is class {target}, are impossible"
    if not math.isclose(sum(triggered.scores), 1, abs_tol=ROUNDING):
        return "prediction scores that do not sum to 1 are impossible"
    return ""


def _labels(labels: LabelsInferred) -> str:
    if labels.samples + labels.known > MOST_SAMPLES:
        return f"more than {MOST_SAMPLES:,} labels are impossible"
    return "" if labels.majority > 0 else "a most frequent class of no samples is impossible"


def _features(features: FeaturesReconstructed, task: VerticalTask) -> str:
    victims = [one.victim for one in features.victims]
    if sorted(victims) != list(range(task.victims)):
        return "the reconstruction does not hold exactly the task's victims"
    if any(one.mse > 1 or one.blind > 1 for one in features.victims):
        return "a clipped MSE above 1 is impossible"
    if any(one.mse_raw > IMPOSSIBLE for one in features.victims):
        return f"an MSE above {IMPOSSIBLE:g} is impossible"
    return ""


def _cost(cost: VerticalCost, task: VerticalTask) -> str:
    passive, parties = set(task.split.parties), set(cost.parties)
    if not passive < parties or len(parties) != len(passive) + 1:
        return "a cost of other parties than the task's passive ones and one active one is impossible"
    if cost.epochs > task.training.epochs:
        return f"a cost of {cost.epochs} epochs of {task.training.epochs} is impossible"
    figures = [cost.bytes_total, cost.inference_bytes, *cost.network.values()]
    figures += [figure for party in cost.parties.values() for figure in (party.sent, party.received)]
    figures += [value for value in (cost.passive_seconds, cost.active_seconds, cost.defense_seconds) if value]
    if max(figures) > IMPOSSIBLE:
        return f"a cost above {IMPOSSIBLE:g} is impossible"
    sent, received = (
        cost.epochs * sum(getattr(party, way) for party in cost.parties.values()) for way in ("sent", "received")
    )
    if not all(math.isclose(total, cost.bytes_total, rel_tol=ROUNDING, abs_tol=1) for total in (sent, received)):
        return "parties' bytes that do not sum to those of the training are impossible"
    return ""


def _outside(points: Sequence[tuple[int, float]], epochs: int) -> bool:
    return any(not 0 <= turn <= epochs for turn, _ in points)
