"""A record as a tracking store takes it: flat parameters, figures with steps, and tags."""

import json
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from fl_attack_bench.outsourced_record import OutsourcedCost, OutsourcedResult, StageCost
from fl_attack_bench.record import Reconstructed, Record
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.vertical_record import VerticalCost, VerticalLearned

Figure = tuple[str, float, int]
# A batch holds 1,000 figures: two curves of the attack, one of the training, and the rest. Of a vertical task: two
# curves of the honest training, two of the attacked one, bytes of up to 65 parties, and the rest.
_CURVE = 350
_ROUNDS = 200
_PARAMETERS = 100
_TEXT = 500
_NOTE = 4_000


def parameters(record: Record) -> dict[str, str]:
    """The cell's axes and every parameter of its methods."""
    cell = record.cell
    found: dict[str, Any] = {
        "task": cell.task.name,
        "dataset": cell.task.dataset,
        "model": cell.task.network,
        "attack": cell.attack.label if cell.attack else "none",
        "defense": cell.defense.label,
        "seed": cell.seed,
        "suite": cell.suite,
        "suite_version": cell.suite_version,
        "hardware": cell.hardware,
    }
    for kind, used, spec in (("attack", record.attack, cell.attack), ("defense", record.defense, cell.defense)):
        values = used.parameters if used else _given(spec)
        found |= {_legal(f"{kind}.{name}"): value for name, value in values.items()}
    return {name: _text(value) for name, value in list(found.items())[:_PARAMETERS]}


def tags(record: Record, digest: str) -> dict[str, str]:
    """What runs are searched by."""
    return {
        "mlflow.runName": f"{record.cell.task.name} {record.cell.defense.label}"[:200],
        "mlflow.note.content": (record.reason or record.provenance.command)[:_NOTE],
        "flab.cell_id": record.cell_id,
        "flab.status": record.status,
        "flab.hardware": record.cell.hardware,
        "flab.hardware_matched": str(record.provenance.hardware_matched).lower(),
        "flab.revision": record.provenance.revision or "installed",
        "flab.record_sha256": digest,
    }


def figures(record: Record) -> list[Figure]:
    """``(name, value, step)``: the triple, and the curves by iteration, round and epoch."""
    return [
        *_privacy(record),
        *_utility(record),
        *_integrity(record),
        *_cost(record),
        *_vertical(record),
        *(_outsourced(record.outsourced) if record.outsourced else ()),
        ("seconds", record.provenance.seconds, 0),
    ]


def _privacy(record: Record) -> Iterator[Figure]:
    for moment in record.reconstructed:
        prefix = f"privacy/{moment.moment}"
        for name, value in _scores(moment).items():
            yield f"{prefix}/{name}", value, 0
        yield f"{prefix}/attack_seconds", moment.seconds, 0
        for step, value in _thinned(list(enumerate(moment.curve)), _CURVE):
            yield f"{prefix}/objective", value, step
    if record.privacy is not None:
        for name in ("delta", "epsilon_server", "epsilon_model"):
            value = getattr(record.privacy, name)
            if value is not None:
                yield f"privacy/{name}", value, 0


def _scores(moment: Reconstructed) -> dict[str, float]:
    found = {f"correlation.{_legal(layer)}": value for layer, value in moment.correlations.items()}
    if moment.label_accuracy is not None:
        found["label_accuracy"] = moment.label_accuracy
    images = moment.victims
    if not images:
        return found
    errors = [image.mse for image in images]
    ratios = [image.psnr for image in images if image.psnr is not None]
    found |= {
        "mse_mean": statistics.fmean(errors),
        "mse_median": statistics.median(errors),
        "mse_min": min(errors),
        "ssim_mean": statistics.fmean(image.ssim for image in images),
        "diverged": statistics.fmean(image.diverged for image in images),
    }
    return found | ({"psnr_mean": statistics.fmean(ratios)} if ratios else {})


def _utility(record: Record) -> Iterator[Figure]:
    if record.utility is None:
        return
    yield "utility/accuracy", record.utility.accuracy, 0
    yield "utility/centralised_accuracy", record.utility.centralised_accuracy, 0
    for step, value in _thinned(record.utility.curve, _ROUNDS):
        yield "utility/accuracy_by_round", value, step
    yield "utility/failed_rounds", record.utility.failed_rounds, 0


def _integrity(record: Record) -> Iterator[Figure]:
    found = record.integrity
    if found is None:
        return
    yield "integrity/accuracy", found.accuracy, 0
    yield "integrity/failed_rounds", found.failed_rounds, 0
    yield "integrity/incidents", found.incident_count, 0
    for step, value in _thinned(found.curve, _ROUNDS):
        yield "integrity/accuracy_by_round", value, step


