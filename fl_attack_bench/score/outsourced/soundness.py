"""Whether a record of an outsourced task that parses can be true: strangers hand records in."""

import math

from fl_attack_bench.outsourced_record import InputsReconstructed, OutsourcedCost, OutsourcedLearned, StageCost
from fl_attack_bench.record import Record
from fl_attack_bench.score.soundness import IMPOSSIBLE
from fl_attack_bench.tasks import OutsourcedTask

ROUNDING = 1e-3  # relative, of bytes that are summed up in two ways
SLACK = 1e-6  # relative, of errors that are computed in two ways


def fault(record: Record) -> str:
    """Why a record that parses cannot be true; empty where it can."""
    task, result = record.cell.task, record.outsourced
    if not isinstance(task, OutsourcedTask):
        return "a task of another scenario"
    if record.reconstructed or record.utility or record.integrity or record.cost or record.vertical:
        return "a result of another scenario on an outsourced task is impossible"
    if result is None:
        return ""
    reasons = []
    if result.learned is not None:
        reasons.append(_learned(result.learned, task))
    if result.inputs is not None and record.cell.attack is None:
        reasons.append("what an attack reached, without an attack, is impossible")
    if result.inputs is not None:
        reasons.append(_inputs(result.inputs, task))
    if result.cost is not None:
        reasons.append(_cost(result.cost, task))
    if result.inputs is not None and result.cost is not None:
        reasons.append(_view(result.inputs, result.cost))
    return next((reason for reason in reasons if reason), "")


def _learned(learned: OutsourcedLearned, task: OutsourcedTask) -> str:
    if learned.steps > task.training.steps:
        return f"{learned.steps} steps of {task.training.steps} are impossible"
    rms, most = learned.weight_rms_difference, learned.weight_difference
    if rms is not None and most is not None and rms > most * (1 + SLACK):
        return "a root mean squared difference of weights above the largest one is impossible"
    return ""


def _inputs(inputs: InputsReconstructed, task: OutsourcedTask) -> str:
    victims = {one.victim for one in inputs.victims}
    if task.victims is None:
        return "a reconstruction on a task without victims is impossible"
    if not len(victims) == len(inputs.victims) == task.victims:
        return "the reconstruction does not hold exactly the task's victims"
    if max(inputs.known, inputs.auxiliary) > IMPOSSIBLE:
        return f"more than {IMPOSSIBLE:g} known or public samples are impossible"
    if any(one.mse > 1 or one.blind > 1 for one in inputs.victims):
        return "a clipped MSE above 1 is impossible"
    if any(one.mse > one.mse_raw * (1 + SLACK) for one in inputs.victims):
        return "a clipped MSE above the one without clipping is impossible"
    return ""


def _cost(cost: OutsourcedCost, task: OutsourcedTask) -> str:
    step, training = task.training, cost.training
    if training is not None and (training.samples > step.batch_size or training.batches > step.steps):
        return f"a cost of more than {step.steps} steps on {step.batch_size} samples is impossible"
    if cost.inference.samples > task.inference_batch:
        return f"a cost of a prediction of more than {task.inference_batch} samples is impossible"
    stages = [cost.setup, cost.inference, *([training] if training is not None else [])]
    counts = [count for stage in stages for count in (stage.batches, stage.samples, stage.rounds)]
    if max(cost.bytes_total, *counts) > IMPOSSIBLE:  # whole numbers of any length, which no float may hold
        return f"a cost above {IMPOSSIBLE:g} is impossible"
    reason = next((reason for stage in stages if (reason := _stage(stage))), "")
    least = sum(stage.batches * _sent(stage) for stage in stages if stage is not cost.inference)
    if not reason and cost.bytes_total < least * (1 - ROUNDING) - 1:
        return "fewer bytes in all than those of the setup and the training are impossible"
    return reason


def _stage(stage: StageCost) -> str:
    figures = [figure for party in stage.parties.values() for figure in party.model_dump().values()]
    figures += [*stage.network.values(), stage.seconds or 0.0, stage.offline_seconds or 0.0]
    if max([*figures, *(stage.party_seconds or {}).values()]) > IMPOSSIBLE:
        return f"a cost above {IMPOSSIBLE:g} is impossible"
    for sent, received in (("sent", "received"), ("offline_sent", "offline_received")):
        totals = [sum(getattr(party, way) for party in stage.parties.values()) for way in (sent, received)]
        if not math.isclose(*totals, rel_tol=ROUNDING, abs_tol=1):
            return "bytes that are sent to nobody are impossible"
    if not (stage.party_seconds or {}).keys() <= stage.parties.keys():
        return "seconds of a party that takes no part are impossible"
    return ""


def _sent(stage: StageCost) -> float:
    return sum(party.sent + party.offline_sent for party in stage.parties.values())


def _view(inputs: InputsReconstructed, cost: OutsourcedCost) -> str:
    stages = [cost.setup, cost.inference, *([cost.training] if cost.training is not None else [])]
    if not any(inputs.party in stage.parties for stage in stages):
        return "the view of a party that takes no part is impossible"
    if inputs.moment == "training" and cost.training is None:
        return "the view of a training, of a protocol that does not train, is impossible"
    return ""
