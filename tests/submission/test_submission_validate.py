"""What is refused of a submission made from a real run, each by name, with one thing changed."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from fl_attack_bench.errors import UserError
from fl_attack_bench.score.faults import fault
from fl_attack_bench.submission import collect, manifest, validate
from fl_attack_bench.suite import MethodSpec


def files(place):
    return sorted((place / "records").iterdir())


def found(place, suite):
    return validate.folder(place, suite, fault)[1]


def changed(path, *keys, value):
    """One field of a JSON file set to another value; returns the one it had."""
    data = json.loads(path.read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    before, inner[keys[-1]] = inner[keys[-1]], value
    path.write_text(json.dumps(data))
    return before


def resealed(place):
    """The manifest's hashes made those of the files, as a cheat would."""
    data = json.loads((place / "manifest.json").read_text())
    for entry in data["cells"]:
        entry["sha256"] = manifest.sha256((place / "records" / f"{entry['cell_id']}.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps(data))


def dropped(place, number):
    """A cell taken out of the manifest and the folder; returns its id."""
    path = files(place)[number]
    path.unlink()
    data = json.loads((place / "manifest.json").read_text())
    data["cells"] = [entry for entry in data["cells"] if entry["cell_id"] != path.stem]
    (place / "manifest.json").write_text(json.dumps(data))
    return path.stem


def test_a_whole_one_is_sound(place, suite, held):
    assert validate.folder(place, suite, fault) == (held, [])


def test_a_changed_number(place, suite):
    path = files(place)[0]
    changed(path, "utility", "accuracy", value=0.99)
    (reason,) = found(place, suite)
    assert reason.startswith(f"{path}: changed since it was collected: sha256 ")


def test_one_changed_byte(place, suite):
    path = files(place)[1]
    data = bytearray(path.read_bytes())
    data[data.index(b'"accuracy": 0.') + len('"accuracy": 0.')] ^= 1
    path.write_bytes(data)
    assert [reason.split(": ")[:2] for reason in found(place, suite)] == [[str(path), "changed since it was collected"]]


def test_a_missing_cell(place, suite):
    cell_id = dropped(place, 0)
    assert found(place, suite) == [
        f"missing cell {cell_id}: task 't', attack none, seed 0; a cell that failed is a row too"
    ]


def test_a_record_that_the_manifest_names_but_is_not_there(place, suite):
    path = files(place)[0]
    path.unlink()
    assert found(place, suite) == [f"{path}: no such file"]


def test_a_failed_cell_is_a_row_and_cannot_be_left_out(tmp_path, suite, terms, held):
    first, second = held
    bare = {"reconstructed": [], "utility": None, "cost": None}
    held[second] = held[second].model_copy(update=bare | {"status": "error", "reason": "training: bad luck"})
    assert validate.problems(held, terms) == []
    place = collect.write(tmp_path, terms, held)
    assert [(entry.cell_id, entry.status) for entry in manifest.read(place).cells] == [(first, "ok"), (second, "error")]
    assert found(place, suite) == []
    dropped(place, 1)
    assert found(place, suite) == [
        f"missing cell {second}: task 't', attack none, seed 1; a cell that failed is a row too"
    ]


@pytest.mark.parametrize("part", ["record", "manifest"])
def test_a_foreign_source_hash(place, suite, part):
    if part == "record":
        changed(files(place)[0], "defense", "source_sha256", value="0" * 64)
        resealed(place)
        reason, claim = found(place, suite)
        assert reason.startswith(
            "defense gaussian_noise[scale=0.1]: source hash 000000000000... is not that of the file"
        )
        assert files(place)[0].stem in reason
    else:
        changed(place / "manifest.json", "source_sha256", value="0" * 64)
        (claim,) = found(place, suite)
    assert claim == f"{place / 'manifest.json'}: source_sha256: not that of the records"


def test_a_defense_that_nobody_has(held, suite):
    gone = MethodSpec(name="vanished")
    terms = validate.Terms(suite, gone, "generic-cpu", fault)
    moved = {}
    for record in held.values():
        cell = record.cell.model_copy(update={"defense": gone})
        moved[cell.id] = record.model_copy(update={"cell": cell, "cell_id": cell.id})
    (reason,) = validate.problems(moved, terms)
    assert reason.startswith("defense vanished: unknown defense 'vanished'")


def test_a_defense_by_path_is_read_by_nobody(suite, terms, held, tmp_path):
    spec = MethodSpec(name=str(tmp_path / "mine.py"))
    (reason,) = validate.problems({}, validate.Terms(suite, spec, "generic-cpu", fault))
    assert reason.startswith(f"defense {tmp_path / 'mine.py'}: given by path; put its file into defenses/")


def test_uncommitted_changes_unless_marked(tmp_path, suite, terms, held):
    dirty = {
        name: one.model_copy(update={"provenance": one.provenance.model_copy(update={"dirty": True})})
        for name, one in held.items()
    }
    (reason,) = validate.problems(dirty, terms)
    assert reason.startswith("from a checkout with uncommitted changes: ")
    assert reason.endswith(f"(cell {next(iter(held))} and 1 more)")
    marked = validate.Terms(suite, terms.defense, terms.hardware, fault, allow_dirty=True)
    assert validate.problems(dirty, marked) == []
    place = collect.write(tmp_path, marked, dirty)
    assert found(place, suite) == []
    assert changed(place / "manifest.json", "dirty", value=False) is True
    assert [reason.split(":")[0] for reason in found(place, suite)] == ["from a checkout with uncommitted changes"]


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("utility", "failed_rounds"), 7, "7 failed rounds of 1 are impossible"),
        (("cost", "rounds"), 0, "a cost over no round is impossible"),
        (("gate", "mse"), 0.5, "gate: not that of suite 'small', version 1"),
        (("provenance", "packages", "fl-attack-bench"), "9", "the records come from different engine versions: "),
        (("utility", "accuracy"), "NaN", "utility.accuracy: "),
        (("utility", "accuracy"), 1.5, "utility.accuracy: Input should be less than or equal to 1"),
        (("cell", "seed"), 5, "is not that of its cell"),
        (("extra",), 1, "extra: Extra inputs are not permitted"),
        (("status",), "error", "status 'error', manifest 'ok'"),
    ],
)
def test_a_record_that_is_resealed_and_still_not_sound(place, suite, keys, value, message):
    path = files(place)[0]
    data = json.loads(path.read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(data))
    resealed(place)
    assert message in found(place, suite)[0]


