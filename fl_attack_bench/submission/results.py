"""Every submission in a folder of results, for the board."""

from dataclasses import dataclass
from pathlib import Path

from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Record
from fl_attack_bench.submission import manifest as manifests
from fl_attack_bench.submission import validate
from fl_attack_bench.submission.manifest import MANIFEST, Standing

_PLACES = f"*/*/*/{MANIFEST}"


@dataclass(frozen=True)
class Results:
    """What a folder of results holds.

    Args:
        records: of all sound submissions.
        standings: of each of them, by cell id.
        warnings: why a submission was left out, one line each.
    """

    records: list[Record]
    standings: dict[str, Standing]
    warnings: list[str]


def is_results(root: Path) -> bool:
    """Whether a folder holds submissions."""
    return next(root.glob(_PLACES), None) is not None


def load(root: Path) -> Results:
    """Read every submission. One of which a file was changed since it was collected is left out as a whole."""
    found = Results([], {}, [])
    for path in sorted(root.glob(_PLACES)):
        try:
            held = validate.records_of(path.parent)
        except UserError as error:
            found.warnings.append(f"left out a submission: {error}")
            continue
        standing = manifests.standing(path.parent)
        found.records.extend(held)
        found.standings.update(dict.fromkeys((record.cell_id for record in held), standing))
    return found
