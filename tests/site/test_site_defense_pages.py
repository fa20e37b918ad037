"""The page of a defense: its card, where its source can be read, its sections and its pictures."""

import itertools
import re

import numpy as np
import pytest
import synthetic
import vertical_records
from test_site_board import Links
from test_site_evidence import built, table, task_page
from variants import NONE, board_of, page_of, rows_of, variant

from fl_attack_bench.site import defense_card, formats

HOSTILE = "</text><script>alert('&amp;$x^2$')</script>\x07"
REVISION = "8ac6492"
CODE = "https://example.org/o/r/blob/{revision}/{path}"


@pytest.fixture(scope="module")
def board():
    made = rows_of([variant({"prune": p}) for p in (0.1, 0.5)] + [synthetic.CHAIN])[1]
    return board_of([_told(one) for one in made])


class TestCard:
    def test_parameters_say_what_was_swept_and_what_is_the_default(self, board):
        found = defense_card.parameters(page_of(board, "soteria"))
        assert [(one.name, one.values, one.kind) for one in found] == [
            ("layer", ("None",), "default"),
            ("prune", ("0.1", "0.5"), "swept"),
        ]
        chain = defense_card.parameters(page_of(board, synthetic.CHAIN[0]))
        assert [(one.name, one.values, one.kind) for one in chain] == [
            ("soteria: prune", ("0.4",), "set"),
            ("gradient_compression: prune", ("0.9",), "set"),
        ]

    def test_code_is_linked_for_each_link_at_the_revision_that_was_played(self, board):
        (single,) = defense_card.sources(page_of(board, "soteria"), board.records, CODE)
        assert (single.file, single.link) == (
            "defenses/soteria.py",
            f"https://example.org/o/r/blob/{REVISION}/defenses/soteria.py",
        )
        found = defense_card.sources(page_of(board, synthetic.CHAIN[0]), board.records, CODE)
        assert [one.link.rpartition("/")[2] for one in found] == ["soteria.py", "gradient_compression.py"]

    @pytest.mark.parametrize(
        ("code", "origin", "revision", "dirty"),
        [
            (None, "built-in", REVISION, False),
            ("http://example.org/{path}", "built-in", REVISION, False),
            ("javascript:alert(1)//{path}", "built-in", REVISION, False),
            (CODE, "path", REVISION, False),
            (CODE, "entry-point", REVISION, False),
            (CODE, "built-in", REVISION, True),
            (CODE, "built-in", REVISION, None),
            (CODE, "built-in", None, False),
            (CODE, "built-in", "8ac649", False),
            (CODE, "built-in", "../../evil", False),
            (CODE, "built-in", REVISION.upper(), False),
            (CODE, "built-in", "a" * 41, False),
        ],
    )
    def test_nothing_else_is_linked(self, code, origin, revision, dirty):
        made = [_told(one, origin, revision, dirty) for one in rows_of([variant({"prune": 0.1})])[1]]
        board = board_of(made)
        (found,) = defense_card.sources(page_of(board, "soteria"), board.records, code)
        assert found.link == ""
        assert "soteria" in found.file

    def test_a_hostile_name_makes_no_link(self):
        made = [_told(one) for one in rows_of([variant({}, "../../../evil?x")])[1]]
        board = board_of(made)
        (found,) = defense_card.sources(page_of(board, "../../../evil?x"), board.records, CODE)
        assert found.link == ""

    def test_at_a_glance_its_figures_are_those_of_the_rows(self, board):
        page = page_of(board, "soteria")
        (found,) = defense_card.glances(page)
        told = dict(found.facts)
        assert told["On the Pareto front"] == f"{int(any(row.pareto for row in page.rows))} of 1 task"
        assert told["Bytes, median ↓"] == "1.00×"
        low, high = sorted(row.privacy.mean.value for row in page.rows)
        assert told["Worst-case MSE ↑"] == f"{formats.mse(low)} to {formats.mse(high)}"
        assert re.fullmatch(r"lan \d+\.\d\d× · wan \d+\.\d\d×", told["Seconds, median ↓"])


