"""The raw data beside the pages: the rows as CSV, the records as JSON."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from fl_attack_bench.record import Record
from fl_attack_bench.score.row import Row

Value = str | int | float | bool | None


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line a row; an absent figure is an empty cell."""
    links = sorted({link for row in rows if row.cost for link in row.cost.seconds})
    lines = [flat(row, links) for row in rows]
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
        "model": row.task.model.name,
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


def flat_keys(lines: Sequence[dict[str, Value]]) -> list[str]:
    """The column names; all lines have the same."""
    return list(lines[0]) if lines else []


def guarded(value: Value) -> Value:
    """A cell that no spreadsheet takes for a formula; figures stay figures, negative ones too."""
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return "'" + value
    return "" if value is None else value
