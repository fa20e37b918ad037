"""The built folder: what is in it, that it repeats, and that nothing leaves or overwrites what it must not."""

import csv
import json
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic

from fl_attack_bench import record as records_of
from fl_attack_bench import score
from fl_attack_bench.errors import UserError
from fl_attack_bench.site import build, formats, pictures
from fl_attack_bench.site.downloads import guarded

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1>{{7*7}}$x^2$"


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.local, self.remote, self.tags, self.ids = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids, f"id {value} stands twice"
                self.ids.add(value)
            if name in ("href", "src", "srcset"):
                (self.remote if ":" in value else self.local).append((tag, value))


def parsed(path):
    links = Links()
    links.feed(path.read_text())
    return links


def contents_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def built(records, out):
    """The page of the horizontal track."""
    return (build(records, {}, out).parent / "horizontal.html").read_text()


def test_every_link_of_every_page_leads_somewhere(site):
    pages = sorted(site.glob("*.html"))
    assert len([p for p in pages if p.name.startswith("task-")]) == 3
    assert len([p for p in pages if p.name.startswith("defense-")]) == 4
    for page in pages:
        links = parsed(page)
        for _, target in links.local:
            name, _, anchor = target.partition("#")
            assert (site / (name or page.name)).is_file(), f"{page.name}: {target}"
            assert not anchor or anchor in parsed(site / (name or page.name)).ids
        assert all(tag == "a" and link.startswith("https://") for tag, link in links.remote)


def test_pages_hold_what_a_reader_without_eyes_or_mouse_needs(site):
    for page in site.glob("*.html"):
        tags = parsed(page).tags
        assert all(attrs.get("alt") for tag, attrs in tags if tag == "img")
        assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)
        assert all(attrs.get("scope") for tag, attrs in tags if tag == "th")
        assert not [attrs for _, attrs in tags if "style" in attrs or any(name.startswith("on") for name in attrs)]
        assert sum(tag == "h1" for tag, _ in tags) == 1


def test_failures_warnings_and_verdicts_are_shown(site):
    assert "runs/half.json: cut short; skipped" in (site / "index.html").read_text()
    text = (site / "horizontal.html").read_text()
    for needle in (
        "out_of_memory",
        "asked for 9 GiB of 8",
        "attack too weak",
        "1 of 4 cells failed: out_of_memory; 3 of 4 cells missing",
        "flab run gradient-leakage --task digits-mlp",
    ):
        assert needle in text, needle


def test_pictures_stand_beside_originals_with_the_closest_first(site):
    page = next(site.glob("defense-gaussian-noise-*.html")).read_text()
    strips = re.findall(r'<figure class="gallery plate">.*?</figure>', page, re.DOTALL)
    assert strips
    for strip in strips:
        values = [float(text) for text in re.findall(r"<b>([0-9.]+)</b><small>", strip)]
        assert values[0] == min(values)
        assert values[1] == max(values)
        assert len(re.findall("<img", strip)) == 3 * len(values)  # the original, undefended, and defended


