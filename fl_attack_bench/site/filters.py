"""What the overviews' filters offer and look in; the page's script reads it from the tables."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import AttackResult, VerticalRow
from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.contents import Contents

Own = dict[str, str | float]  # what one attack reached: value, text and a note


def choices(board: Contents) -> dict[str, list[str]]:
    """Those of the horizontal overview: by name of a filter, its values."""
    attacks = {score.attack for row in board.rows for score in row.attacks if score.mean is not None}
    return _choices(board, board.curious, attacks) | {"hardware": sorted({row.hardware for row in board.rows})}


def vertical_choices(board: Contents) -> dict[str, list[str]]:
    """Those of the vertical overview."""
    attacks = {attack for row in board.vertical for attack in row.attacks}
    return _choices(board, board.vertical, attacks)


def outsourced_choices(board: Contents) -> dict[str, list[str]]:
    """Those of the outsourced overview."""
    attacks = {one.attack for row in board.outsourced for one in row.attacks}
    return _choices(board, board.outsourced, attacks)


def _choices(board: Contents, rows: Sequence[BoardRow], attacks: Iterable[str]) -> dict[str, list[str]]:
    return {
        "task": sorted({board.label(row) for row in rows}),
        "dataset": sorted({row.task.dataset for row in rows}),
        "hardware": sorted({row.hardware for row in rows}),
        "attack": sorted(attacks, key=contents.in_order),
    }


def attack_data(row: Row) -> str:
    """Each attack's own MSE for the overview's script, as JSON: by column a value, text and a note."""
    found: dict[str, Own] = {}
    for score in row.attacks:
        if score.mean is None:
            continue
        other = found.get(score.attack)
        if other is None or score.mean < float(other["value"]):
            found[score.attack] = {
                "value": score.mean,
                "text": formats.mse(score.mean),
                "note": f"{formats.moment(score.moment)}; {_counts(score.passed)}",
            }
    return json.dumps({attack: {"mse": own} for attack, own in found.items()})


def vertical_attack_data(row: VerticalRow) -> str:
    """Each attack's own figures for the overview's script, as JSON: by column a value, text and a note."""
    found: dict[str, dict[str, Own]] = defaultdict(dict)
    for backdoor in row.backdoors:
        success, accuracy = backdoor.figures.success.mean, backdoor.figures.accuracy.mean
        note = f"main task {formats.percent(accuracy)}; {_standing(backdoor)}"
        found[backdoor.attack]["backdoor"] = {"value": success, "text": formats.percent(success), "note": note}
    for inference in row.inferences:
        share = inference.figures.accuracy.mean
        note = f"blind guess {formats.percent(inference.figures.majority)}; {_standing(inference)}"
        found[inference.attack]["labels"] = {"value": share, "text": formats.percent(share), "note": note}
    for inversion in row.inversions:
        mse = inversion.figures.mse.mean
        note = f"blind guess {formats.mse(inversion.figures.blind)}; {_standing(inversion)}"
        found[inversion.attack]["features"] = {"value": mse, "text": formats.mse(mse), "note": note}
    return json.dumps(found)


def outsourced_attack_data(row: OutsourcedRow) -> str:
    """Each attack's own error and chance for the overview's script, as JSON: by column a value, text and a note."""
    found: dict[str, dict[str, Own]] = {}
    for one in row.attacks:
        mse = one.mse.mean
        note = f"{one.party}, {one.moment}; blind guess {formats.mse(one.blind)}"
        exact = f"exact {formats.percent(one.exact, 0)}"
        found[one.attack] = {
            "mse": {"value": mse, "text": formats.mse(mse), "note": note},
            "chance": {"value": one.near, "text": formats.percent(one.near, 0), "note": exact},
        }
    return json.dumps(found)


def search_text(row: BoardRow, label: str) -> str:
    """What the overview's text filter looks in."""
    parts = [contents.title(row), row.defense, label, row.task.dataset, row.task.network, row.hardware, row.suite]
    return " ".join(formats.short(part, 200) for part in parts).lower()


def _standing(result: AttackResult[Any]) -> str:
    if result.advantage is None:
        return "no undefended result: does not count"
    if result.spoils:
        return "spoils the main task of the undefended: does not count"
    return "counts" if result.passed else "too weak on the undefended: does not count"


def _counts(passed: bool) -> str:
    return "counts" if passed else "does not break the undefended: does not count"
