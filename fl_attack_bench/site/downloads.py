"""The raw data beside the pages: the rows and every attack by itself as CSV, the records as JSON."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.integrity import IntegrityScore, UnderAttack
from fl_attack_bench.score.learned import Course
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.triple import AttackScore

Value = str | int | float | bool | None


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line a row; an absent figure is an empty cell."""
    links = sorted({link for row in rows if row.cost for link in row.cost.seconds})
    write_lines([flat(row, links) for row in rows], path)


def write_attacks(rows: Sequence[Row], path: Path) -> None:
    """One line an attack and moment under each defense; an absent figure is an empty cell."""
    layers = sorted({layer for row in rows for one in row.attacks for layer in one.correlations})
    write_lines([attack_line(row, one, layers) for row in rows for one in row.attacks], path)


def write_integrity(rows: Sequence[Row], path: Path) -> None:
    """One line an attack by malicious clients on each defense; an absent figure is an empty cell."""
    write_lines(
        [integrity_line(row, row.integrity, one) for row in rows if row.integrity for one in row.integrity.attacks],
        path,
    )


def write_lines(lines: Sequence[dict[str, Value]], path: Path) -> None:
    """Lines of the same columns as CSV."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as stream:
        writer = csv.writer(stream)
        writer.writerow([guarded(key) for key in flat_keys(lines)])
        writer.writerows([guarded(value) for value in line.values()] for line in lines)


def write_json(records: Iterable[Record], path: Path) -> None:
    """All records as one JSON array, one record a line, so that neither side needs to hold them all."""
    with path.open("w", encoding="utf-8", errors="replace") as stream:
        stream.write("[")
        for index, record in enumerate(records):
            stream.write(("," if index else "") + "\n")
            stream.write(json.dumps(record.model_dump(mode="json"), sort_keys=True))
        stream.write("\n]\n")


def flat(row: Row, links: Sequence[str]) -> dict[str, Value]:
    """A row as plain cells. Bytes, seconds, fractions in [0, 1], and MSE over pixels in [0, 1]."""
    privacy, utility, cost, guarantee = row.privacy, row.utility, row.cost, row.guarantee
    line: dict[str, Value] = {
        "suite": row.suite,
        "suite_version": row.suite_version,
        "hardware": row.hardware,
        "task": row.task.name,
        "dataset": row.task.dataset,
        "model": row.task.network,
        "defense": row.defense,
        "verdict": row.verdict,
        "pareto": row.pareto,
        "complete": row.complete,
        "failures": row.summary,
        "moment": privacy.moment if privacy else None,
        "mse_mean": privacy.mean.value if privacy else None,
        "mse_mean_low": privacy.mean.low if privacy else None,
        "mse_mean_high": privacy.mean.high if privacy else None,
        "mse_median": privacy.median.value if privacy else None,
        "mse_median_low": privacy.median.low if privacy else None,
        "mse_median_high": privacy.median.high if privacy else None,
        "ssim": privacy.ssim if privacy else None,
        "psnr_db": privacy.psnr if privacy else None,
        "broken_share": privacy.broken if privacy else None,
        "reconstructions": privacy.reconstructions if privacy else None,
        "accuracy": utility.accuracy if utility else None,
        "accuracy_sd": utility.sd if utility else None,
        "accuracy_difference": utility.difference if utility else None,
        "accuracy_difference_sd": utility.difference_sd if utility else None,
        "centralised_accuracy": utility.centralised if utility else None,
        "rmse": utility.rmse.mean if utility and utility.rmse else None,
        **_course(utility.course if utility else Course()),
        "seeds": len(row.seeds),
        "bytes_up": cost.bytes_up if cost else None,
        "bytes_down": cost.bytes_down if cost else None,
        "bytes_peers": cost.bytes_peers if cost else None,
        "bytes_total": cost.bytes_total if cost else None,
        "bytes_round": cost.bytes_round if cost else None,
        "bytes_up_times": cost.up_times if cost else None,
        "bytes_down_times": cost.down_times if cost else None,
        "bytes_round_times": cost.round_times if cost else None,
        "client_seconds": cost.client_seconds if cost else None,
        "defense_seconds": cost.defense_seconds if cost else None,
        "server_seconds": cost.server_seconds if cost else None,
    }
    for link in links:
        line[f"seconds_{link}"] = cost.seconds.get(link) if cost else None
        line[f"seconds_{link}_times"] = cost.seconds_times.get(link) if cost else None
    line["epsilon_server"] = guarantee.epsilon_server if guarantee else None
    line["epsilon_model"] = guarantee.epsilon_model if guarantee else None
    line["delta"] = guarantee.delta if guarantee else None
    line["notes"] = "; ".join(row.notes)
    line["commands"] = "\n".join(row.commands)
    return line


def of_row(row: BoardRow) -> dict[str, Value]:
    """The cells that tell which row of the board a line of another table belongs to."""
    return {
        "suite": row.suite,
        "suite_version": row.suite_version,
        "hardware": row.hardware,
        "task": row.task.name,
        "defense": row.defense,
    }


def qualified(row: BoardRow) -> dict[str, Value]:
    """What qualifies a row's figures, behind :func:`of_row`."""
    return of_row(row) | {
        "dataset": row.task.dataset,
        "model": row.task.network,
        "verdict": row.verdict,
        "pareto": row.pareto,
        "complete": row.complete,
        "failures": row.summary,
    }


