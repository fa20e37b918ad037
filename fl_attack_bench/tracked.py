"""A record as a tracking store takes it: flat parameters, figures with steps, and tags."""

import json
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from fl_attack_bench.record import Reconstructed, Record
from fl_attack_bench.suite import MethodSpec

Figure = tuple[str, float, int]
# A batch holds 1,000 figures: two curves of the attack, one of the training, and the rest.
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
        "model": cell.task.model.name,
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
    """``(name, value, step)``: the triple, and the curves by iteration and round."""
    return [
        *_privacy(record),
        *_utility(record),
        *_integrity(record),
        *_cost(record),
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
