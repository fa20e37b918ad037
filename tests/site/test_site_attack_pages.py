"""Pages of attacks: which defenses they break, recomputed from the records, and what a stranger's record cannot do."""

import random
import re
from collections import defaultdict

import drawings
import outsourced_records
import pytest
import synthetic
import vertical_records
from test_site_board import HOSTILE, contents_of, hostile, parsed
from test_site_evidence import table

from fl_attack_bench import score
from fl_attack_bench.site import attack_pages, contents, formats
from fl_attack_bench.site.pages import Pages
from fl_attack_bench.site.pictures import Gallery
from fl_attack_bench.suite import MethodSpec

ADAPTIVE = {"dlg": True, "idlg": False}


def gathered(records):
    kept = score.latest(records)
    rows = score.rows(kept), score.vertical_rows(kept), score.outsourced_rows(kept)
    return contents.gather(*rows, kept, {})


def by_name(records):
    return {page.name: page for page in attack_pages.pages(gathered(records))}


def written(records, folder):
    """The pages of the attacks alone, in a folder."""
    undrawn_pages(records, folder).write_attacks()
    return folder


def undrawn_pages(records, folder):
    """All pages, yet to be written into a new folder."""
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        drawings.leave_out(patch)
        return Pages(gathered(records), folder, Gallery({}, folder), "board")


def told(record, **changes):
    return record.model_copy(update={"attack": record.attack.model_copy(update=changes)})


@pytest.fixture(scope="module")
def records():
    """All tracks: four defenses under two attacks and label inference, malicious clients, vertical and outsourced."""
    where = synthetic.task(victims=4)
    chosen = [synthetic.DEFENSES[place] for place in (0, 1, 2, 5)]
    images = [
        told(synthetic.record(where, defense, attack, seed), parameters={"adaptive": ADAPTIVE[attack], "tv": 0.1})
        for defense in chosen
        for attack in ADAPTIVE
        for seed in (0, 1)
    ]
    images += [synthetic.record(where, defense, synthetic.LABELS) for defense in chosen]
    images += [synthetic.record(where, chosen[0], "dlg[restarts=4]")]
    images += [synthetic.record(where, chosen[1], "dlg[restarts=4]", 0, "timeout", "stopped after 20 minutes")]
    vertical = vertical_records.board(1, vertical_records.task(victims=8))
    return [*images, *synthetic.embattled(1), *vertical, *outsourced_records.board(1)]


@pytest.fixture(scope="module")
def pages(records):
    return by_name(records)


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    return written(records, tmp_path_factory.mktemp("attacks") / "site")


class TestImages:
    def test_the_count_is_that_of_the_records(self, records, pages):
        """Counted a second way: of all images of an attack's records, those below the gate, at the better moment."""
        for name in ADAPTIVE:
            found = defaultdict(list)
            for record in records:
                if record.cell.attack.label == name and record.cell.task.name == "digits-mlp":
                    for done in record.reconstructed:
                        errors = [one.mse < 0.01 and not one.diverged for one in done.victims]
                        found[record.cell.defense.label, done.moment] += errors
            broken = {row for (row, _), errors in found.items() if sum(errors) / len(errors) >= 0.5}
            (contest,) = pages[name].contests
            assert len(contest.judged) == 3
            assert contest.works == ("none" in broken)
            alone = {line.row.defense for line in contest.lines if line.cells[0].reaches[0].breaks}
            assert alone == broken, name
            assert len(broken - {"none"}) == pages[name].broken
        assert 0 < pages["idlg"].broken < 3

    def test_variants_are_told_apart_and_the_best_one_counts(self, pages):
        page = pages["dlg"]
        assert [variant.spec.label for variant in page.variants] == ["dlg", "dlg[restarts=4]"]
        (contest,) = page.contests
        weak = next(line for line in contest.lines if line.row.defense == "gaussian_noise[scale=0.0001]")
        assert dict(weak.cells[1].gaps)["timeout"] == "stopped after 20 minutes"
        assert not weak.cells[1].reaches
        assert weak.broken == weak.cells[0].reaches[0].breaks
        assert contest.unplayed == 0

    def test_strongest_is_the_row_s_own(self, pages):
        for name in ADAPTIVE:
            for line in pages[name].contests[0].lines:
                own = {reach.spec.label for cell in line.cells for reach in cell.reaches if reach.strongest}
                assert own == {line.row.privacy.strongest[0][0]} & {one.spec.label for one in pages[name].variants}

    def test_an_attack_that_infers_labels_is_not_judged(self, pages):
        page = pages[synthetic.LABELS]
        assert (page.kinds, page.judged, page.broken, page.met) == (("label inference",), 0, 0, 3)
        assert page.contests[0].works is None


