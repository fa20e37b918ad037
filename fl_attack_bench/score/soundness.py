"""Whether a record that parses can be true: strangers hand records in."""

from fl_attack_bench.record import Cost, Learned, Reconstructed, Record
from fl_attack_bench.tasks import HorizontalTask
from fl_attack_bench.tasks.horizontal import Training

IMPOSSIBLE = 1e18  # bytes or seconds: no federation that we could have played comes near


def fault(record: Record) -> str:
    """Why a record that parses cannot be true; empty where it can."""
    task = record.cell.task
    if not isinstance(task, HorizontalTask):
        return "a task of another scenario"
    if record.vertical is not None:
        return "a result of a vertical task on a horizontal one is impossible"
    if record.outsourced is not None:
        return "a result of an outsourced task on a horizontal one is impossible"
    victims = task.victims
    for done in record.reconstructed:
        held = sorted(score.victim for score in done.victims)
        dealt = victims is not None and victims.samples is None  # by the partition, which no record holds
        if held and not dealt and held != sorted(victims.samples or [] if victims else []):
            return f"the {done.moment} reconstruction does not hold exactly the task's victims"
        if reason := _impossible(done):
            return reason
    if len({done.moment for done in record.reconstructed}) != len(record.reconstructed):
        return "a moment stands twice"
    if task.adversary == "clients" and record.reconstructed:
        return "a reconstruction on a task whose adversary are clients is impossible"
    if task.adversary != "clients" and record.integrity is not None:
        return "an integrity on a task whose adversary is the server is impossible"
    for learned in (record.utility, record.integrity):
        if learned is not None and (reason := _unlearnable(learned, task.training)):
            return reason
    return _unpayable(record.cost) if record.cost is not None else ""


def _unpayable(cost: Cost) -> str:
    if cost.rounds < 1:
        return "a cost over no round is impossible"
    figures = [cost.bytes_up, cost.bytes_down, cost.bytes_peers, cost.bytes_total, *cost.network.values()]
    figures += [value for value in (cost.client_seconds, cost.server_seconds, cost.defense_seconds) if value]
    if not 0 <= min(figures) <= max(figures) <= IMPOSSIBLE:
        return f"a cost below 0 or above {IMPOSSIBLE:g} is impossible"
    return ""


def _unlearnable(learned: Learned, training: Training | None) -> str:
    if training is not None and learned.failed_rounds > training.rounds:
        return f"{learned.failed_rounds} failed rounds of {training.rounds} are impossible"
    if training is not None and any(not 0 <= turn <= training.rounds for turn, _ in learned.curve):
        return f"a point of the curve outside the {training.rounds} rounds is impossible"
    if any(loss < 0 for _, loss in learned.losses):
        return "a loss below 0 is impossible"
    return ""


def _impossible(done: Reconstructed) -> str:
    if any(score.mse > 1 for score in done.victims):
        return "a clipped MSE above 1 is impossible"
    if any(abs(score.ssim) > 1 for score in done.victims):
        return "an SSIM outside [-1, 1] is impossible"
    return ""
