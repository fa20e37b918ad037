"""Records into an MLflow tracking store and out of it again: one run a cell.

The run folder is the truth, the tracking store a copy: a record is on disk before it is logged, and what could not be
logged is uploaded later. A run is RUNNING until all of it is there, carries its record's hash, and is looked for by
that hash before it is made, so being killed at any moment leaves no duplicate.
"""

import contextlib
import hashlib
import json
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from fl_attack_bench import record as records
from fl_attack_bench.errors import UserError
from fl_attack_bench.jobs import PICTURES
from fl_attack_bench.record import Record
from fl_attack_bench.store import GRID, MAX_PICTURES, RECORD, Store, write
from fl_attack_bench.tracked import figures, parameters, tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENTS = "fl-attack-bench/"
MARKER = "logged.json"
_CONNECT_SECONDS = 3.0
_TRIES = 3
_PAGE = 500
_LEAVE_SECONDS = 5.0
_STALE_SECONDS = 600.0
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Fetched(NamedTuple):
    """What a tracking store holds.

    Args:
        records: the one of each cell that started last, in the order of their ids.
        pictures: by cell id, the folder that holds the cell's ``reconstructions.npz``.
        warnings: one for each run or database that could not be read, naming it.
    """

    records: list[Record]
    pictures: dict[str, Path]
    warnings: list[str]


def default_uri(store: Store) -> str:
    """The tracking URI where none is given: the environment's, or SQLite in the run folder."""
    return os.environ.get(VARIABLE) or f"sqlite:///{store.folder / 'mlflow.db'}"


def shown(uri: str) -> str:
    """A URI without the password that it may hold."""
    return re.sub(r"//[^/@]*@", "//", uri)


class Tracker:
    """Logs records from a thread of its own, so that no job waits for a database or a network.

    Args:
        store: the run folder.
        uri: tracking store; see ``default_uri``.
        say: told once where the tracking store cannot be used.
    """

    def __init__(self, store: Store, uri: str | None = None, say: Callable[[str], None] = print) -> None:
        self.store = store
        self.uri = uri or default_uri(store)
        self._say = say
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failures = 0

    def start(self) -> None:
        """Connect in the background; a new database takes seconds to make."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self._thread.start()

    def log(self, record: Record) -> None:
        """Log a record that the store holds, unless it is logged already. Does not wait."""
        if not _is_marked(self.store, record.cell_id, self.uri):
            self._waiting.put(record.cell_id)

    def close(self, *, wait: bool) -> None:
        """Finish what is waiting, or stop after the record in hand: the next run or `flab sync` logs the rest."""
        if wait and self._thread is None and not self._waiting.empty():
            self.start()
        if not wait:
            self._stop.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(None if wait else _LEAVE_SECONDS)

    def _work(self) -> None:
        try:
            target = _Target(self.uri)
        except UserError as error:
            self._give_up(str(error))
            return
        while (cell_id := self._waiting.get()) is not None and not self._stop.is_set():
            try:
                target.upload(self.store, cell_id)
                self._failures = 0
            except UserError as error:  # the record's fault: it was removed or damaged meanwhile
                self._say(f"not logged: {error}")
            except Exception as error:  # MLflow's, the database's and the network's have no common base
                self._failures += 1
                if self._failures >= _TRIES or unreachable(self.uri):
                    self._give_up(_brief(error))
                    return

    def _give_up(self, why: str) -> None:
        self._say(
            f"cannot log to {shown(self.uri)}: {why}; the records are kept in {self.store.folder}, "
            "`flab sync` uploads them later"
        )


def sync(store: Store, uri: str | None = None) -> tuple[int, list[str]]:
    """Upload every record that is not in the tracking store yet; returns how many, and a warning for each that failed.

    Raises:
        UserError: the tracking store cannot be used, or a run holds the folder.
    """
    uri = uri or default_uri(store)
    found, warnings = store.load()
    done = 0
    with store.locked():
        waiting = [record for record in found if not _is_marked(store, record.cell_id, uri)]
        if not waiting:
            return 0, warnings
        target = _Target(uri)
        for record in waiting:
            try:
                done += target.upload(store, record.cell_id)
            except Exception as error:
                why = unreachable(uri)
                if why:
                    raise UserError(f"{shown(uri)}: {why}; {done} records uploaded before") from error
                warnings.append(f"not uploaded: {record.cell_id}: {_brief(error)}")
    return done, warnings


def fetch(uri: str, into: Path) -> Fetched:
    """Download the latest record of each cell, and its reconstructions, into a folder.

    Of several records of one cell the one that was played last counts, not the one that was uploaded last: `flab sync`
    may bring an old one late. Of two that started at once it is the one that was uploaded last.

    Raises:
        UserError: there is no such tracking store. One that is there but damaged is a warning.
    """
    path = _sqlite_path(uri)
    if path is not None and not path.is_file():
        raise UserError(f"{path}: no such database")
    why = unreachable(uri)
    if why:
        raise UserError(f"{shown(uri)}: {why}")
    found = Fetched([], {}, [])
    latest: dict[str, Record] = {}
    try:
        client = _client(uri)
        for run in _runs(client):
            cell_id = run.data.tags.get("flab.cell_id", "")
            if run.info.status == "RUNNING":
                found.warnings.append(f"{shown(uri)}: run {run.info.run_id} was cut off while it was logged")
                continue
            try:
                record, folder = _download(client, run, into)
            except Exception as error:
                found.warnings.append(f"{shown(uri)}: run {run.info.run_id} ({cell_id}): {_brief(error)}")
                continue
            other = latest.get(cell_id)
            if other is None or _started(record) > _started(other):
                latest[cell_id] = record
                found.pictures.pop(cell_id, None)
                if folder is not None:
                    found.pictures[cell_id] = folder
    except Exception as error:
        found.warnings.append(f"{shown(uri)}: {_brief(error)}")
    found.records.extend(latest[cell_id] for cell_id in sorted(latest))
    return found


class _Target:
    """A tracking store to log to."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        why = unreachable(uri)
        if why:
            raise UserError(why)
        self._experiments: dict[str, str] = {}
        try:
            _make_database(uri)
            self._client = _client(uri)
            self._client.search_experiments(max_results=1)
        except Exception as error:
            raise UserError(_brief(error)) from error

    def upload(self, store: Store, cell_id: str) -> bool:
        """Log a record and mark it; returns whether it was not there before."""
        record = store.read(cell_id)
        digest = _digest(store, cell_id)
        experiment = self._experiment(record.cell.suite)
        fresh = not self._there(experiment, digest)
        if fresh:
            self._log(experiment, record, digest, store.place(cell_id))
        marked = _marks(store, cell_id)
        write(store.place(cell_id) / MARKER, json.dumps(marked | {shown(self.uri): digest}).encode())
        return fresh

    def _there(self, experiment: str, digest: str) -> bool:
        """Whether a finished run holds the record; removes those that were cut off."""
        whole = False
        for run in self._client.search_runs([experiment], f"tags.`flab.record_sha256` = '{digest}'"):
            if run.info.status == "RUNNING":
                self._client.delete_run(run.info.run_id)
            else:
                whole = True
        return whole

    def _log(self, experiment: str, record: Record, digest: str, place: Path) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        began = now - int(record.provenance.seconds * 1000)
        run = self._client.create_run(experiment, start_time=began, tags=tags(record, digest))
        run_id = run.info.run_id
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, step) for key, value, step in figures(record)],
            params=[Param(key, value) for key, value in parameters(record).items()],
        )
        for name in (RECORD, PICTURES, GRID):
            if (place / name).is_file():
                self._client.log_artifact(run_id, str(place / name))
        status = "FINISHED" if record.status in ("ok", "skipped") else "FAILED"
        self._client.set_terminated(run_id, status=status, end_time=now)

    def _experiment(self, suite: str) -> str:
        if suite in self._experiments:
            return self._experiments[suite]
        name = EXPERIMENTS + suite
        found = self._client.get_experiment_by_name(name)
        if found is None:
            path = _sqlite_path(self.uri)
            location = (path.parent / "mlartifacts" / suite).as_uri() if path is not None else None
            try:
                identity = self._client.create_experiment(name, artifact_location=location)
            except Exception:  # another run may have made it in between
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        self._experiments[suite] = found.experiment_id if found is not None else identity
        return self._experiments[suite]