def test_kinds_and_marks(pages):
    kinds = {name: page.kinds for name, page in pages.items()}
    assert kinds["dlg"] == ("gradient leakage",)
    assert kinds["tampering"] == kinds["dropout"] == ("by clients",)
    assert (kinds["replacement"], kinds["sign"]) == (("backdoor",), ("label inference",))
    assert (kinds["inversion"], kinds["rank_matching"]) == (("feature inversion",), ("outsourced view",))
    assert (pages["idlg"].adaptive, pages["sign"].adaptive) == ((False,), ())
    assert set(pages["dlg"].adaptive) == {True}
    both = [told(synthetic.record(synthetic.task(victims=4), attack="a"), parameters={"adaptive": True})]
    both += [told(synthetic.record(synthetic.task(victims=4), attack="a[x=1]"), parameters={"adaptive": False})]
    assert by_name(both)["a"].adaptive == (True, False)
    odd = [told(synthetic.record(synthetic.task(victims=4), attack="a"), parameters={"adaptive": "<b>"})]
    assert by_name(odd)["a"].adaptive == ()


def test_vertical_and_outsourced_figures_of_a_page_are_the_rows(records, pages):
    rows = {row.defense: row for row in score.outsourced_rows(records)}
    (contest,) = pages["least_squares"].contests
    fast = next(line for line in contest.lines if line.row.defense == "rtas_fast")
    means = {one.spec.label: one.mse.mean for one in rows["rtas_fast"].attacks if one.spec.name == "least_squares"}
    assert {reach.spec.label: reach.figures.mse.mean for cell in fast.cells for reach in cell.reaches} == means
    assert {reach.spec.label for cell in fast.cells for reach in cell.reaches if reach.breaks} == {
        label for label, mean in means.items() if mean < 0.01
    }
    assert [len(line.cells) for line in contest.lines] == [len(means)] * len(contest.lines)
    assert pages["least_squares"].broken == 1
    assert len(contest.lines) == len(rows) == 6
    assert (len(contest.judged), contest.unplayed, contest.works) == (1, 4, None)
    idle = next(line for line in contest.lines if line.row.defense == "encrypted")
    assert idle.cells[0].gaps == (("no such view", "least_squares has no view under encrypted"),)
    signed = {line.row.defense: line for line in pages["sign"].contests[0].lines}
    skipped = next(line for name, line in signed.items() if name.startswith("trainable_top[hidden=32]"))
    assert skipped.cells[0].gaps[0][0] == "skipped"
    assert skipped.broken is None


