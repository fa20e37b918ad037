"""Records: written and read back without loss, and refused by name where they are not sound."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import record as records
from fl_attack_bench.cli.record import shown
from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Record
from fl_attack_bench.suite import Cell

CELL = {
    "suite": "small",
    "suite_version": 1,
    "task": {"name": "t", "dataset": "digits", "model": {"name": "mlp"}, "victims": {"first": 1}},
    "attack": {"name": "dlg", "parameters": {"restarts": 2}},
    "defense": {"name": "none"},
    "seed": 0,
    "hardware": "generic-cpu",
}
METHOD = {
    "name": "dlg",
    "title": "DLG",
    "paper": "https://example.org",
    "parameters": {"restarts": 2, "rate": 1e-5, "how": None},
    "source_sha256": "0" * 64,
    "origin": "built-in",
}
VICTIM = {
    "victim": 0, "mse": 0.1, "mse_raw": 0.2, "psnr": None, "ssim": -0.5, "label": 1, "label_recovered": 2,
    "objective": 1e-9, "iterations": 3, "diverged": False,
}  # fmt: skip
COST = {
    "rounds": 1, "exchanges": 2, "bytes_up": 1.5, "bytes_down": 2, "bytes_peers": 0, "bytes_total": 2**53 + 1,
    "network": {"LAN": 0.1}, "client_seconds": 1.0, "defense_seconds": 0.5, "server_seconds": None,
}  # fmt: skip
PROVENANCE = {
    "command": "flab run small",
    "started": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC).isoformat(),
    "seconds": 1.5,
    "revision": None,
    "dirty": None,
    "dataset_fingerprint": "f" * 64,
    "packages": {"torch": "2.15.0"},
    "machine": {"cpu": "some"},
    "hardware_matched": True,
    "calibration": {"speed": 1.0},
}


def made(**changes):
    data = {
        "cell_id": Cell.model_validate(CELL).id,
        "cell": CELL,
        "gate": {"mse": 0.01, "share": 0.5},
        "status": "ok",
        "attack": METHOD,
        "defense": METHOD | {"name": "none"},
        "reconstructed": [{"moment": "initial", "victims": [VICTIM], "curve": [1.0, 0.5], "seconds": 0.25}],
        "utility": {"accuracy": 0.5, "centralised_accuracy": 0.75, "curve": [[0, 0.1], [10, 0.5]]},
        "cost": COST,
        "privacy": {"statement": "no guarantee"},
        "provenance": PROVENANCE,
    }
    return Record.model_validate(data | changes)


def test_a_record_survives_being_written(tmp_path):
    for record in (made(), made(status="error", reason="why\n<b>é</b>", utility=None, cost=None, privacy=None)):
        path = tmp_path / "record.json"
        path.write_text(record.model_dump_json(indent=1))
        assert records.read(path) == record
        assert records.loads(record.model_dump_json().encode(), "here") == record


@given(st.text(max_size=50), st.floats(0, 1e300), st.integers(0, 2**70))
@settings(max_examples=50, deadline=None)
def test_any_text_and_number_survives(text, number, integer):
    cost = COST | {"bytes_up": number, "bytes_total": integer}
    record = made(status="error", reason=text, cost=cost)
    assert records.loads(record.model_dump_json(), "here") == record


def test_without_timings_drops_what_the_clock_measured_and_nothing_else():
    later = PROVENANCE | {"started": "2030-01-01T00:00:00Z", "seconds": 9, "calibration": {}}
    slower = COST | {"client_seconds": 7, "defense_seconds": 6, "server_seconds": 5}
    attacked = [{"moment": "initial", "victims": [VICTIM], "curve": [1.0, 0.5], "seconds": 99}]
    again = made(provenance=later, cost=slower, reconstructed=attacked)
    assert again != made()
    assert again.without_timings() == made().without_timings()
    assert made(cost=None).without_timings()["cost"] is None
    for changes in (
        {"status": "error"},
        {"cost": COST | {"bytes_up": 2}},
        {"cost": COST | {"network": {"LAN": 0.2}}},
        {"provenance": PROVENANCE | {"dataset_fingerprint": "0" * 64}},
        {"reconstructed": [{"moment": "initial", "victims": [VICTIM | {"mse": 0.11}], "curve": [1.0, 0.5]}]},
    ):
        assert made(**changes).without_timings() != made().without_timings()
    kept = made().without_timings()
    assert kept["provenance"].keys() == PROVENANCE.keys() - {"started", "seconds", "calibration"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data | {"extra": 1}, "here: extra: Extra inputs are not permitted"),
        (lambda data: data | {"schema_version": 2}, "here: schema_version: "),
        (lambda data: data | {"status": "fine"}, "here: status: "),
        (lambda data: data | {"reason": "x" * 20_001}, "here: reason: "),
        (lambda data: data | {"cell_id": "t--none--dlg--s0-000000000000"}, "is not that of its cell"),
        (lambda data: data | {"cell": data["cell"] | {"seed": 1}}, "is not that of its cell"),
        (lambda data: data | {"cell": data["cell"] | {"seed": -1}}, "here: cell.seed: "),
        (lambda data: data | {"cost": data["cost"] | {"bytes_up": -1}}, "here: cost.bytes_up: "),
        (lambda data: data | {"cost": data["cost"] | {"bytes_up": "many"}}, "here: cost.bytes_up: "),
        (lambda data: data | {"utility": data["utility"] | {"accuracy": 1.5}}, "here: utility.accuracy: "),
        (lambda data: {key: value for key, value in data.items() if key != "cell"}, "here: cell: Field required"),
        (lambda data: [data], "here: "),
    ],
)
def test_what_is_wrong_is_named(edit, message):
    text = json.dumps(edit(json.loads(made().model_dump_json())))
    with pytest.raises(UserError) as caught:
        records.loads(text, "here")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_no_record_holds_a_number_that_is_none(number):
    text = made().model_dump_json().replace('"mse":0.1', f'"mse":{number}')
    assert number in text
    with pytest.raises(UserError, match=r"here: reconstructed\.0\.victims\.0\.mse: "):
        records.loads(text, "here")


def test_a_record_that_is_cut_short_is_refused_wherever_the_cut_is():
    text = made().model_dump_json()
    for end in range(0, len(text), 37):
        with pytest.raises(UserError, match=r"^here: "):
            records.loads(text[:end], "here")


@given(st.binary(max_size=80))
@settings(max_examples=50, deadline=None)
def test_garbage_is_refused(garbage):
    with pytest.raises(UserError, match=r"^here: "):
        records.loads(garbage, "here")


def test_deep_json_is_refused():
    for text in ("[" * 100_000, '{"cell":' * 100_000, '{"defense": ' + '{"parameters": ' * 50_000):
        with pytest.raises(UserError, match=r"^here: "):
            records.loads(text, "here")


def test_a_file_is_bounded_and_named(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(UserError, match=r"record.json: No such file"):
        records.read(path)
    path.write_bytes(b" " * (records.MAX_BYTES + 1))
    with pytest.raises(UserError, match=r"record.json: larger than 4000000 bytes"):
        records.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"record.json: "):
        records.read(path)


INTEGRITY = {
    "clients": 3, "accuracy": 0.25, "curve": [[2, 0.25]], "losses": [[2, 1.5]], "diverged": True, "failed_rounds": 40,
    "failures": ["round 0: 3 of 10 came"], "incident_count": 80, "incidents": ["round 0: client/3 was rejected"],
}  # fmt: skip


def test_a_record_tells_how_the_training_fared_under_active_attacks():
    record = made(integrity=INTEGRITY)
    assert records.loads(record.model_dump_json(), "here") == record
    assert record.integrity.clients == 3
    for wrong in ({"clients": 0}, {"failed_rounds": -1}, {"accuracy": 2}, {"failures": ["why"] * 21}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            made(integrity=INTEGRITY | wrong)


def test_a_reader_is_shown_how_the_training_fared():
    rows = dict(shown(made(integrity=INTEGRITY)))
    assert rows["accuracy"] == "0.5000, centralised 0.7500"
    assert rows["under attack"] == "accuracy 0.2500 (diverged) with 3 malicious clients"
    assert rows["loss attacked"] == "1.5 after round 2"
    assert rows["failed attacked"] == "40 rounds; the first: round 0: 3 of 10 came"
    assert rows["incidents"] == "80; the first: round 0: client/3 was rejected"
    assert not {"under attack", "failed"} & dict(shown(made())).keys()
    failed = made(
        utility={"accuracy": 0.5, "centralised_accuracy": 1, "curve": [], "failed_rounds": 2, "failures": ["a"]}
    )
    assert dict(shown(failed))["failed"] == "2 rounds; the first: a"


def test_records_from_before_active_attacks_still_load():
    data = json.loads(made().model_dump_json())
    del data["integrity"], data["cell"]["task"]["adversary"]
    for name in ("failed_rounds", "failures", "incident_count", "incidents"):
        del data["utility"][name]
    record = records.loads(json.dumps(data), "here")
    assert record == made()
    assert (record.integrity, record.utility.failures, record.utility.failed_rounds) == (None, [], 0)
