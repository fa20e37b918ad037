"""The overview, the index of defenses, the data page, the citation and the feed."""

import hashlib
import json
import re
import uuid
from xml.etree import ElementTree as ET

import outsourced_records
import pytest
import synthetic
import vertical_records
from test_site_board import HOSTILE, parsed
from test_site_evidence import table

from fl_attack_bench import score
from fl_attack_bench.record import Record
from fl_attack_bench.site import build, contents, feed, formats, tracks

ATOM = {"a": "http://www.w3.org/2005/Atom"}


@pytest.fixture(scope="module")
def records():
    """Two horizontal tasks, of which one has more rows, and a task of either other track."""
    few, many = synthetic.task("few", victims=4), synthetic.task("many", victims=4)
    made = [synthetic.record(few, one) for one in synthetic.DEFENSES[:2]]
    made += [synthetic.record(many, one) for one in synthetic.DEFENSES[:5]]
    made += vertical_records.board(1, defenses=vertical_records.DEFENSES[:3])
    return made + outsourced_records.board(1, protocols=outsourced_records.PROTOCOLS[:3], victims=2)


@pytest.fixture(scope="module")
def board(records):
    return gathered(records)


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    return build(records, {}, tmp_path_factory.mktemp("overview") / "site").parent


def gathered(records, standings=None):
    rows = score.rows(records), score.vertical_rows(records), score.outsourced_rows(records)
    return contents.gather(*rows, records, standings or {})


def competitors(scene):
    """Defenses that compete, then their variants."""
    names = [row.spec.name for row in scene.rows if row.competes]
    return len(set(names)), len(names)


class TestOverview:
    def test_each_track_shows_the_front_of_the_task_where_most_compete(self, board, site):
        text = (site / "index.html").read_text()
        for track in tracks.tracks(board):
            found = tracks.highlight(track, board)
            assert competitors(found.scene) == max(map(competitors, track.scenes))
            lines = table(text, f"front-{track.scenario}")[1:]
            expected = [row for row in found.scene.rows if row.baseline]
            expected += [row for row in found.scene.rows if row.pareto and not row.baseline]
            assert [line[1:] for line in lines] == [list(found.figures(row)) for row in expected]
            assert [line[0].startswith("◆") for line in lines] == [row.pareto for row in expected]
        assert tracks.highlight(tracks.tracks(board)[0], board).scene.label == "many"

    def test_the_three_figures_are_those_of_the_rows(self, board):
        row = next(row for row in board.rows if row.privacy and row.cost)
        (horizontal, vertical, outsourced) = tracks.tracks(board)
        assert tracks.highlight(horizontal, board).figures(row) == (
            formats.mse(row.privacy.mean.value),
            formats.percent(row.utility.accuracy),
            formats.times(row.cost.round_times),
        )
        other = next(row for row in board.vertical if row.backdoor)
        success = formats.percent(other.backdoor.figures.success.mean)
        assert tracks.highlight(vertical, board).figures(other)[0] == success
        hidden = next(row for row in board.outsourced if row.privacy and not row.baseline)
        assert tracks.highlight(outsourced, board).figures(hidden)[0] == formats.mse(hidden.privacy.mean.value)

    def test_it_says_how_much_there_is(self, board, site):
        found = tracks.highlight(tracks.tracks(board)[0], board)
        assert found.counts == ((2, "defenses"), (1, "attack"), (2, "tasks"), (7, "records"))
        text = re.sub(r"<[^>]+>", "", (site / "index.html").read_text())
        assert "2 defenses1 attack2 tasks7 records" in text

    def test_what_has_no_room_is_counted(self, board, monkeypatch):
        found = tracks.highlight(tracks.tracks(board)[0], board)
        front = [row for row in found.front if not row.baseline]
        assert found.left_out == 0
        monkeypatch.setattr(tracks, "MAX_FRONT", len(front) - 1)
        assert found.left_out == 1
        assert [row for row in found.shown if not row.baseline] == front[:-1]

    def test_a_track_without_a_row_that_competes_leads_to_its_page_alone(self, tmp_path):
        lone = [synthetic.record(synthetic.task(victims=4), synthetic.DEFENSES[2])]
        text = build(lone, {}, tmp_path / "site").read_text()
        assert "Every row, with filters" in text
        assert "<table" not in text

    def test_its_weight_does_not_grow_with_the_records(self, site):
        assert (site / "index.html").stat().st_size < 20_000


