"""A record as rows of text."""

import statistics
from collections.abc import Iterator, Sequence

from fl_attack_bench.cli import outsourced_record, vertical_record
from fl_attack_bench.cli.vertical_record import Row, duration
from fl_attack_bench.notation import written
from fl_attack_bench.record import Cost, Integrity, MethodUsed, Provenance, Reconstructed, Record
from fl_attack_bench.suite import MethodSpec


def shown(record: Record) -> Iterator[Row]:
    """Everything that a reader asks of a record, a row each."""
    cell = record.cell
    yield "cell", record.cell_id
    yield "suite", f"{cell.suite}, version {cell.suite_version}"
    yield "task", f"{cell.task.name}: {cell.task.dataset}, {cell.task.network}"
    yield "attack", _method(cell.attack, record.attack) if cell.attack else "none: nothing is attacked on the task"
    yield "defense", _method(cell.defense, record.defense)
    yield "seed", str(cell.seed)
    yield "hardware", cell.hardware + ("" if record.provenance.hardware_matched else ", which the machine is not")
    yield "status", record.status + (f": {record.reason}" if record.reason else "")
    for moment in record.reconstructed:
        yield from _moment(moment)
    if record.utility is not None:
        utility = record.utility
        note = " (diverged)" if utility.diverged else ""
        yield "accuracy", f"{utility.accuracy:.4f}{note}, centralised {utility.centralised_accuracy:.4f}"
        yield from _failures("", utility.failed_rounds, utility.failures)
    if record.integrity is not None:
        yield from _integrity(record.integrity)
    if record.cost is not None:
        yield from _cost(record.cost)
    if record.vertical is not None:
        yield from vertical_record.shown(record.vertical)
    if record.outsourced is not None:
        yield from outsourced_record.shown(record.outsourced)
    if record.privacy is not None:
        yield "guarantee", record.privacy.statement
    yield from _provenance(record)


def _method(spec: MethodSpec, used: MethodUsed | None) -> str:
    if used is None:
        return written(spec)
    parameters = ", ".join(f"{name}={value}" for name, value in used.parameters.items())
    return f"{used.title}: {written(spec)}" + (f" ({parameters})" if parameters else "")


def _moment(moment: Reconstructed) -> Iterator[Row]:
    images, name = moment.victims, moment.moment
    if images:
        errors = [image.mse for image in images]
        similarity = statistics.fmean(image.ssim for image in images)
        yield (
            f"MSE {name}",
            f"mean {statistics.fmean(errors):.3g}, median {statistics.median(errors):.3g}, lowest {min(errors):.3g} "
            f"over {len(images)} images; SSIM {similarity:.3f}",
        )
    if moment.label_accuracy is not None:
        yield f"labels {name}", f"{moment.label_accuracy:.1%} inferred rightly"
    if moment.correlations:
        yield f"correlation {name}", ", ".join(f"{layer} {value:.3f}" for layer, value in moment.correlations.items())
    stated = [image.certified for image in images if image.certified is not None]
    if stated:
        bound, distance = (statistics.median(getattr(one, what) for one in stated) for what in ("bound", "distance"))
        yield f"certified {name}", f"median bound {bound:.3g}, median distance {distance:.3g} over {len(stated)} images"


def _integrity(integrity: Integrity) -> Iterator[Row]:
    note = " (diverged)" if integrity.diverged else ""
    who = f"{integrity.clients} malicious client{'s'[: integrity.clients > 1]}"
    yield "under attack", f"accuracy {integrity.accuracy:.4f}{note} with {who}"
    if integrity.losses:
        yield "loss attacked", f"{integrity.losses[-1][1]:.4g} after round {integrity.losses[-1][0]}"
    yield from _failures(" attacked", integrity.failed_rounds, integrity.failures)
    if integrity.incident_count:
        yield "incidents", f"{integrity.incident_count}; the first: {integrity.incidents[0]}"


def _failures(suffix: str, count: int, reasons: Sequence[str]) -> Iterator[Row]:
    if count:
        yield f"failed{suffix}", f"{count} rounds; the first: {reasons[0]}"


def _cost(cost: Cost) -> Iterator[Row]:
    yield (
        "bytes",
        f"{cost.bytes_up:,.0f} up, {cost.bytes_down:,.0f} down, {cost.bytes_peers:,.0f} to peers, a client and round; "
        f"{cost.bytes_total:,} in {cost.rounds} rounds",
    )
    network = ", ".join(f"{seconds:.4g} on {link}" for link, seconds in cost.network.items())
    yield (
        "seconds",
        f"network: {network or 'none'}; client {duration(cost.client_seconds)}, of which the defense "
        + (f"{duration(cost.defense_seconds)}; server {duration(cost.server_seconds)}; a round"),
    )


def _provenance(record: Record) -> Iterator[Row]:
    origin = record.provenance
    yield "started", f"{origin.started:%Y-%m-%d %H:%M:%S %Z}, {origin.seconds:.1f} s of jobs"
    revision = origin.revision or "an installed package"
    yield "revision", revision + (" with uncommitted changes" if origin.dirty else "")
    yield "packages", ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    yield "machine", ", ".join(f"{name} {value}" for name, value in origin.machine.items())
    yield from _conditions(origin)
    yield "data", f"sha256 {origin.dataset_fingerprint}" if origin.dataset_fingerprint else "not loaded"
    yield "command", origin.command


def _conditions(origin: Provenance) -> Iterator[Row]:
    if origin.calibration:
        yield "speed", ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in origin.calibration.items())
    if origin.conditions is not None:
        if origin.conditions.others is not None:
            yield "others", f"{origin.conditions.others:.0%} of the processor time while it was timed"
        yield from (("MARKED", f"{mark.kind}: {mark.reason}") for mark in origin.conditions.marks)
