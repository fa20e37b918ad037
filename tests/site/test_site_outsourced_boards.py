"""Boards of outsourced records as wholes: alone, hostile, in any order; pictures by moment and variant."""

import random

import numpy as np
import outsourced_records as made
import pytest
import synthetic
from test_site_board import HOSTILE, contents_of, parsed
from test_site_evidence import built, table, task_page
from test_site_outsourced import lines_of, row_of

from fl_attack_bench.site import contents
from fl_attack_bench.suite import MethodSpec


@pytest.fixture(scope="module")
def records():
    return made.board(2, made.task(victims=8, published=made.PUBLISHED))


@pytest.mark.usefixtures("undrawn")
class TestBoards:
    def test_outsourced_alone(self, records, tmp_path):
        site = built(tmp_path, records[:20])
        text = (site / "outsourced.html").read_text()
        for absent in ("No records yet", 'id="rows"', 'id="gates"', "curious server", "data.csv"):
            assert absent not in text
        assert "owners share their data out" in text
        assert not list(site.glob("horizontal.html")) + list(site.glob("vertical.html"))
        assert not {"data.csv", "vertical.csv"} & {path.name for path in site.iterdir()}

    def test_without_it_nothing_speaks_of_it(self, tmp_path):
        site = built(tmp_path, [synthetic.record(synthetic.task(victims=4))])
        for absent in ("utsourced", "blind guess"):
            assert absent not in (site / "index.html").read_text() + (site / "horizontal.html").read_text()
        assert not list(site.glob("outsourced*"))

    def test_links_and_ids_hold_together(self, records, tmp_path):
        site = built(tmp_path, [*records[:20], synthetic.record(synthetic.task(victims=4))])
        for path in site.glob("*.html"):
            links = parsed(path)
            for _, target in links.local:
                name, _, anchor = target.partition("#")
                assert not name or (site / name).exists(), target
                assert name or anchor in links.ids, target

    def test_the_page_of_a_protocol_holds_its_rows(self, records, tmp_path):
        path = built(tmp_path, records) / contents.defense_path(row_of(records, "rtas[arithmetic=ring]"))
        assert set(lines_of(path.read_text())) == {"Rtas arithmetic=float64, masks=fresh", "Rtas arithmetic=ring"}
        assert "What it costs, in full" not in path.read_text()

    def test_a_protocol_that_cannot_compute_the_network_says_why(self, tmp_path):
        told = {"status": "skipped", "reason": "it has no ReLU", "learned": None, "cost": None}
        where = made.task()
        found = [made.record(where, "none", inputs=made.inputs(0, 0)), made.record(where, "unfit", **told)]
        line = lines_of(task_page(built(tmp_path, found)))["Unfit"]
        assert line[1] == "– it has no ReLU"
        assert line[8] == "not played"

    def test_a_training_that_ran_off_is_told(self, tmp_path):
        off = made.learned(0.1, weights=None, diverged=True)
        found = [made.record(made.task(), "none", inputs=made.inputs(0, 0), learned=off)]
        line = lines_of(task_page(built(tmp_path, found)))["Undefended"]
        assert line[3].endswith("diverged on 1 of 1 seeds")
        assert "training diverged" in line[8]

    def test_hostile_text_is_text_and_short(self, tmp_path):
        where, long = made.task(), HOSTILE + "x" * 9000
        told = {"title": long, "paper": "javascript:alert(1)", "threat": long, "assumes": long}
        evil = MethodSpec(name="evil", parameters={HOSTILE: HOSTILE})
        published = [{"quantity": "bytes", "value": 1, "source": HOSTILE, "defense": HOSTILE, "stage": "training"}]
        cost = made.cost(parties=("owner", HOSTILE[:80]))
        got = made.inputs(0.1, 0.1, party=HOSTILE[:80])
        where = made.task(published=published)
        found = [
            made.record(where, "none", HOSTILE, inputs=got, cost=cost, used=told),
            made.record(where, evil, HOSTILE, status="skipped", reason=long, inputs=None, cost=cost),
        ]
        site = built(tmp_path, found)
        for path in site.glob("*.html"):
            links = parsed(path)
            assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
            assert not [attrs for _, attrs in links.tags if any(name.startswith("on") for name in attrs)]
            assert not [target for _, target in (*links.local, *links.remote) if "javascript" in target]
            assert "x" * 700 not in path.read_text()

    def test_the_same_records_give_the_same_bytes_in_any_order(self, records, tmp_path):
        shuffled = list(records)
        random.Random(3).shuffle(shuffled)
        for name, order in (("a", records), ("b", shuffled)):
            (tmp_path / name).mkdir()
            built(tmp_path / name, order)
        assert contents_of(tmp_path / "a" / "site") == contents_of(tmp_path / "b" / "site")