class TestDefenses:
    def test_one_line_a_defense_with_where_it_is_on_the_front(self, board, site):
        lines = table((site / "defenses.html").read_text(), "all-caption")[1:]
        assert len(lines) == len(board.defenses)
        for line, page in zip(lines, board.defenses, strict=True):
            marked = {(contents.task_path(row), row.hardware) for row in page.everything if row.pareto}
            assert line[0].startswith(page.title)
            assert line[-1].removeprefix("◆ ") == str(len(marked))

    def test_a_standing_is_the_weakest_of_a_rows_records(self, records):
        (row, *_) = [row for row in score.rows(records) if not row.baseline]
        held = list(row.records)
        for standings, expected in (
            ({}, ""),
            (dict.fromkeys(held, "re-run"), "re-run"),
            ({**dict.fromkeys(held, "re-run"), held[0]: "self-reported"}, "self-reported"),
        ):
            assert gathered(records, standings).standing(row) == expected


class TestData:
    def test_every_file_is_there_with_its_size(self, site):
        lines = table((site / "data.html").read_text(), "downloads-caption")[1:]
        names = [line[0] for line in lines]
        assert {"data.csv", "vertical.csv", "outsourced.csv", "records.json", "record.schema.json"} <= set(names)
        assert [line[2] for line in lines] == [formats.size((site / name).stat().st_size) for name in names]

    def test_the_schema_is_the_records(self, site):
        schema = json.loads((site / "record.schema.json").read_text())
        assert schema == Record.model_json_schema()
        (first, *_) = json.loads((site / "records.json").read_text())
        assert set(first) <= set(schema["properties"])

    def test_the_citation_names_the_records_by_their_hash(self, site, records):
        digest = hashlib.sha256((site / "records.json").read_bytes()).hexdigest()
        text = (site / "data.html").read_text()
        assert f"records.json has SHA-256 {digest}" in text
        assert f"{len(records)} records" in text


class TestFeed:
    def entries(self, path):
        return ET.parse(path).getroot().findall("a:entry", ATOM)

    def test_one_entry_a_defense_suite_and_machine_the_newest_first(self, site, board):
        found = self.entries(site / "feed.xml")
        rows = {(row.suite, row.suite_version, row.hardware, row.defense) for row in board.everything}
        assert len(found) == len(rows)
        updated = [one.find("a:updated", ATOM).text for one in found]
        assert updated == sorted(updated, reverse=True)
        for one in found:
            assert (site / one.find("a:link", ATOM).get("href")).is_file()
            assert uuid.UUID(one.find("a:id", ATOM).text)

    def test_an_entry_keeps_its_id_when_others_come(self, records, tmp_path):
        ids = []
        for held in (records[:2], records):
            build(held, {}, tmp_path / "site")
            ids.append({one.find("a:id", ATOM).text for one in self.entries(tmp_path / "site" / "feed.xml")})
        assert ids[0] < ids[1]

    def test_it_is_sound_whatever_a_name_holds(self, tmp_path):
        evil = ("evil\x00\x1b]]>&" + HOSTILE, {}, HOSTILE + "\x07", "", 0.0, 0.0, 1.0, 1.0)
        where = synthetic.task(victims=4)
        made = [synthetic.record(where, one) for one in (synthetic.DEFENSES[0], evil)]
        build(made, {}, tmp_path / "site")
        assert len(self.entries(tmp_path / "site" / "feed.xml")) == 2

    def test_no_records_make_an_empty_feed(self, tmp_path):
        build([], {}, tmp_path / "site")
        assert self.entries(tmp_path / "site" / "feed.xml") == []
        assert feed.entries(gathered([])) == []
        assert not [target for _, target in parsed(tmp_path / "site" / "index.html").remote]
