"""The raw data of the outsourced track as CSV: its rows, and every attack by itself."""

from collections.abc import Sequence
from pathlib import Path

from fl_attack_bench.score.outsourced.chance import DELTAS
from fl_attack_bench.score.outsourced.row import STAGES, Exposure, InputAttack, OutsourcedRow, StageScore
from fl_attack_bench.site.downloads import Value, of_row, qualified, write_lines


def write_outsourced(rows: Sequence[OutsourcedRow], path: Path) -> None:
    """One line a row; an absent figure is an empty cell. Published figures are in none."""
    stages = [stage for row in rows if row.cost for stage in (row.cost.training, row.cost.inference) if stage]
    links = sorted({link for stage in stages for link in stage.network})
    parties = sorted({one.party for row in rows for one in row.views if one.party is not None})
    write_lines([outsourced_line(row, links, parties) for row in rows], path)


def write_outsourced_attacks(rows: Sequence[OutsourcedRow], path: Path) -> None:
    """One line an attack under each protocol; those without a view say why."""
    lines = []
    for row in rows:
        lines += [attack_line(row, one.attack, one) for one in row.attacks]
        lines += [attack_line(row, one.attack, None, one.reason) for one in row.no_view]
    write_lines(lines, path)


def outsourced_line(row: OutsourcedRow, links: Sequence[str], parties: Sequence[str]) -> dict[str, Value]:
    """A row as plain cells. Bytes, seconds, fractions in [0, 1], and MSE over features in [0, 1]."""
    privacy, utility = row.privacy, row.utility
    line = qualified(row) | {
        "moment": privacy.moment if privacy else None,
        "worst_attack": privacy.worst[0] or "blind guess" if privacy else None,
        "worst_view": privacy.worst[1] if privacy else None,
        **_exposure("", privacy),
        "accuracy": utility.accuracy if utility else None,
        "accuracy_sd": utility.sd if utility else None,
        "plain_accuracy": utility.plain if utility else None,
        "accuracy_difference": utility.difference if utility else None,
        "accuracy_difference_sd": utility.difference_sd if utility else None,
        "weight_difference": utility.weights if utility else None,
        "weight_rms_difference": utility.weights_rms if utility else None,
        "steps": utility.steps if utility else None,
        "diverged": utility.diverged if utility else None,
        "seeds": len(row.seeds),
        "setup_bytes": row.cost.setup.bytes if row.cost else None,
        "bytes_total": row.cost.bytes_total if row.cost else None,
    }
    for name in STAGES:
        line |= _stage(name, row.cost.stage(name) if row.cost else None, links)
    views = {one.party: one for one in row.views}
    for party in parties:
        line |= _exposure(f"{party}_", views.get(party))
    for place, delta in enumerate(DELTAS):
        line[f"chance_within_{delta:.5f}"] = privacy.chances[place] if privacy else None
    return line | {"notes": "; ".join(row.notes), "commands": "\n".join(row.commands)}


def _exposure(prefix: str, found: Exposure | None) -> dict[str, Value]:
    return {
        f"{prefix}mse_mean": found.mean.value if found else None,
        f"{prefix}mse_mean_low": found.mean.low if found else None,
        f"{prefix}mse_mean_high": found.mean.high if found else None,
        f"{prefix}mse_median": found.median.value if found else None,
        f"{prefix}blind_mse": found.blind if found else None,
        f"{prefix}chance_exact": found.exact if found else None,
        f"{prefix}chance_within_0.1": found.near if found else None,
    }


def _stage(name: str, stage: StageScore | None, links: Sequence[str]) -> dict[str, Value]:
    line: dict[str, Value] = {
        f"{name}_batch": stage.samples if stage else None,
        f"{name}_bytes_online": stage.online if stage else None,
        f"{name}_bytes_offline": stage.offline if stage else None,
        f"{name}_bytes_times": stage.bytes_times if stage else None,
        f"{name}_rounds": stage.rounds if stage else None,
        f"{name}_seconds_computing": stage.computing if stage else None,
        f"{name}_seconds_offline": stage.offline_seconds if stage else None,
    }
    for link in links:
        line[f"{name}_seconds_network_{link}"] = stage.network.get(link) if stage else None
        line[f"{name}_seconds_{link}"] = stage.seconds.get(link) if stage else None
        line[f"{name}_seconds_{link}_times"] = stage.seconds_times.get(link) if stage else None
    return line


def attack_line(row: OutsourcedRow, attack: str, one: InputAttack | None, reason: str = "") -> dict[str, Value]:
    """An attack under a protocol as plain cells; ``reason``: why it could not be played."""
    return of_row(row) | {
        "attack": attack,
        "view": one.party if one else None,
        "moment": one.moment if one else None,
        "mse_mean": one.mse.mean if one else None,
        "mse_low": one.mse.low if one else None,
        "mse_high": one.mse.high if one else None,
        "mse_raw": one.raw if one else None,
        "blind_mse": one.blind if one else None,
        "mse_lowest": one.lowest if one else None,
        "chance_exact": one.exact if one else None,
        "chance_within_0.1": one.near if one else None,
        "victims": one.victims if one else None,
        "known": one.known if one else None,
        "auxiliary": one.auxiliary if one else None,
        "knows_model": one.knows_model if one else None,
        "no_view": reason,
    }
