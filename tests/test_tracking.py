"""Records go into MLflow and come out again, once each, and are never lost where there is no server."""

import shutil
import socket
import sqlite3
from datetime import timedelta

import pytest
from running import stand_in

from fl_attack_bench import tracking
from fl_attack_bench.errors import UserError
from fl_attack_bench.store import Store
from fl_attack_bench.tracked import figures, parameters
from fl_attack_bench.tracking import MARKER, Tracker, default_uri, fetch, shown, sync


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A new database; making one takes seconds."""
    path = tmp_path_factory.mktemp("pristine") / "new.db"
    tracking._make_database(f"sqlite:///{path}")
    assert [entry.name for entry in path.parent.iterdir()] == ["new.db"]
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pristine):
    """A finished run, logged to SQLite while it was played."""
    folder = tmp_path_factory.mktemp("tracking")
    (folder / "runs").mkdir()
    shutil.copy(pristine, folder / "runs" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(tracking.VARIABLE, raising=False)
        said = []
        log = Tracker(Store(folder / "runs"), say=said.append)
        stand_in.go(folder, stand_in.suite(folder, defenses=[{"at": "never", "behave": "a|b"}]), log=log, workers=2)
        assert said == []
    return folder


@pytest.fixture
def store(folder):
    return Store(folder / "runs")


@pytest.fixture
def uri(store):
    return f"sqlite:///{store.folder}/mlflow.db"


def runs(uri):
    return list(tracking._runs(tracking._client(uri)))


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_round_trip(store, uri, tmp_path):
    found = fetch(uri, tmp_path)
    assert (found.records, found.warnings) == store.load()
    assert len(found.records) == 3
    attacked = [record.cell_id for record in found.records if record.reconstructed]
    assert sorted(found.pictures) == attacked
    assert all((folder / "reconstructions.npz").is_file() for folder in found.pictures.values())


def test_runs_carry_parameters_figures_curves_tags_and_artifacts(store, uri):
    client = tracking._client(uri)
    record = next(record for record in store.load()[0] if record.reconstructed)
    run = next(run for run in runs(uri) if run.data.tags["flab.cell_id"] == record.cell_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == parameters(record)
    assert run.data.params["defense.behave"] == "a|b"
    assert run.data.tags["flab.status"] == "ok"
    assert run.data.tags["flab.hardware"] == "generic-cpu"
    assert run.data.metrics["privacy/trained/mse_median"] == pytest.approx(record.reconstructed[1].victims[0].mse)
    assert run.data.metrics["cost/bytes_up"] == 10
    curve = client.get_metric_history(run.info.run_id, "privacy/initial/objective")
    assert [(point.step, point.value) for point in curve] == [(0, 1.0), (1, 0.5)]
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {"record.json", "reconstructions.npz", "grid.png"}
    assert run.info.artifact_uri.startswith((store.folder / "mlartifacts").as_uri())


def test_nothing_is_logged_twice(store, uri):
    assert len(runs(uri)) == 3
    assert sync(store, uri) == (0, [])
    for marker in store.records.glob(f"*/{MARKER}"):  # as if killed between logging and marking
        marker.unlink()
    assert sync(store, uri) == (0, [])
    assert len(runs(uri)) == 3


def test_a_run_that_was_cut_off_is_made_anew(store, uri, tmp_path):
    client = tracking._client(uri)
    victim = runs(uri)[0]
    client.update_run(victim.info.run_id, status="RUNNING")
    found = fetch(uri, tmp_path)
    assert len(found.records) == 2
    assert "cut off" in found.warnings[0]
    (store.place(victim.data.tags["flab.cell_id"]) / MARKER).unlink()
    assert sync(store, uri) == (1, [])
    assert len(runs(uri)) == 3
    assert fetch(uri, tmp_path / "again").warnings == []


def test_a_changed_record_is_logged_and_the_latest_is_fetched(store, uri, tmp_path):
    record = store.load()[0][0]
    changed = record.model_copy(update={"status": "error", "reason": "<script>alert(1)</script>"})
    store.put(changed)
    try:
        assert sync(store, uri) == (1, [])
        found = {record.cell_id: record for record in fetch(uri, tmp_path).records}
        assert len(found) == 3
        assert found[record.cell_id] == changed
    finally:
        store.put(record)


def restarted(record, days):
    later = record.provenance.started + timedelta(days=days)
    return record.model_copy(update={"provenance": record.provenance.model_copy(update={"started": later})})


@pytest.mark.parametrize(("days", "wins"), [(-1, False), (1, True)])
def test_the_record_that_started_last_is_fetched_not_the_one_uploaded_last(days, wins, folder, pristine, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    store, fresh = Store(tmp_path / "runs"), f"sqlite:///{tmp_path}/t.db"
    record = next(record for record in store.load()[0] if record.reconstructed)
    shutil.copy(pristine, tmp_path / "t.db")
    sync(store, fresh)
    other = restarted(record, days)
    store.put(other)
    assert sync(store, fresh) == (1, [])
    found = fetch(fresh, tmp_path / "out")
    assert found.warnings == []
    assert len(found.records) == 3
    assert {r.cell_id: r for r in found.records}[record.cell_id] == (other if wins else record)


def test_a_run_whose_tag_names_another_cell_is_refused_by_name(store, uri, tmp_path):
    client, names = tracking._client(uri), [run.data.tags["flab.cell_id"] for run in runs(uri)]
    run = next(run for run in runs(uri) if names.count(run.data.tags["flab.cell_id"]) == 1)
    name = run.data.tags["flab.cell_id"]
    client.set_tag(run.info.run_id, "flab.cell_id", "another-cell")
    try:
        found = fetch(uri, tmp_path)
    finally:
        client.set_tag(run.info.run_id, "flab.cell_id", name)
    assert name not in {record.cell_id for record in found.records}
    assert name not in found.pictures
    assert len(found.warnings) == 1
    for needle in (run.info.run_id, "another-cell", name):
        assert needle in found.warnings[0]


def test_a_damaged_artifact_is_a_warning(store, uri, tmp_path):
    run = runs(uri)[0]
    path = next((store.folder / "mlartifacts").rglob(f"{run.info.run_id}/artifacts/record.json"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        found = fetch(uri, tmp_path)
        assert run.info.run_id in found.warnings[0]
        assert run.data.tags["flab.cell_id"] in found.warnings[0]
    finally:
        path.write_bytes(whole)


def test_a_damaged_database_is_a_warning_and_an_absent_one_an_error(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\x00" + b"junk" * 1000)
    found = fetch(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "out")
    assert (found.records, found.pictures) == ([], {})
    assert "mlflow.db" in found.warnings[0]
    with pytest.raises(UserError, match="no such database"):
        fetch(f"sqlite:///{tmp_path}/absent.db", tmp_path / "out")
    assert not (tmp_path / "absent.db").exists()


def test_without_a_server_the_user_is_told_once_and_sync_uploads_later(tmp_path, monkeypatch, pristine):
    suite = stand_in.suite(tmp_path)
    store, said = Store(tmp_path / "runs"), []
    monkeypatch.setenv(tracking.VARIABLE, f"http://user:secret@127.0.0.1:{closed_port()}")
    log = Tracker(store, say=said.append)
    assert log.uri == default_uri(store)
    summary = stand_in.go(tmp_path, suite, log=log)
    assert (summary.exit_status, len(store.load()[0])) == (0, 3)
    assert len(said) == 1
    assert "cannot be reached" in said[0]
    assert "flab sync" in said[0]
    assert "secret" not in said[0]
    with pytest.raises(UserError, match="cannot be reached"):
        sync(store)
    with pytest.raises(UserError, match="cannot be reached"):
        fetch(log.uri, tmp_path / "out")
    shutil.copy(pristine, tmp_path / "later.db")
    later = f"sqlite:///{tmp_path}/later.db"
    assert sync(store, later) == (3, [])
    assert sync(store, later) == (0, [])
    assert len(runs(later)) == 3


def test_a_resumed_run_logs_what_an_earlier_one_could_not(tmp_path, pristine):
    shutil.copy(pristine, tmp_path / "t.db")
    suite = stand_in.suite(tmp_path)
    stand_in.go(tmp_path, suite)
    store = Store(tmp_path / "runs")
    log = Tracker(store, f"sqlite:///{tmp_path}/t.db")
    assert stand_in.go(tmp_path, suite, log=log).played == 0
    assert len(runs(log.uri)) == 3


def test_a_database_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "t.db").write_bytes(b"no database" * 1000)
    said = []
    stand_in.go(
        tmp_path,
        stand_in.suite(tmp_path),
        log=Tracker(Store(tmp_path / "runs"), f"sqlite:///{tmp_path}/t.db", said.append),
    )
    assert len(said) == 1
    assert "t.db" in said[0]
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "t.db").execute("select * from runs")


def test_long_curves_fit_into_one_batch(store):
    record = next(record for record in store.load()[0] if record.reconstructed)
    long = [moment.model_copy(update={"curve": [1.0] * 5000}) for moment in record.reconstructed]
    utility = record.utility.model_copy(update={"curve": [(step, 0.5) for step in range(5000)]})
    found = figures(record.model_copy(update={"reconstructed": long, "utility": utility}))
    assert len(found) < 1000
    assert max(step for name, _, step in found if name == "privacy/initial/objective") == 4999


def test_passwords_are_not_shown():
    assert shown("https://me:pass@host:5000/x") == "https://host:5000/x"
