"""From records to a folder that lies where it should, whatever the records say."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench.errors import UserError
from fl_attack_bench.submission import collect, manifest
from fl_attack_bench.suite import MethodSpec

LABELS = st.text(max_size=200) | st.sampled_from(["..", "../..", "/etc", "a/../..", ".", "", "x\x00", "a" * 300])


@given(LABELS, LABELS)
def test_no_label_leads_out_of_the_folder_and_no_two_share_one(one, other):
    places = [manifest.location("s", 1, "cpu", MethodSpec(name=name, parameters={"p": name})) for name in (one, other)]
    for place in places:
        assert place.parts[:2] == ("s-v1", "cpu")
        assert len(place.parts) == 3
        assert place.name not in (".", "..")
        assert len(place.name) < 100
        assert PurePosixPath(place.name).is_relative_to(place.name)
    assert (places[0] == places[1]) == (one == other)


def test_a_plain_name_keeps_its_own():
    assert manifest.location("quick", 2, "t4", MethodSpec(name="soteria")) == Path("quick-v2/t4/soteria")


def test_the_defense_that_is_meant(suite):
    assert collect.defense(suite, "gaussian_noise[scale=0.2]").parameters == {"scale": 0.2}
    assert collect.defense(suite, "none").is_baseline
    assert collect.defense(suite, "laplace_noise[scale=0.5]").label == "laplace_noise[scale=0.5]"
    with pytest.raises(UserError, match=r"has 2 of it: .*gaussian_noise\[scale=0.1\], gaussian_noise\[scale=0.2\]"):
        collect.defense(suite, "gaussian_noise")
    with pytest.raises(UserError, match="did you mean 'gaussian_noise'"):
        collect.defense(suite, "gausian_noise")


def test_only_the_suites_own_cells_are_taken(held, terms):
    first, second = held.values()
    others = []
    for change in ({"suite_version": 2}, {"hardware": "xeon-cpu"}, {"seed": 9}, {"defense": MethodSpec(name="none")}):
        cell = first.cell.model_copy(update=change)
        others.append(first.model_copy(update={"cell": cell, "cell_id": cell.id}))
    chosen, strays = collect.select([*others, second, first], terms)
    assert list(chosen.items()) == list(held.items())
    assert [stray.cell.seed for stray in strays] == [9]


def test_the_hardware_is_that_of_the_records(held, suite, terms):
    assert collect.hardware(held.values(), suite, terms.defense) == "generic-cpu"
    first = next(iter(held.values()))
    cell = first.cell.model_copy(update={"hardware": "xeon-cpu"})
    other = first.model_copy(update={"cell": cell, "cell_id": cell.id})
    with pytest.raises(UserError, match="--hardware: generic-cpu, xeon-cpu"):
        collect.hardware([*held.values(), other], suite, terms.defense)
    with pytest.raises(UserError, match=r"no records of none .*`flab run small --defense 'none'` makes some"):
        collect.hardware(held.values(), suite, MethodSpec(name="none"))


def test_what_is_written(place, held, tmp_path):
    assert place.relative_to(tmp_path / "results").parts[:2] == ("small-v1", "generic-cpu")
    written = manifest.read(place)
    assert (written.suite, written.suite_version, written.dirty) == ("small", 1, False)
    assert written.source_sha256 == next(iter(held.values())).defense.source_sha256
    assert [entry.cell_id for entry in written.cells] == list(held)
    assert [name.split("--")[1] for name in written.baseline] == ["none", "none"]
    assert written.made.tzinfo is not None


def test_a_second_one_replaces_the_first_with_its_verification(place, terms, held, tmp_path):
    (place / "verified.json").write_text("{}")
    again = collect.write(tmp_path / "results", terms, held)
    assert again == place
    assert sorted(path.name for path in place.iterdir()) == ["manifest.json", "records"]
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_what_is_no_submission_is_left_alone(terms, held, tmp_path):
    place = tmp_path / terms_location(terms)
    place.mkdir(parents=True)
    (place / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no submission, so it is not replaced"):
        collect.write(tmp_path, terms, held)
    assert (place / "thesis.tex").read_text() == "years of work"


def test_a_link_leads_nowhere(terms, held, tmp_path):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "small-v1").symlink_to(outside)
    with pytest.raises(UserError, match="a link leads out of"):
        collect.write(out, terms, held)
    assert list(outside.rglob("*.json")) == []


def terms_location(terms):
    return manifest.location(terms.suite.suite, terms.suite.version, terms.hardware, terms.defense)
