"""`flab board build --from`: several sources, submissions with their standing, and bad input."""

import shutil

import pytest

from fl_attack_bench.cli import main
from fl_attack_bench.store import Store
from fl_attack_bench.submission import manifest as manifests
from fl_attack_bench.submission import results


@pytest.fixture
def flab(tmp_path, monkeypatch, capsys):
    """The program in the test's folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        status = main(list(words))
        return (status, *capsys.readouterr())

    return call


def page(folder):
    return (folder / "site" / "horizontal.html").read_text()


class TestSubmissions:
    def test_rows_are_marked_self_reported_until_a_sample_was_played_again(self, flab, place, held, tmp_path):
        assert flab("board", "build", "--from", str(tmp_path / "results"))[0] == 0
        assert ">self-reported</span>" in page(tmp_path)
        assert ">re-run</span>" not in page(tmp_path)
        verified = manifests.Verified(
            manifest_sha256=manifests.sha256((place / manifests.MANIFEST).read_bytes()),
            cells=[next(iter(held))],
            seed=0,
            exact=True,
            when=next(iter(held.values())).provenance.started,
            program="x",
            machine={},
            packages={},
        )
        (place / manifests.VERIFIED).write_bytes(manifests.text(verified))
        assert flab("board", "build", "--from", str(tmp_path / "results"))[0] == 0
        assert ">re-run</span>" in page(tmp_path)
        assert ">self-reported</span>" not in page(tmp_path)

    def test_one_that_was_changed_is_left_out_as_a_whole_and_named(self, flab, place, held, tmp_path):
        other = shutil.copytree(tmp_path / "results", tmp_path / "kept")
        changed = manifests.record(place, next(iter(held)))
        changed.write_bytes(changed.read_bytes().replace(b'"seed":0', b'"seed":1', 1) + b" ")
        status, _, err = flab("board", "build", "--from", str(tmp_path / "results"), "--from", str(other))
        assert status == 0
        assert "left out a submission: " in err
        assert "changed since it was collected" in err
        assert "changed since it was collected" in (tmp_path / "site" / "index.html").read_text()
        assert flab("board", "build", "--from", str(tmp_path / "results"))[0] == 2

    def test_one_that_lies_elsewhere_or_holds_links_is_left_out(self, place, tmp_path):
        moved = tmp_path / "results" / "other-v1" / "generic-cpu" / place.name
        moved.parent.mkdir(parents=True)
        place.replace(moved)
        found = results.load(tmp_path / "results")
        assert not found.records
        assert "belongs in small-v1/generic-cpu" in found.warnings[0]

    def test_a_record_of_another_defense_is_left_out(self, place, held, tmp_path):
        manifest = manifests.read(place)
        foreign = manifest.model_copy(update={"hardware": "t4"})
        elsewhere = tmp_path / "results" / foreign.location
        elsewhere.parent.mkdir(parents=True)
        place.replace(elsewhere)
        (elsewhere / manifests.MANIFEST).write_bytes(manifests.text(foreign))
        assert "is of another suite, machine or defense" in results.load(tmp_path / "results").warnings[0]


class TestSources:
    def test_what_was_played_here_later_stands_in_place_of_what_was_handed_in(self, flab, place, held, tmp_path):
        store = Store(tmp_path / "own")
        record = next(iter(held.values()))
        later = record.provenance.model_copy(update={"started": record.provenance.started.replace(year=2099)})
        store.put(record.model_copy(update={"provenance": later}))
        status, out, _ = flab("board", "build", "--from", str(tmp_path / "results"), "--from", str(tmp_path / "own"))
        assert status == 0
        assert out.startswith(f"{len(held)} records: ")
        assert (tmp_path / "site" / "records.json").read_text().count("2099-") == 1

    def test_a_board_is_built_again_from_the_records_that_it_offers(self, flab, place, tmp_path):
        assert flab("board", "build", "--from", "results", "--out", "first")[0] == 0
        status, out, _ = flab("board", "build", "--from", "first/records.json", "--out", "second")
        assert (status, out.split()[0]) == (0, "2")
        for name in ("data.csv", "attacks.csv", "records.json", "feed.xml"):
            first = (tmp_path / "first" / name).read_text().replace("; self-reported", "")
            assert first == (tmp_path / "second" / name).read_text(), name

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "Expecting property name"),
            ("{}", "no list of records"),
            ("[" * 100_000, "recursion"),
            ("[1, {}]", "no records"),
            ("\xff", "decode"),
        ],
    )
    def test_what_holds_no_records_is_refused_in_one_line(self, flab, tmp_path, text, message):
        (tmp_path / "records.json").write_text(text, encoding="latin-1")
        status, _, err = flab("board", "build", "--from", "records.json")
        assert status == 2
        assert message in err.splitlines()[-1]
        assert "Traceback" not in err

    @pytest.mark.parametrize("code", ["http://example.org/{path}", "javascript:alert(1)", "x"])
    def test_sources_are_linked_by_https_only(self, flab, code):
        status, _, err = flab("board", "build", "--code", code)
        assert (status, err) == (2, f"flab: --code {code}: not an https address\n")
