"""Notes: what a reader must know beside a row's numbers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

from fl_attack_bench.outsourced_record import OutsourcedLearned
from fl_attack_bench.record import Learned, Provenance, Record
from fl_attack_bench.score.board_row import DIRTY
from fl_attack_bench.vertical_record import VerticalLearned

ENGINE = "fl-attack-bench"
_MARKED = {
    "out of range": "the machine's speed is outside of what its hardware profile states",
    "slower": "the machine became slower while it was timed",
    "busy": "the machine was busy with other programs while it was timed",
}


def fingerprints(records: Iterable[Record]) -> frozenset[str]:
    """Those of the datasets that the records were made with; a record whose data was never loaded has none."""
    return frozenset(found for record in records if (found := record.provenance.dataset_fingerprint))


def notes(played: Sequence[Record], data: Set[str], baseline: Set[str]) -> tuple[str, ...]:
    """One line for everything that qualifies a row's numbers.

    Args:
        played: the row's records.
        data: the fingerprints of their datasets.
        baseline: those of the undefended federation's records; empty where there are none.
    """
    methods = [record.defense for record in played if record.defense is not None]
    origins = [record.provenance for record in played]
    terms = [
        (any(method.origin == "path" for method in methods), "local: the defense was given by path"),
        (
            len({method.source_sha256 for method in methods}) > 1,
            "its records come from different versions of the source",
        ),
        (_attacks_differ(played), "its records come from different versions of an attack's source"),
        (
            len({origin.packages.get(ENGINE) for origin in origins}) > 1,
            "its records come from different engine versions",
        ),
        (len(data) > 1, "its records come from different versions of the dataset"),
        (bool(data and baseline) and data != baseline, "the dataset is not the undefended federation's"),
        (any(origin.dirty for origin in origins), DIRTY),
        (not all(origin.hardware_matched for origin in origins), "the machine does not match the hardware profile"),
        *((kind in _marks(origins), said) for kind, said in _MARKED.items()),
        (any(learned is not None and learned.diverged for learned in _honest(played)), "training diverged"),
    ]
    return tuple(text for holds, text in terms if holds)


def _marks(origins: Iterable[Provenance]) -> set[str]:
    """The kinds of marks on the machines."""
    return {mark.kind for origin in origins if origin.conditions is not None for mark in origin.conditions.marks}


def _honest(played: Iterable[Record]) -> list[Learned | VerticalLearned | OutsourcedLearned | None]:
    """What was learned where all were honest, on any track."""
    found: list[Learned | VerticalLearned | OutsourcedLearned | None] = []
    for record in played:
        found.append(record.utility)
        found.append(record.vertical.honest if record.vertical else None)
        found.append(record.outsourced.learned if record.outsourced else None)
    return found


def _attacks_differ(played: Iterable[Record]) -> bool:
    """Whether one attack was played from several sources."""
    sources: dict[str, set[str]] = defaultdict(set)
    for record in played:
        if record.attack is not None:
            sources[record.attack.name].add(record.attack.source_sha256)
    return any(len(found) > 1 for found in sources.values())
