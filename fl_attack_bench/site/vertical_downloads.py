"""The raw data of the vertical track as CSV: its rows, and every attack by itself."""

from collections.abc import Sequence
from pathlib import Path

from fl_attack_bench.score.learned import Spread
from fl_attack_bench.score.vertical.row import AttackResult, Backdoored, Inferred, Rebuilt, VerticalRow
from fl_attack_bench.site.downloads import Value, of_row, qualified, write_lines


def write_vertical(rows: Sequence[VerticalRow], path: Path) -> None:
    """One line a row; an absent figure is an empty cell."""
    links = sorted({link for row in rows if row.cost for link in row.cost.network})
    write_lines([vertical_line(row, links) for row in rows], path)


def write_vertical_attacks(rows: Sequence[VerticalRow], path: Path) -> None:
    """One line an attack and kind under each defense; an absent figure is an empty cell."""
    lines = []
    for row in rows:
        lines += [attack_line(row, one, backdoor=one.figures) for one in row.backdoors]
        lines += [attack_line(row, one, labels=one.figures) for one in row.inferences]
        lines += [attack_line(row, one, features=one.figures) for one in row.inversions]
    write_lines(lines, path)


def vertical_line(row: VerticalRow, links: Sequence[str]) -> dict[str, Value]:
    """A row as plain cells. Bytes, seconds, fractions in [0, 1], and MSE over features in [0, 1]."""
    backdoor, planted = row.backdoor, row.planted
    labels, features, utility = row.labels, row.features, row.utility
    line = qualified(row) | {
        "backdoor_attack": backdoor.attack if backdoor else None,
        "backdoor_success": backdoor.figures.success.mean if backdoor else None,
        "backdoor_accuracy": backdoor.figures.accuracy.mean if backdoor else None,
        "backdoor_accuracy_difference": backdoor.figures.difference if backdoor else None,
        "planted_attack": planted.attack if planted else None,
        "planted_success": planted.figures.success.mean if planted else None,
        "planted_accuracy": planted.figures.accuracy.mean if planted else None,
        "label_attack": labels.attack if labels else None,
        "label_accuracy": labels.figures.accuracy.mean if labels else None,
        "label_majority": labels.figures.majority if labels else None,
        "feature_attack": features.attack if features else None,
        "feature_mse": features.figures.mse.mean if features else None,
        "feature_blind_mse": features.figures.blind if features else None,
        "accuracy": utility.accuracy if utility else None,
        "accuracy_sd": utility.sd if utility else None,
        "accuracy_difference": utility.difference if utility else None,
        "accuracy_difference_sd": utility.difference_sd if utility else None,
        "honest_backdoor_success": utility.floor.mean if utility and utility.floor else None,
        "diverged": utility.diverged if utility else None,
        "seeds": len(row.seeds),
    }
    return line | _cost(row, links) | {"notes": "; ".join(row.notes), "commands": "\n".join(row.commands)}


def _cost(row: VerticalRow, links: Sequence[str]) -> dict[str, Value]:
    cost = row.cost
    passive = list(cost.passive.values()) if cost else []
    line: dict[str, Value] = {
        "bytes_epoch": cost.bytes_epoch if cost else None,
        "bytes_epoch_times": cost.epoch_times if cost else None,
        "active_bytes_sent": cost.active.sent if cost else None,
        "active_bytes_received": cost.active.received if cost else None,
        "passive_bytes_sent": sum(party.sent for party in passive) if cost else None,
        "passive_bytes_received": sum(party.received for party in passive) if cost else None,
        "bytes_total": cost.bytes_total if cost else None,
        "inference_bytes": cost.inference_bytes if cost else None,
        "passive_seconds": cost.passive_seconds if cost else None,
        "active_seconds": cost.active_seconds if cost else None,
        "defense_seconds": cost.defense_seconds if cost else None,
    }
    for link in links:
        line[f"network_seconds_{link}"] = cost.network.get(link) if cost else None
        line[f"seconds_{link}"] = cost.seconds.get(link) if cost else None
        line[f"seconds_{link}_times"] = cost.seconds_times.get(link) if cost else None
    return line


def attack_line(
    row: VerticalRow,
    one: AttackResult[Backdoored] | AttackResult[Inferred] | AttackResult[Rebuilt],
    *,
    backdoor: Backdoored | None = None,
    labels: Inferred | None = None,
    features: Rebuilt | None = None,
) -> dict[str, Value]:
    """An attack under a defense as plain cells; its figures are of one kind."""
    return of_row(row) | {
        "attack": one.attack,
        "kind": one.kind,
        "undefended_advantage": one.advantage,
        "counts": one.passed,
        **_range("success", backdoor.success if backdoor else None),
        **_range("main_accuracy", backdoor.accuracy if backdoor else None),
        "main_accuracy_difference": backdoor.difference if backdoor else None,
        "diverged": backdoor.diverged if backdoor else None,
        "dormant_in_training": backdoor.dormant if backdoor else None,
        **_range("label_accuracy", labels.accuracy if labels else None),
        "label_majority": labels.majority if labels else None,
        **_range("feature_mse", features.mse if features else None),
        "feature_mse_raw": features.raw if features else None,
        "feature_blind_mse": features.blind if features else None,
        "known": labels.known if labels else features.known if features else None,
    }


def _range(name: str, spread: Spread | None) -> dict[str, Value]:
    return {
        f"{name}_mean": spread.mean if spread else None,
        f"{name}_low": spread.low if spread else None,
        f"{name}_high": spread.high if spread else None,
    }