def test_downloads_hold_every_row_and_every_record(site, material):
    with (site / "data.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    rows = {(row.task.name, row.defense): row for row in score.rows(material[0])}
    assert len(lines) == len(rows) + 1
    for line in lines:
        row = rows.get((line["task"], line["defense"]))
        if row and row.privacy:
            assert float(line["mse_mean"]) == row.privacy.mean.value
        if row and row.cost:
            assert float(line["seconds_wan"]) == pytest.approx(row.cost.seconds["wan"])
            assert json.loads(line["pareto"].lower()) == row.pareto or row.task.name == "digits-mlp"
    kept = json.loads((site / "records.json").read_text())
    assert {entry["cell_id"] for entry in kept} >= {record.cell_id for record in material[0]}
    assert records_of.loads(json.dumps(kept[0]), "records.json").cell_id == kept[0]["cell_id"]


def test_the_same_records_give_the_same_bytes_in_any_order(material, tmp_path):
    records, folders = material
    few = [record for record in records if record.cell.task.name == "digits-mlp" and record.cell.seed == 0]
    shuffled = list(few)
    random.Random(1).shuffle(shuffled)
    build(few, folders, tmp_path / "a")
    build(shuffled, folders, tmp_path / "b")
    assert contents_of(tmp_path / "a") == contents_of(tmp_path / "b")


def test_uncommitted_changes_are_told_once_and_by_row_on_the_other_pages(tmp_path):
    where = synthetic.task(victims=4)
    made = [synthetic.record(where, defense) for defense in synthetic.DEFENSES[:4]]
    dirty = [
        one.model_copy(update={"provenance": one.provenance.model_copy(update={"dirty": True})}) for one in made[:3]
    ]
    page = built([*dirty, made[3]], tmp_path / "site")
    assert page.count("the checkout had uncommitted changes") == 1
    assert "In 3 of 4 rows the checkout had uncommitted changes" in page
    assert page.index("In 3 of 4 rows") < page.index('id="rows"')
    task = next((tmp_path / "site").glob("task-*.html")).read_text()
    assert task.count("the checkout had uncommitted changes") == 3
    assert "uncommitted" not in built(made, tmp_path / "clean")


def test_the_page_says_what_a_mark_means_and_what_the_attacker_knows(site):
    text = " ".join((site / "horizontal.html").read_text().split())
    legend = re.search(r"◆</span> Pareto</h2><p>(.*?)</p>", text)[1]
    how = text[text.index('id="how"') :]
    for part in (legend, how):
        assert "Every attack knows the defense and sees what crossed the wire" in part
    for tolerance in ("1% of the MSE", "0.1 points of accuracy", "10% of the seconds", "Bytes are exact"):
        assert tolerance in how


def test_a_gap_by_skipping_and_a_diverged_training_are_shown(tmp_path):
    where, noise = synthetic.task(victims=4), synthetic.DEFENSES[2]
    made = [synthetic.record(where, defense, seed=seed) for defense in synthetic.DEFENSES[:2] for seed in (0, 1)]
    made[3] = made[3].model_copy(update={"utility": made[3].utility.model_copy(update={"diverged": True})})
    made += [
        synthetic.record(where, noise, seed=0),
        synthetic.record(where, noise, "dlg", 1, "skipped", "no such seed"),
    ]
    text = built(made, tmp_path / "site")
    assert text.count("1 of 2 cells skipped, on some seeds only") == 1
    assert "other seeds were not skipped: a gap" in text
    assert text.count('<span class="why">training diverged</span>') == 1


def test_tasks_on_which_an_attack_works_come_first(tmp_path):
    weak, works = synthetic.task("a-weak", victims=4), synthetic.task("b-works", victims=4)
    made = [synthetic.record(weak, one, blind=60.0) for one in synthetic.DEFENSES[:2]]
    made += [synthetic.record(works, one) for one in synthetic.DEFENSES[:2]]
    page = built(made, tmp_path / "site")
    assert re.findall(r'<tr[^>]* data-task="([^"]+)"', page) == ["b-works"] * 2 + ["a-weak"] * 2


def test_no_records_at_all(tmp_path):
    index = build([], {}, tmp_path / "site")
    assert "No records yet" in index.read_text()


class TestPlace:
    def test_a_foreign_folder_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("ten years")
        with pytest.raises(UserError, match="is not a board"):
            build([], {}, tmp_path)
        assert contents_of(tmp_path) == {Path("thesis.tex"): b"ten years"}

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "site").write_text("x")
        with pytest.raises(UserError, match="is not a board"):
            build([], {}, tmp_path / "site")

    def test_a_board_is_replaced_as_a_whole(self, tmp_path):
        build([], {}, tmp_path / "site")
        (tmp_path / "site" / "stale.html").write_text("old")
        build([], {}, tmp_path / "site")
        assert not (tmp_path / "site" / "stale.html").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["site"]

    def test_a_build_that_fails_leaves_the_old_board(self, tmp_path, monkeypatch):
        build([], {}, tmp_path / "site", title="first")
        before = contents_of(tmp_path / "site")
        monkeypatch.setattr("fl_attack_bench.site.board.write_csv", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build([], {}, tmp_path / "site", title="second")
        assert contents_of(tmp_path / "site") == before
        assert [path.name for path in tmp_path.iterdir()] == ["site"]


class TestPictures:
    def write(self, folder, **arrays):
        folder.mkdir()
        np.savez(folder / pictures.FILE, **arrays)

    @pytest.mark.parametrize("kind", ["cut", "pickled", "float", "flat", "not a zip"])
    def test_what_is_not_a_cells_pictures_is_named_and_left_out(self, kind, tmp_path):
        folder, sound = tmp_path / "cell", np.zeros((4, 1, 8, 8), np.uint8)
        arrays = {
            "pickled": np.array([{"a": 1}], dtype=object),
            "float": sound.astype(float),
            "flat": sound.reshape(4, -1),
        }
        self.write(folder, originals=arrays.get(kind, sound))
        if kind in ("cut", "not a zip"):
            whole = (folder / pictures.FILE).read_bytes()
            (folder / pictures.FILE).write_bytes(whole[: len(whole) // 2] if kind == "cut" else b"hello")
        made = synthetic.record(synthetic.task(victims=4))
        index = build([made], {made.cell_id: folder}, tmp_path / "site")
        assert made.cell_id in index.read_text()
        assert "1 file could not be read" in index.read_text()

    def test_fewer_pictures_than_victims_and_absent_moments(self, tmp_path):
        self.write(tmp_path / "cell", originals=np.zeros((2, 3, 8, 8), np.uint8))
        made = synthetic.record(synthetic.task(victims=4))
        build([made], {made.cell_id: tmp_path / "cell"}, tmp_path / "site")
        assert not (tmp_path / "site" / "pictures").exists()

    def test_spread(self):
        assert pictures.spread(0, 10) == []
        assert pictures.spread(1, 10) == [0]
        assert pictures.spread(4, 10) == [0, 3, 1, 2]
        found = pictures.spread(48, 10)
        assert (found[:2], len(set(found)), found[2:]) == ([0, 47], 10, sorted(found[2:]))


def hostile(folder):
    """Records whose every text field is an attempt."""
    where = synthetic.task(victims=4)
    base = synthetic.record(where, folder=folder / "pictures")
    nasty = ("../../../etc/passwd" + HOSTILE, {"x": HOSTILE, "=cmd": "../../x"}, HOSTILE, "javascript:alert(1)")
    made = synthetic.record(where, (*nasty, 0.2, 0.1, 1.0, 1.0), attack=HOSTILE)
    failed = synthetic.record(where, (*nasty, 0.2, 0.1, 1.0, 1.0), HOSTILE, 1, "error", HOSTILE * 20)
    changes = {"command": HOSTILE + "\x00\x1b", "packages": {HOSTILE: HOSTILE}, "machine": {HOSTILE: HOSTILE}}
    made = made.model_copy(update={"provenance": made.provenance.model_copy(update=changes)})
    beaten = synthetic.record(where, attack=HOSTILE)
    return [base, beaten, made, failed], {base.cell_id: folder / "pictures"}


def test_hostile_records_stay_text_and_inside(tmp_path):
    records, folders = hostile(tmp_path)
    build(records, folders, tmp_path / "deep" / "site", warnings=[HOSTILE], title=HOSTILE)
    for page in (tmp_path / "deep" / "site").glob("*.html"):
        links = parsed(page)
        assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
        assert not [attrs for _, attrs in links.tags if any(name.startswith("on") for name in attrs)]
        assert not [link for _, link in links.remote if not link.startswith("https://")]
        assert "<code>x=" not in page.read_text() or "&lt;script&gt;" in page.read_text()
    for drawing in (tmp_path / "deep" / "site" / "figures").glob("*.svg"):
        assert "<script" not in drawing.read_text()
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"site"}
    assert not list(tmp_path.rglob("passwd*"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\n@x"])
def test_text_that_a_spreadsheet_would_run_is_neutralised(text):
    assert guarded(text) == "'" + text
    assert guarded(-0.5) == -0.5
    assert guarded("a=1") == "a=1"


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://arxiv.org/abs/1906.08935", True),
        ("http://arxiv.org", False),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("https:javascript", False),
        ("https://", False),
        ("//evil.org", False),
        ("data:text/html,x", False),
        ("https://[bad", False),
        ("java\nscript:x", False),
        ("", False),
    ],
)
def test_only_https_links_become_links(link, kept):
    assert formats.https(link) == (link if kept else "")


def test_file_names_cannot_leave_the_folder():
    for name in ("../../x", "/etc/passwd", "a\x00b", "..", "", "ü" * 300, "CON", "a/b\\c"):
        assert re.fullmatch(r"task-[a-z0-9-]{10,60}\.html", formats.page_name("task", name, name))
    assert formats.page_name("task", "A b", "1") != formats.page_name("task", "a-b", "2")


def test_figures_of_speech():
    assert [formats.mse(v) for v in (None, 0.0, 1.23e-5, 0.0123, 0.2)] == ["–", "0", "1.2 × 10⁻⁵", "0.0123", "0.200"]
    assert [formats.plain(v) for v in (None, 0.0, 0.00098, 12.34, 999.7, 12345.6, 1.23e7)] == [
        "–",
        "0",
        "9.8 × 10⁻⁴",
        "12.3",
        "1,000",
        "12,346",
        "1.2 × 10⁷",
    ]
    assert [formats.points(v) for v in (0.0123, -0.2, 0.0001, None)] == ["+1.2", "−20.0", "0.0", "–"]
    assert [formats.times(v) for v in (0.125, 20.0, None)] == ["0.12×", "20×", "–"]
    assert [formats.size(v) for v in (12, 58.9e6)] == ["12 B", "58.9 MB"]
    assert [formats.seconds(v) for v in (2.5, 0.0025, 2e-6, 0)] == ["2.5 s", "2.5 ms", "2 µs", "0 µs"]


def test_importing_the_builder_loads_nothing_heavy():
    heavy = ("torch", "mlflow", "pandas", "matplotlib", "seaborn", "PIL")
    code = f"import sys, fl_attack_bench.site; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
