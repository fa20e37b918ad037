"""Puts the results of a cell's jobs together into its record."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fl_attack_bench import jobs
from fl_attack_bench.jobs import Kind, Outcome
from fl_attack_bench.record import MAX_BYTES, MethodUsed, Provenance, Record, Status
from fl_attack_bench.suite import Cell, Gate
from fl_attack_bench.tasks import HorizontalTask, OutsourcedTask, VerticalTask

_SERIOUSNESS = ("error", "out_of_memory", "timeout", "skipped")


def assemble(
    cell: Cell,
    gate: Gate,
    *,
    folders: Mapping[Kind, Path],
    outcomes: Mapping[Kind, Outcome],
    attack: MethodUsed | None,
    defense: MethodUsed | None,
    provenance: Provenance,
) -> Record:
    """The record of a cell whose jobs have all ended; a part whose job failed is absent, and the reason says why.

    Args:
        cell: the cell.
        gate: its suite's.
        folders: the result folder of each of its jobs.
        outcomes: how each of them ended.
        attack: the attack as it was played.
        defense: the defense as it was played.
        provenance: all but the dataset's fingerprint, which the results hold.
    """
    results: dict[Kind, dict[str, Any]] = {}
    ended = dict(outcomes)
    for kind, outcome in outcomes.items():
        if outcome.status != "ok":
            continue
        try:
            results[kind] = _result(folders[kind])
        except (OSError, ValueError) as error:
            ended[kind] = Outcome(status="error", reason=f"its result is unreadable: {error}", started=outcome.started)
    fixed = {"cell_id": cell.id, "cell": cell, "gate": gate, "attack": attack, "defense": defense}
    try:
        found = _FOUND[type(cell.task)]
        status, reason = _verdict(ended)
        fingerprint = next((r["dataset_fingerprint"] for r in results.values() if "dataset_fingerprint" in r), "")
        whole = provenance.model_copy(update={"dataset_fingerprint": fingerprint})
        ending = {"status": status, "reason": reason, "provenance": whole}
        return Record.model_validate(fixed | ending | found(results))
    except (ValidationError, KeyError, TypeError) as error:
        why = error.errors()[0] if isinstance(error, ValidationError) else None
        text = f"{'.'.join(map(str, why['loc']))}: {why['msg']}" if why else repr(error)
        reason = f"the results make no sound record: {text}"
        return Record.model_validate(fixed | {"status": "error", "reason": reason, "provenance": provenance})


def _result(folder: Path) -> dict[str, Any]:
    path = folder / jobs.RESULT
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    data = json.loads(path.read_bytes())
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    return data


def _found(results: Mapping[Kind, dict[str, Any]]) -> dict[str, Any]:
    """What the jobs of a horizontal task found."""
    training, attacked, corrupted = (results.get(kind) for kind in ("training", "attack", "corrupted"))
    utility = cost = None
    if training is not None:
        cost = training["cost"] | results.get("timing", {})
        if "centralised" in results:
            utility = training["utility"] | {"centralised_accuracy": results["centralised"]["accuracy"]}
    return {
        "reconstructed": attacked["reconstructed"] if attacked is not None else [],
        "utility": utility,
        "integrity": corrupted["integrity"] if corrupted is not None else None,
        "cost": cost,
        "privacy": training["privacy"] if training is not None else None,
    }


def _found_vertical(results: Mapping[Kind, dict[str, Any]]) -> dict[str, Any]:
    """What the jobs of a vertical task found: of the honest training, and of the same one with the attack's party."""
    training, corrupted = (results.get(kind) for kind in ("training", "corrupted"))
    found = {kind: corrupted.get(kind) for kind in ("attacked", "labels", "features")} if corrupted else {}
    if training is not None:
        cost = training["cost"] and training["cost"] | results.get("timing", {})
        found |= {"honest": training["honest"], "cost": cost}
    return {"vertical": found or None}


def _found_outsourced(results: Mapping[Kind, dict[str, Any]]) -> dict[str, Any]:
    """What the jobs of an outsourced task found."""
    training, attacked = (results.get(kind) for kind in ("training", "attack"))
    found = {"inputs": attacked["inputs"]} if attacked else {}
    if training is not None:
        seconds = results.get("timing", {})
        cost = dict(training["cost"])
        for stage in ("setup", "training", "inference"):
            cost[stage] = cost[stage] and cost[stage] | seconds.get(stage, {})
        found |= {"learned": training["learned"], "cost": cost}
    return {"outsourced": found or None}


_FOUND: Mapping[type, Callable[[Mapping[Kind, dict[str, Any]]], dict[str, Any]]] = {
    HorizontalTask: _found,
    VerticalTask: _found_vertical,
    OutsourcedTask: _found_outsourced,
}


def _verdict(outcomes: Mapping[Kind, Outcome]) -> tuple[Status, str]:
    """The most serious status among the jobs, and each distinct reason once: ``training, timing: out of ideas``."""
    failed = {kind: outcome for kind, outcome in outcomes.items() if outcome.status != "ok"}
    if not failed:
        return "ok", ""
    blamed: dict[str, list[str]] = {}
    for kind, outcome in failed.items():
        others = tuple(f"{other}: " for other in failed if other != kind)
        if not outcome.reason.startswith(others):  # else it only repeats the other's
            blamed.setdefault(outcome.reason, []).append(kind)
    status = min((outcome.status for outcome in failed.values()), key=_SERIOUSNESS.index)
    return status, "; ".join(f"{', '.join(kinds)}: {reason}" for reason, kinds in blamed.items())