def _cost(record: Record) -> Iterator[Figure]:
    if record.cost is None:
        return
    for name, value in record.cost.model_dump(exclude={"network"}).items():
        if value is not None:
            yield f"cost/{name}", float(value), 0
    for link, seconds in record.cost.network.items():
        yield _legal(f"cost/network_seconds/{link}"), seconds, 0


def _vertical(record: Record) -> Iterator[Figure]:
    found = record.vertical
    if found is None:
        return
    if found.honest is not None:
        yield from _trained("utility", found.honest)
    if found.attacked is not None:
        yield from _trained("integrity", found.attacked)
    if found.labels is not None:
        yield "privacy/label_accuracy", found.labels.accuracy, 0
        yield "privacy/label_majority", found.labels.majority, 0
        yield "privacy/attack_seconds", found.labels.seconds, 0
    if found.features is not None:
        errors = found.features.victims
        yield "privacy/feature_mse", statistics.fmean(one.mse for one in errors), 0
        yield "privacy/feature_mse_min", min(one.mse for one in errors), 0
        yield "privacy/feature_mse_blind", statistics.fmean(one.blind for one in errors), 0
        yield "privacy/feature_attack_seconds", found.features.seconds, 0
    if found.cost is not None:
        yield from _epoch_cost(found.cost)


def _trained(prefix: str, learned: VerticalLearned) -> Iterator[Figure]:
    """The main task, and the trigger's success: a backdoor's where the training was attacked."""
    yield f"{prefix}/accuracy", learned.accuracy, 0
    yield f"{prefix}/diverged", float(learned.diverged), 0
    for step, value in _thinned(learned.curve, _ROUNDS):
        yield f"{prefix}/accuracy_by_epoch", value, step
    if learned.triggered is not None:
        yield f"{prefix}/backdoor_success", learned.triggered.success, 0
        for step, value in _thinned(learned.triggered.curve, _ROUNDS):
            yield f"{prefix}/backdoor_success_by_epoch", value, step


def _epoch_cost(cost: VerticalCost) -> Iterator[Figure]:
    for name, value in cost.model_dump(exclude={"network", "parties"}).items():
        if value is not None:
            yield f"cost/{name}", float(value), 0
    for link, seconds in cost.network.items():
        yield _legal(f"cost/network_seconds/{link}"), seconds, 0
    for party, traffic in cost.parties.items():
        yield _legal(f"cost/bytes_sent/{party}"), traffic.sent, 0
        yield _legal(f"cost/bytes_received/{party}"), traffic.received, 0


def _outsourced(found: OutsourcedResult) -> Iterator[Figure]:
    if found.learned is not None:
        for name, value in found.learned.model_dump().items():
            if value is not None:
                yield f"utility/{name}", float(value), 0
    if found.inputs is not None:
        victims = found.inputs.victims
        yield "privacy/input_mse", statistics.fmean(one.mse for one in victims), 0
        yield "privacy/input_mse_min", min(one.mse for one in victims), 0
        yield "privacy/input_mse_blind", statistics.fmean(one.blind for one in victims), 0
        yield "privacy/known", float(found.inputs.known), 0
        yield "privacy/attack_seconds", found.inputs.seconds, 0
    if found.cost is not None:
        yield from _stages(found.cost)


def _stages(cost: OutsourcedCost) -> Iterator[Figure]:
    yield "cost/bytes_total", float(cost.bytes_total), 0
    for name, stage in (("setup", cost.setup), ("training", cost.training), ("inference", cost.inference)):
        if stage is not None:
            yield from ((_legal(f"cost/{name}/{what}"), value, 0) for what, value in _of_stage(stage))


def _of_stage(stage: StageCost) -> Iterator[tuple[str, float]]:
    for what in ("sent", "offline_sent"):
        yield f"bytes_{what}", sum(getattr(party, what) for party in stage.parties.values())
    for what in ("batches", "samples", "rounds", "seconds", "offline_seconds"):
        if (value := getattr(stage, what)) is not None:
            yield what, float(value)
    for link, seconds in stage.network.items():
        yield f"network_seconds/{link}", seconds
    for party, traffic in stage.parties.items():
        for what, value in traffic.model_dump().items():
            yield f"bytes_{what}/{party}", value
    for party, seconds in (stage.party_seconds or {}).items():
        yield f"seconds/{party}", seconds


def _thinned(points: Sequence[tuple[int, float]], most: int) -> Iterator[tuple[int, float]]:
    """Evenly chosen points, the last one always among them."""
    if len(points) <= most:
        yield from points
        return
    for chosen in range(most):
        yield points[round(chosen * (len(points) - 1) / (most - 1))]


def _given(spec: MethodSpec | None) -> dict[str, Any]:
    return dict(spec.parameters) if spec else {}


def _legal(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_./ -]+", "-", name)[:200]


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=repr))[:_TEXT]