def _told(record, origin="built-in", revision=REVISION, dirty=False):
    """The record of a method that tells its defaults, of some origin and revision."""
    used = record.defense
    parameters = used.parameters | {"layer": None} if used.name == "soteria" else used.parameters
    return record.model_copy(
        update={
            "defense": used.model_copy(update={"origin": origin, "parameters": parameters}),
            "provenance": record.provenance.model_copy(update={"revision": revision, "dirty": dirty}),
        }
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two variants against a weak attack and a strong one, with pictures; the undefended lacks one attack's."""
    folder, made, folders = tmp_path_factory.mktemp("page"), [], {}
    defenses = (NONE, variant({"prune": 0.1}, noise=0.1), variant({"prune": 0.9}, noise=0.3))
    for place, (defense, attack, seed) in enumerate(itertools.product(defenses, ("dlg", "idlg"), (0, 1))):
        shown = None if defense is NONE and attack == "dlg" else folder / "pictures" / str(place)
        made.append(synthetic.record(synthetic.task(victims=4), defense, attack, seed, folder=shown))
        folders |= {made[-1].cell_id: shown} if shown else {}
    return built(folder, made, folders)


@pytest.fixture(scope="module")
def text(site):
    return task_page(site, "defense-soteria")


class TestPage:
    def test_jump_links_lead_to_the_sections_that_are_there(self, text):
        links = Links()
        links.feed(text)
        jumps = [target for _, target in links.local if target.startswith("#") and target != "#main"]
        assert jumps[:3] == ["#parameters", "#sweeps", "#cost"]
        assert jumps[-1] == "#see"
        headings = re.findall(r'<h2 id="([^"]+)"', text)
        assert headings == [jump.removeprefix("#") for jump in jumps]

    def test_the_parameters_stand_in_a_table(self, text):
        assert table(text, "parameters-caption")[1:] == [["prune", "0.1 , 0.9", "swept by the suite"]]

    def test_the_strongest_attack_comes_first_and_the_worst_victim_before_the_best(self, text):
        plates = re.findall(r'<figure class="gallery plate">.*?</figure>', text, re.DOTALL)
        assert len(plates) == 4
        assert ["idlg" in plate for plate in plates] == [True, False, True, False]
        for plate in plates:
            values = [float(value) for value in re.findall(r"<b>([0-9.]+)</b><small>", plate)]
            assert len(values) == 8
            assert values[0] == min(values)
            assert values[1] == max(values)
            assert plate.index("closest") < plate.index("farthest") < plate.index("6 more images")
        assert {int(width) for plate in plates for width in re.findall(r'width="(\d+)"', plate)} == {168}

    def test_the_undefended_reconstruction_stands_beside_where_there_is_one(self, site, text):
        plates = re.findall(r'<figure class="gallery plate">.*?</figure>', text, re.DOTALL)
        assert [len(re.findall("<img", plate)) for plate in plates] == [24, 16, 24, 16]
        assert "undefended, MSE" in plates[0]
        assert "undefended, MSE" not in plates[1]
        own = task_page(site, "defense-none")
        assert "undefended, MSE" not in own
        # The same picture of the same seed: what the undefended page shows of it.
        shown = re.findall(r'src="(pictures/[^"]+)"[^>]*alt="the same image, undefended', plates[0])
        assert len(shown) == 8
        assert set(shown) <= set(re.findall(r'src="(pictures/[^"]+)"', own))

    def test_a_page_with_little_has_no_empty_section(self, tmp_path):
        site = built(tmp_path, rows_of([variant({})], synthetic.task("still", victims=2, trains=False))[1])
        text = task_page(site, "defense-soteria")
        for absent in ("sweeps", "cost", "see", "detail", "failed", "parameters", "dp", "integrity"):
            assert f'id="{absent}"' not in text
        assert 'id="everywhere"' in text


def test_pictures_of_the_other_tracks_stand_beside_undefended_ones_too(tmp_path):
    """The closest image of either seed comes first; the undefended one is of the same seed."""
    where, pixels = vertical_records.task(victims=2), np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8)
    made, folders = [], {}
    for place, (defense, seed) in enumerate(itertools.product(("none", "noise"), (0, 1))):
        reached = vertical_records.features(0.02 + 0.01 * place, 0.05 - 0.01 * seed)
        made.append(vertical_records.record(where, defense, "inversion", seed, features=reached))
        folders[made[-1].cell_id] = tmp_path / str(place)
        folders[made[-1].cell_id].mkdir()
        np.savez(tmp_path / str(place) / "reconstructions.npz", originals=pixels, trained=pixels + place + 1)
    text = task_page(built(tmp_path, made, folders), "defense-noise")
    (plate,) = re.findall(r'<figure class="gallery plate">.*?</figure>', text, re.DOTALL)
    # Of seed 0: 0.04 and 0.05, undefended 0.02 and 0.05; of seed 1: 0.05 and 0.04, undefended 0.03 and 0.04.
    # Ranked: image 0 of seed 0 and 1 of seed 1, both at 0.04, then 1 of seed 0 and 0 of seed 1; the last stands second.
    assert re.findall(r"undefended, MSE ([0-9.]+)</small>", plate) == ["0.0200", "0.0300", "0.0400", "0.0500"]
    assert re.findall(r"<b>([0-9.]+)</b><small>MSE, (?:closest|farthest)", plate) == ["0.0400", "0.0500"]
