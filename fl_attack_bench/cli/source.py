"""Where records come from: run folders, folders of submissions, a board's records.json, and tracking stores by URI."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fl_attack_bench.cli.output import complain
from fl_attack_bench.errors import UserError

if TYPE_CHECKING:
    from fl_attack_bench.record import Record


@dataclass(frozen=True)
class Source:
    """Records with what lies beside them.

    Args:
        records: at least one, of each cell one.
        pictures: by cell id, the folder that holds its reconstructions.
        warnings: what could not be read; they were shown already.
        standings: of what was handed in, by cell id: ``self-reported`` or ``re-run``.
    """

    records: "Sequence[Record]"
    pictures: Mapping[str, Path]
    warnings: Sequence[str]
    standings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def opened(*sources: str) -> Iterator[Source]:
    """The records of run folders, submissions, a board's ``records.json`` and, with ``://`` in it, tracking stores.

    Of two records of one cell the later one counts, with what lies beside it. What was fetched is removed.

    Raises:
        UserError: there is no such store, or none of them holds a record.
    """
    with tempfile.TemporaryDirectory(prefix="flab-records-") as scratch:
        read = [_read(source, Path(scratch) / str(place)) for place, source in enumerate(sources)]
        found = _joined([one for _, one in read])
        for warning in found.warnings:
            complain(warning)
        if not found.records:
            raise UserError(f"{', '.join(name for name, _ in read)}: no records; `flab run SUITE` makes some")
        yield found


def _read(source: str, scratch: Path) -> tuple[str, Source]:
    """The source's name for people, which holds no password, and what it holds."""
    if "://" in source:
        from fl_attack_bench import tracking

        fetched = tracking.fetch(source, scratch)
        return tracking.shown(source), Source(fetched.records, fetched.pictures, fetched.warnings)
    from fl_attack_bench.store import Store
    from fl_attack_bench.submission import results

    if source.endswith(".json"):
        return source, _listed(Path(source))
    if results.is_results(Path(source)):
        held = results.load(Path(source))
        return source, Source(held.records, {}, held.warnings, held.standings)
    store = Store(Path(source))
    records, warnings = store.load()
    return source, Source(records, {r.cell_id: store.place(r.cell_id) for r in records}, warnings)


def _listed(path: Path) -> Source:
    """The records that a board offers for download: a JSON array. Without their pictures and their standing."""
    from fl_attack_bench import record as records

    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(held, list):
        raise UserError(f"{path}: no list of records, as a board's records.json is")
    found, warnings = [], []
    for place, one in enumerate(held):
        try:
            found.append(records.loads(json.dumps(one), f"{path}: record {place + 1}"))
        except UserError as error:
            warnings.append(f"skipped a corrupt record: {error}")
    return Source(found, {}, warnings)


def _joined(found: Sequence[Source]) -> Source:
    if len(found) == 1:
        return found[0]
    from fl_attack_bench.score.identity import started

    newest: dict[str, tuple[Record, Source]] = {}
    for one in found:
        for record in one.records:
            if record.cell_id not in newest or started(record) > started(newest[record.cell_id][0]):
                newest[record.cell_id] = record, one
    return Source(
        [record for record, _ in newest.values()],
        {cell_id: one.pictures[cell_id] for cell_id, (_, one) in newest.items() if cell_id in one.pictures},
        [warning for one in found for warning in one.warnings],
        {cell_id: one.standings[cell_id] for cell_id, (_, one) in newest.items() if cell_id in one.standings},
    )