def test_a_seed_that_the_suite_does_not_have(held, suite):
    other = suite.model_copy(update={"seeds": [0, 2]})
    terms = validate.Terms(other, next(iter(held.values())).cell.defense, "generic-cpu", fault)
    foreign, missing = validate.problems(held, terms)
    second = list(held)[1]
    assert foreign == f"no cell of suite 'small', version 1: seed 1 is none of its seeds, 0, 2 (cell {second})"
    assert missing.startswith("missing cell t--gaussian_noise-scale-0.1---utility--s2-")


def test_a_task_of_another_content(held, suite, terms):
    task = suite.tasks[0]
    easier = task.model_copy(update={"training": task.training.model_copy(update={"rounds": 9})})
    other = suite.model_copy(update={"tasks": [easier]})
    reasons = validate.problems(held, validate.Terms(other, terms.defense, "generic-cpu", fault))
    assert reasons[0].startswith("no cell of suite 'small', version 1: task 't' is not the suite's")
    strays = list(held.values())
    found = validate.problems({}, validate.Terms(other, terms.defense, "generic-cpu", fault), strays)
    assert len(found) == 2
    assert all(one.endswith("what was played is another task 't' than the suite's") for one in found)


def test_another_version_of_the_suite(place, suite):
    later = suite.model_copy(update={"version": 2})
    held, reasons = validate.folder(place, later, fault)
    assert held == {}
    assert reasons == [f"{place / 'manifest.json'}: suite 'small', version 1, is not 'small', version 2"]


def test_a_hardware_profile_of_ones_own(suite, terms):
    (reason,) = validate.problems({}, validate.Terms(suite, terms.defense, "my-machine", fault))
    assert reason.startswith("hardware profile 'my-machine': none that comes with the package")


def test_a_file_too_many_a_link_and_another_place(place, suite, tmp_path):
    (place / "records" / "run.sh").write_text("echo")
    first = files(place)[-1]
    kept = tmp_path / "kept.json"
    shutil.move(first, kept)
    first.symlink_to(kept)
    moved = tmp_path / "elsewhere"
    shutil.move(place, moved)
    reasons = found(moved, suite)
    assert f"{moved}: belongs in small-v1/generic-cpu/{place.name}, as its manifest says" in reasons
    assert "elsewhere/records/run.sh: no file that the manifest names; take it out" in reasons
    assert any(reason.endswith(": a link, no file") for reason in reasons)


def test_a_cell_that_stands_twice_and_a_foreign_baseline(place, suite):
    data = json.loads((place / "manifest.json").read_text())
    data["cells"].append(data["cells"][0])
    data["baseline"] = []
    (place / "manifest.json").write_text(json.dumps(data))
    assert found(place, suite) == [
        f"{place / 'manifest.json'}: cell {data['cells'][0]['cell_id']} stands twice",
        f"{place / 'manifest.json'}: baseline: not the undefended federation's cells of the suite",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("suite", "../../etc"),
        ("hardware", "/root"),
        ("cells", [{"cell_id": "../../x", "status": "ok", "sha256": "0" * 64}]),
        ("cells", []),
        ("schema_version", 2),
        ("unknown", 1),
    ],
)
def test_a_manifest_that_is_none(place, suite, key, value):
    data = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(data | {key: value}))
    with pytest.raises(UserError, match=rf"manifest\.json: {key}"):
        validate.folder(place, suite, fault)


def test_the_standing_lasts_as_long_as_the_files(place, held):
    assert manifest.standing(place) == manifest.standing(place / "nowhere") == "self-reported"
    verified = manifest.Verified(
        manifest_sha256=manifest.sha256((place / "manifest.json").read_bytes()),
        cells=[next(iter(held))],
        seed=0,
        exact=True,
        when=datetime(2026, 1, 1, tzinfo=UTC),
        program="p",
        machine={},
        packages={},
    )
    (place / "verified.json").write_bytes(manifest.text(verified))
    assert manifest.standing(place) == "re-run"
    changed(files(place)[1], "utility", "accuracy", value=0.5)
    assert manifest.standing(place) == "self-reported"
    resealed(place)
    assert manifest.standing(place) == "self-reported"
    (place / "verified.json").write_text("{}")
    assert manifest.standing(place) == "self-reported"