def _client(uri: str) -> "MlflowClient":
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(uri)


def _make_database(uri: str) -> None:
    """Make a new SQLite database beside its place: one whose making was cut short could never be used again."""
    path = _sqlite_path(uri)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{path.name}-*"):
        if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
            stale.unlink(missing_ok=True)
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    scratch.unlink(missing_ok=True)
    _client(f"sqlite:///{scratch}").search_experiments(max_results=1)
    with contextlib.suppress(FileExistsError):  # another process was faster
        os.link(scratch, path)
    scratch.unlink()


def _runs(client: "MlflowClient") -> "Iterator[Run]":
    """All runs of ours, the latest uploaded first."""
    wanted = f"name LIKE '{EXPERIMENTS}%'"
    experiments = [found.experiment_id for found in client.search_experiments(filter_string=wanted)]
    token: str | None = None
    while experiments:
        order = ["attributes.end_time DESC"]
        page = client.search_runs(experiments, "", max_results=_PAGE, order_by=order, page_token=token)
        yield from (run for run in page if "flab.cell_id" in run.data.tags)
        token = page.token
        if not token:
            return


def _download(client: "MlflowClient", run: "Run", into: Path) -> tuple[Record, Path | None]:
    run_id = run.info.run_id
    if not re.fullmatch(r"[0-9a-zA-Z-]{1,64}", run_id):
        raise UserError("not a legal run id")
    folder = into / run_id
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {item.path: item.file_size or 0 for item in client.list_artifacts(run_id)}
    for name, limit in ((RECORD, records.MAX_BYTES), (PICTURES, MAX_PICTURES)):
        if sizes.get(name, 0) > limit:
            raise UserError(f"{name} is larger than {limit} bytes")
        if name in sizes:
            client.download_artifacts(run_id, name, str(folder))
    record = records.read(folder / RECORD)
    if hashlib.sha256((folder / RECORD).read_bytes()).hexdigest() != run.data.tags.get("flab.record_sha256"):
        raise UserError(f"{RECORD} is not what was logged")
    if record.cell_id != run.data.tags["flab.cell_id"]:
        raise UserError(f"its tag flab.cell_id is not that of its record ({record.cell_id})")
    return record, folder if (folder / PICTURES).is_file() else None


def _started(record: Record) -> datetime:
    started = record.provenance.started
    return started if started.tzinfo else started.replace(tzinfo=UTC)


def _digest(store: Store, cell_id: str) -> str:
    return hashlib.sha256((store.place(cell_id) / RECORD).read_bytes()).hexdigest()


def _marks(store: Store, cell_id: str) -> dict[str, Any]:
    try:
        marks = json.loads((store.place(cell_id) / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return marks if isinstance(marks, dict) else {}


def _is_marked(store: Store, cell_id: str, uri: str) -> bool:
    return _marks(store, cell_id).get(shown(uri)) == _digest(store, cell_id)


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def unreachable(uri: str) -> str:
    """Why a server cannot be reached; empty where it can, or where the URI names none."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return ""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_SECONDS):
            return ""
    except (OSError, ValueError) as error:
        return f"cannot be reached ({error})"


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