def test_hostile_labels_are_drawn_as_text(tmp_path):
    where = made.task(
        published=[
            {
                "quantity": "seconds",
                "value": 1,
                "source": "x",
                "defense": HOSTILE,
                "stage": "training",
                "link": HOSTILE[:40],
            }
        ]
    )
    evil = MethodSpec(name="evil", parameters={"a": HOSTILE})
    found = [
        made.record(where, defense, f"fit[known={known}]", inputs=made.inputs(0.1, 0.1, known=known))
        for defense in ("none", evil)
        for known in (0, 4)
    ]
    drawn = list((built(tmp_path, found) / "figures").glob("*.svg"))
    assert len(drawn) > 8
    assert not [path for path in drawn if "<script" in path.read_text()]


@pytest.mark.usefixtures("undrawn")
class TestPictures:
    def folders(self, tmp_path, records):
        pixels, found = np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8), {}
        for place, one in enumerate(records):
            got = one.outsourced.inputs
            folder = tmp_path / "pictures" / str(place)
            folder.mkdir(parents=True)
            np.savez(folder / "reconstructions.npz", originals=pixels, **{got.moment: pixels + place + 1})
            found[one.cell_id] = folder
        return found

    def test_variants_whose_labels_differ_at_their_end_are_told_apart(self, tmp_path):
        where = made.task()
        names = [f"hiding[arithmetic=float64,mask_std=1000.0,masks={masks}]" for masks in ("fixed", "fresh")]
        found = [made.record(where, name, "late", inputs=made.inputs(0.05, 0.06)) for name in ("none", *names)]
        lines = table(task_page(built(tmp_path, found, self.folders(tmp_path, found))), "sheet-inference")
        heads = [line[0] for line in lines[1:]]
        assert len(heads) == 3
        assert heads[1].endswith("masks=fixed")
        assert heads[2].endswith("masks=fresh")

    def test_reconstructions_stand_beside_their_originals_by_moment(self, tmp_path):
        where = made.task()
        found = [
            made.record(where, "none", "early", inputs=made.inputs(0.02, 0.01, party="compute/0", moment="training")),
            made.record(where, "none", "late", inputs=made.inputs(0.0, 0.03, party="compute/0")),
            made.record(where, "hiding", "late", inputs=made.inputs(0.05, 0.06)),
            made.record(where, "hiding", "later", inputs=made.inputs(0.2, 0.3)),
        ]
        text = task_page(built(tmp_path, found, self.folders(tmp_path, found)))
        assert table(text, "sheet-training") == [
            ["Original", "image 1", "image 0"],
            ["Undefended", "0.0100", "0.0200"],
        ]
        assert table(text, "sheet-inference") == [
            ["Original", "image 0", "image 1"],
            ["Undefended", "0", "0.0300"],
            ["Hiding", "0.0500", "0.0600"],
        ]

    def test_variants_by_number_of_known_samples(self, tmp_path, monkeypatch):
        monkeypatch.undo()
        where = made.task()
        found = [
            made.record(where, "none", f"fit[known={known}]", inputs=made.inputs(mse, mse / 2, known=known))
            for known, mse in ((4, 0.2), (100, 0.02))
        ]
        text = task_page(built(tmp_path, found, self.folders(tmp_path, found)))
        assert table(text, "variants-1-1") == [
            ["Original", "image 1", "image 0"],
            ["4 known", "0.100", "0.200"],
            ["100 known", "0.0100", "0.0200"],
        ]