class TestWritten:
    def test_the_page_says_what_it_assumes_and_what_it_breaks(self, site, pages):
        page = pages["replacement"]
        text = (site / page.path).read_text()
        assert "the ids of one clean sample of the target class" in text
        assert "malicious passive party" in text
        assert 'href="https://arxiv.org/abs/2007.03608"' in text
        (contest,) = page.contests
        assert f"<strong>{contest.broken} of {len(contest.judged)}</strong> defenses on split-digits" in text
        assert "at least 50% of what a blind guess leaves over" in text
        (line,) = table(text, "contests-caption")[1:]
        assert line[2] == f"{contest.broken} of {len(contest.judged)}"
        squares = re.findall(r'<rect class="(broken|held)"', text)
        assert squares == ["broken" if line.broken else "held" for line in contest.judged]

    def test_every_defense_has_a_line_with_its_verdict(self, site, pages):
        lines = table((site / pages["idlg"].path).read_text(), "contest-1-caption")[1:]
        (contest,) = pages["idlg"].contests
        assert len(lines) == len(contest.lines) == 4
        for line, known in zip(lines, contest.lines, strict=True):
            verdict = "works" if known.row.baseline else "breaks it" if known.broken else "holds"
            assert verdict in line[1]
            assert ("strongest" in line[1]) == known.strongest
            best = known.cells[0].reaches[0].figures.moments[0]
            assert line[2].startswith(f"round 0 {formats.mse(best.mse)} {100 * best.share:.0f}% of 8 images")

    def test_clients_are_told_by_what_was_learned(self, site, pages):
        text = (site / pages["tampering"].path).read_text()
        assert "loses more than 5 points of accuracy" in text
        lines = {(line[0]): line for line in table(text, "contest-1-caption")[1:]}
        assert "breaks it" in lines["Shamir's secret sharing check=none"][1]
        assert "nobody noticed" in " ".join(lines["Shamir's secret sharing check=none"])
        assert "holds" in lines["Shamir's secret sharing check=tags"][1]

    def test_what_an_attack_has_no_view_of_is_no_result(self, site, pages):
        text = (site / pages["least_squares"].path).read_text()
        assert "<strong>1 of 1</strong> defense on mnist-cnn (no result on 4 more)." in text
        assert table(text, "contests-caption")[1][1] == "no result"
        lines = table(text, "contest-1-caption")[1:]
        assert lines[0][1:3] == ["no result least_squares has no view under none", "no such view"]
        reading = (site / pages["reading"].path).read_text()
        assert "No record holds a result of it against a defense" in reading
        assert table(reading, "contests-caption")[1][1:4] == ["✓ works", "no result", "see the table"]

    def test_the_index_has_one_line_an_attack(self, site, pages):
        lines = table((site / "attacks.html").read_text(), "attacks-caption")[1:]
        assert len(lines) == len(pages)
        found = {line[0].split()[-1]: line for line in lines}
        page = pages["replacement"]
        assert found["replacement"][1:] == [
            "backdoor",
            "malicious passive party",
            "–",
            "1",
            f"{page.broken} of {page.judged}",
            str(page.strongest or "–"),
        ]
        assert found["dlg"][3] == "adaptive"
        assert found["idlg"][3] == "takes every number for the truth"
        assert found[synthetic.LABELS][5] == "not judged"

    def test_every_link_leads_to_a_page_of_the_board_and_every_attack_is_linked(self, site, records, pages):
        """That these pages are written is for the tests of whole boards."""
        board = gathered(records)
        there = {path.name for path in site.iterdir()} | {page.path for page in (*board.pages, *board.defenses)}
        shell = {target for _, target in parsed(site / "attacks.html").local}
        assert {page.path for page in pages.values()} <= shell
        for page in pages.values():
            links = parsed(site / page.path)
            assert sum(tag == "h1" for tag, _ in links.tags) == 1
            for _, target in links.local:
                name, _, anchor = target.partition("#")
                assert not name or name in there | shell, target
                assert name or anchor in links.ids

    def test_no_attack_at_all(self, tmp_path):
        assert "No record holds an attack yet" in (written([], tmp_path / "site") / "attacks.html").read_text()


def test_the_same_records_give_the_same_bytes(records, tmp_path):
    few = [one for one in records if one.cell.suite in ("gradient-leakage", "robust")]
    shuffled = list(few)
    random.Random(3).shuffle(shuffled)
    found = [contents_of(written(given, tmp_path / name)) for name, given in (("a", few), ("b", shuffled))]
    assert len(found[0]) > 5
    assert found[0] == found[1]


def test_one_given_by_path_has_a_page_of_its_own_and_is_marked_local(tmp_path):
    where = synthetic.task(victims=4)
    made = [synthetic.record(where, attack="dlg"), told(synthetic.record(where, attack="./dlg.py"), origin="path")]
    assert len({attack_pages.path(one.cell.attack) for one in made}) == 2
    assert attack_pages.paths(gathered(made)) == {}  # both are called dlg
    written(made, tmp_path / "site")
    texts = {path.name: path.read_text() for path in (tmp_path / "site").glob("attack-*.html")}
    assert len(texts) == 2
    local = attack_pages.path(MethodSpec(name="./dlg.py"))
    assert [name for name, text in texts.items() if ">local</span>" in text] == [local]
    assert attack_pages.paths(gathered(made[:1])) == {"dlg": attack_pages.path(MethodSpec(name="dlg"))}


def test_hostile_records_stay_text(tmp_path):
    records, _ = hostile(tmp_path)
    changes = {"threat": HOSTILE * 30, "assumes": HOSTILE * 90, "paper": "javascript:alert(1)", "title": HOSTILE}
    changes |= {"parameters": {HOSTILE: HOSTILE * 9}}
    written([told(one, **changes) for one in records], tmp_path / "site")
    found = [*(tmp_path / "site").glob("attack*.html")]
    assert len(found) == 3  # two attacks and the index
    for page in found:
        links, text = parsed(page), page.read_text()
        assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
        assert not [
            attrs for _, attrs in links.tags if "style" in attrs or any(name.startswith("on") for name in attrs)
        ]
        assert not links.remote
        assert HOSTILE not in text
        assert HOSTILE * 10 not in text.replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'")