def attack_line(row: Row, one: AttackScore, layers: Sequence[str]) -> dict[str, Value]:
    """An attack under a defense at a moment as plain cells. Shares in [0, 1]; bounds and distances in pixel L2."""
    certified = one.certified
    line = of_row(row) | {
        "attack": one.attack,
        "moment": one.moment,
        "mse_mean": one.mean,
        "undefended_broken_share": one.baseline_share,
        "counts": one.passed,
        "diverged": one.diverged if one.mean is not None else None,
        "label_accuracy": one.label_accuracy,
        "classes_found": one.classes_found,
        "certified_images": certified.images if certified else None,
        "certified_reproducing": certified.reproducing if certified else None,
        "certified_kept": certified.kept if certified else None,
        "certified_bound_median": certified.bound if certified else None,
        "distance_median": certified.distance if certified else None,
    }
    return line | {f"correlation_{layer}": one.correlations.get(layer) for layer in layers}


def integrity_line(row: Row, score: IntegrityScore, one: UnderAttack) -> dict[str, Value]:
    """An attack by clients on a defense as plain cells. Accuracies in [0, 1], RMSE in the target's unit, may be inf."""
    honest, learned = score.honest, one.learned
    return of_row(row) | {
        "attack": one.attack,
        "family": one.family.label,
        "clients": one.clients,
        "quantity": score.quantity,
        "honest_mean": honest.mean if honest else None,
        "honest_low": honest.low if honest else None,
        "honest_high": honest.high if honest else None,
        "learned_mean": learned.mean if learned else None,
        "learned_low": learned.low if learned else None,
        "learned_high": learned.high if learned else None,
        "difference": one.difference,
        "seeds": learned.seeds if learned else 0,
        "diverged": one.course.diverged,
        **_course(one.course),
        "gaps": "; ".join(gap.status for gap in (*row.failures, *row.skipped) if gap.attack == one.attack),
    }


def _course(course: Course) -> dict[str, Value]:
    return {
        "rounds": course.rounds,
        "failed_rounds": course.failed_rounds,
        "incident_count": course.incident_count,
        "first_failure": course.failures[0] if course.failures else "",
        "first_incident": course.incidents[0] if course.incidents else "",
    }


def flat_keys(lines: Sequence[dict[str, Value]]) -> list[str]:
    """The column names; all lines have the same."""
    return list(lines[0]) if lines else []


def guarded(value: Value) -> Value:
    """A cell that no spreadsheet takes for a formula; figures stay figures, negative ones too."""
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return "'" + value
    return "" if value is None else value
